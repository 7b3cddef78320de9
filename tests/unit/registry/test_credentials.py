"""Credentials from auth files and helpers."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
from typing import Any

import pytest

from runengine.errors import InvalidParameter, Unauthorized
from runengine.registry import credentials
from runengine.registry.credentials import AuthFiles, Credentials, GivenCredentials


def encoded(pair) -> str:
    return base64.b64encode(pair.encode()).decode()


def auth(pair) -> dict[str, str]:
    return {"auth": encoded(pair)}


@pytest.fixture
def write(tmp_path):
    count = iter(range(99))

    def write_file(document) -> str:
        path = tmp_path / f"auth{next(count)}.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    return write_file


def find(paths, registry="reg.example", repository="team/app"):
    found = AuthFiles(paths).find(registry, repository)
    return found and (found.username, found.password)


def test_the_files_and_their_order() -> None:
    assert credentials.default_paths({"HOME": "/home/u"}) == [
        "/etc/runengine/auth.json",
        "/home/u/.docker/config.json",
    ]
    given = {"HOME": "/h", "REGISTRY_AUTH_FILE": "/a.json", "DOCKER_CONFIG": "/d"}
    assert credentials.default_paths(given) == [
        "/a.json",
        "/etc/runengine/auth.json",
        "/d/config.json",
    ]


def test_the_first_file_that_knows_the_registry_wins(write, tmp_path) -> None:
    paths = [
        str(tmp_path / "missing"),
        write({"auths": {"other.example": auth("x:y")}}),
        write({"auths": {"reg.example": auth("u:p:with:colons")}}),
        write({"auths": {"reg.example": auth("late:late")}}),
    ]
    assert find(paths) == ("u", "p:with:colons")
    found = AuthFiles(paths).find("reg.example", "x")
    assert found
    assert found.source == paths[2]


@pytest.mark.parametrize(
    "key", ["reg.example", "https://reg.example", "http://reg.example/v2/", "reg.example/"]
)
def test_keys_may_be_urls(write, key) -> None:
    assert find([write({"auths": {key: auth("u:p")}})]) == ("u", "p")


@pytest.mark.parametrize(
    "key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
)
def test_docker_hub_has_many_names(write, key) -> None:
    assert find([write({"auths": {key: auth("u:p")}})], "docker.io") == ("u", "p")


def test_the_most_particular_key_wins(write) -> None:
    auths = {"reg.example": auth("a:a"), "reg.example/team": auth("b:b"),
             "reg.example/team/app": auth("c:c"), "reg.example/tea": auth("d:d")}  # fmt: skip
    path = write({"auths": auths})
    assert find([path], repository="team/app") == ("c", "c")
    assert find([path], repository="team/other") == ("b", "b")
    assert find([path], repository="team2/x") == ("a", "a")
    assert find([path], registry="reg.example:5000") is None


def test_plain_fields_and_tokens(write) -> None:
    assert find([write({"auths": {"reg.example": {"username": "u", "password": "p"}}})]) == (
        "u",
        "p",
    )
    entry = {"auth": encoded("u:"), "identitytoken": "T"}
    found = AuthFiles([write({"auths": {"reg.example": entry}})]).find("reg.example", "x")
    assert found
    assert found.identity_token == "T"
    assert find([write({"auths": {"reg.example": {}}})]) is None


@pytest.mark.parametrize(
    "document",
    [
        "{", "[]", "[" * 5000, '{"auths": 7}', " " * ((1 << 20) + 1),
        {"auths": {"reg.example": {"auth": "%%"}}},
        {"auths": {"reg.example": auth("no colon")}},
        {"credHelpers": {"reg.example": "../../bin/sh"}},
    ],
)  # fmt: skip
def test_a_malformed_file_is_named(write, document) -> None:
    path = write(document)
    with pytest.raises(InvalidParameter, match=f"auth file {path} is malformed"):
        find([path])


def test_secrets_stay_out_of_errors_and_logs(write) -> None:
    path = write({"auths": {"reg.example": {"auth": encoded("hush-without-colon")}}})
    with pytest.raises(InvalidParameter) as caught:
        find([path])
    assert "hush" not in str(caught.value)
    assert "hush" not in repr(Credentials("u", "hush", "hush", "hush"))


@pytest.fixture
def helper(monkeypatch):
    calls = []
    answer: dict[str, Any] = {"returncode": 0, "stdout": b"", "stderr": b""}

    def run(command, *, input, timeout, **_):
        assert timeout > 0
        calls.append((*command, input.decode()))
        if answer["returncode"] is None:
            raise FileNotFoundError(2, "No such file or directory", command[0])
        return subprocess.CompletedProcess(command, **answer)

    monkeypatch.setattr(subprocess, "run", run)
    return calls, answer


def test_a_helper_of_the_registry_goes_before_the_file(write, helper) -> None:
    calls, answer = helper
    answer["stdout"] = b'{"ServerURL":"x","Username":"hu","Secret":"hp"}'
    path = write({"auths": {"reg.example": auth("u:p")}, "credHelpers": {"reg.example": "pass"},
                  "credsStore": "desktop"})  # fmt: skip
    assert find([path]) == ("hu", "hp")
    assert calls == [("docker-credential-pass", "get", "reg.example")]


def test_the_store_is_asked_last_and_by_docker_hubs_url(write, helper) -> None:
    calls, answer = helper
    answer["stdout"] = b'{"Username":"<token>","Secret":"T"}'
    path = write({"auths": {"docker.io": {}}, "credsStore": "desktop"})
    found = AuthFiles([path]).find("docker.io", "library/debian")
    assert found == Credentials("", "", "T", source=f"docker-credential-desktop (from {path})")
    assert calls == [("docker-credential-desktop", "get", "https://index.docker.io/v1/")]


def test_a_helper_without_an_entry_is_no_error(write, helper) -> None:
    helper[1].update(returncode=1, stdout=b"credentials not found in native keychain\n")
    assert find([write({"credsStore": "x"})]) is None


@pytest.mark.parametrize(
    "answer",
    [
        {"returncode": None},
        {"returncode": 2, "stderr": b"locked"},
        {"stdout": b"?"},
        {"stdout": b"{}"},
    ],
)
def test_a_failing_helper_is_named(write, helper, answer) -> None:
    helper[1].update(answer)
    with pytest.raises(Unauthorized, match="docker-credential-pass failed"):
        find([write({"credsStore": "pass"})])


def test_given_credentials_go_to_their_registry_only() -> None:
    source = GivenCredentials("reg.example", Credentials("u", "p"))
    assert source.find("reg.example", "x") == Credentials("u", "p")
    assert source.find("mirror.example", "x") is None
    assert pickle.loads(pickle.dumps(source)).find("reg.example", "x") == Credentials("u", "p")
