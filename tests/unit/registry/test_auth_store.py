"""Logins written to Docker's file and to credential helpers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from runengine.errors import EngineError, InvalidParameter, Unauthorized
from runengine.registry.auth_store import AuthStore
from runengine.registry.credentials import AuthFiles, Credentials, login_path

BOB = Credentials("bob", "right:er")
HOST = "a.example:5000"


class Toy:
    """A credential helper in memory, by the protocol."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[str, str]] = {}
        self.failure = ""
        self.asked: list[list[str]] = []

    def run(self, argv, *, input, **_: Any) -> subprocess.CompletedProcess[bytes]:
        self.asked.append(argv)
        text, action = input.decode(), argv[1]
        if self.failure:
            return subprocess.CompletedProcess(argv, 1, b"", self.failure.encode())
        answer: Any = None
        if action == "store":
            document = json.loads(text)
            self.kept[document["ServerURL"]] = (document["Username"], document["Secret"])
        elif action == "erase":
            self.kept.pop(text, None)
        elif action == "list":
            answer = {server: user for server, (user, _) in self.kept.items()}
        elif text in self.kept:
            answer = dict(zip(("Username", "Secret"), self.kept[text], strict=True))
        else:
            return subprocess.CompletedProcess(argv, 1, b"credentials not found in x", b"")
        data = json.dumps(answer).encode() if answer is not None else b""
        return subprocess.CompletedProcess(argv, 0, data, b"")


@pytest.fixture
def toy(monkeypatch) -> Toy:
    made = Toy()
    monkeypatch.setattr(subprocess, "run", made.run)
    return made


@pytest.fixture
def path(tmp_path) -> str:
    return str(tmp_path / "docker/config.json")


def document(path) -> Any:
    return json.loads(Path(path).read_text())


def write(path, value) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(json.dumps(value))


def find(path, registry=HOST) -> Any:
    return AuthFiles([path]).find(registry, "x")


def test_what_is_saved_is_found(path, tmp_path) -> None:
    AuthStore(path).save(HOST, BOB)
    assert find(path) == BOB._replace(source=path)
    assert (tmp_path / "docker/config.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "docker").stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in (tmp_path / "docker").iterdir()] == ["config.json"]


def test_docker_hub_is_under_dockers_name(path) -> None:
    AuthStore(path).save("docker.io", BOB)
    assert list(document(path)["auths"]) == ["https://index.docker.io/v1/"]
    assert find(path, "docker.io").username == "bob"


def test_everything_else_in_the_file_stays(path) -> None:
    before = {"psFormat": "x", "auths": {"b.example": {"auth": "eDp5"}}, "HttpHeaders": {"a": "b"}}
    write(path, before)
    AuthStore(path).save(HOST, BOB)
    assert HOST in document(path)["auths"]
    AuthStore(path).remove(HOST)
    assert document(path) == before


def test_other_spellings_do_not_outlive_a_login_or_a_logout(path) -> None:
    old = {f"https://{HOST}/v2/": {"auth": "eDp5"}, f"http://{HOST.upper()}": {"auth": "eDp5"}}
    write(path, {"auths": old})
    AuthStore(path).save(HOST, BOB)
    assert list(document(path)["auths"]) == [HOST]
    write(path, {"auths": old})
    assert AuthStore(path).remove(HOST)
    assert document(path)["auths"] == {}
    assert not AuthStore(path).remove(HOST)


def test_an_identity_token_takes_the_place_of_the_password(path) -> None:
    AuthStore(path).save(HOST, BOB._replace(identity_token="lasting"))
    found = find(path)
    assert (found.username, found.password, found.identity_token) == ("bob", "", "lasting")
    assert "right" not in str(document(path))


def test_a_link_stays_a_link(path, tmp_path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").symlink_to(real)
    AuthStore(path).save(HOST, BOB)
    assert (tmp_path / "docker/config.json").is_symlink()
    assert HOST in document(str(real))["auths"]


@pytest.mark.parametrize("setting", [{"credsStore": "toy"}, {"credHelpers": {HOST: "toy"}}])
def test_a_helper_keeps_the_secret(path, toy, setting) -> None:
    write(path, setting)
    store = AuthStore(path)
    store.save(HOST, BOB)
    assert document(path) == {**setting, "auths": {HOST: {}}}
    assert toy.kept == {HOST: ("bob", "right:er")}
    assert find(path).password == "right:er"
    assert store.remove(HOST)
    assert toy.kept == {}
    assert find(path) is None
    assert not store.remove(HOST)


def test_a_helper_keeps_an_identity_token_by_its_own_user(path, toy) -> None:
    write(path, {"credsStore": "toy"})
    AuthStore(path).save("docker.io", BOB._replace(identity_token="lasting"))
    assert toy.kept == {"https://index.docker.io/v1/": ("<token>", "lasting")}
    assert find(path, "docker.io").identity_token == "lasting"


def test_what_only_the_helper_has_is_logged_out_as_well(path, toy) -> None:
    write(path, {"credsStore": "toy"})
    toy.kept = {f"https://{HOST}": ("bob", "x"), "b.example": ("eve", "y")}
    assert AuthStore(path).remove(HOST)
    assert list(toy.kept) == ["b.example"]


def test_a_helper_that_fails_is_named_and_nothing_is_written(path, toy) -> None:
    write(path, {"credsStore": "toy"})
    toy.failure = "keychain is locked"
    with pytest.raises(Unauthorized, match="docker-credential-toy failed: keychain is locked"):
        AuthStore(path).save(HOST, BOB)
    assert document(path) == {"credsStore": "toy"}


def test_a_malformed_file_is_left_alone(path, tmp_path) -> None:
    (tmp_path / "docker").mkdir()
    for text in ("{", "[]", '{"auths": []}'):
        (tmp_path / "docker/config.json").write_text(text.replace("[]", "[1]"))
        with pytest.raises(InvalidParameter, match="malformed"):
            AuthStore(path).save(HOST, BOB)
        assert (tmp_path / "docker/config.json").read_text() == text.replace("[]", "[1]")


def test_a_file_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "docker").write_text("a file")
    with pytest.raises(EngineError, match="cannot write auth file"):
        AuthStore(str(tmp_path / "docker/config.json")).save(HOST, BOB)


def test_where_a_login_is_written() -> None:
    assert login_path({"HOME": "/h"}) == "/h/.docker/config.json"
    assert login_path({"DOCKER_CONFIG": "/d", "HOME": "/h"}) == "/d/config.json"
    assert login_path({"REGISTRY_AUTH_FILE": "/a.json", "DOCKER_CONFIG": "/d"}) == "/a.json"
