"""Logins, searches and explanations by the settings of an engine (N-19, Q-04)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from runengine.config import defaults
from runengine.errors import InvalidParameter, Unauthorized
from runengine.mgr.registry.manager import RegistryMgr
from runengine.paths import Paths
from runengine.registry import credentials
from tests.support.fake_registry import FakeRegistry, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

BOB = "Basic Ym9iOnJpZ2h0"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        registry.authorize = lambda _path, header: (
            None if header == BOB else {"WWW-Authenticate": "Basic realm=x"}
        )
        registry.faults["/v2/"] = Fault(body=b"{}")
        yield registry


@pytest.fixture(autouse=True)
def auth_file(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setattr(credentials, "ENGINE_AUTH_FILE", str(tmp_path / "engine.json"))
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return str(tmp_path / "docker/config.json")


@pytest.fixture
def manager(tmp_path) -> RegistryMgr:
    return made(tmp_path)


def made(tmp_path, **settings: Any) -> RegistryMgr:
    config = defaults(Paths(str(tmp_path), str(tmp_path)))
    return RegistryMgr(config._replace(certs_dirs=(str(tmp_path / "certs"),), **settings))


def test_credentials_are_kept_only_if_they_are_right(manager, fake, auth_file, tmp_path) -> None:
    with pytest.raises(Unauthorized):
        manager.login(fake.host, "bob", "wrong")
    assert not (tmp_path / "docker").exists()
    assert manager.login_as_before(fake.host) is None
    result = manager.login(fake.host, "bob", "right")
    assert result == (fake.host, auth_file, "", "")
    assert manager.login_as_before(f"http://{fake.host}/v2/") == "bob"
    assert manager.logout(fake.host) == (fake.host, True)
    assert manager.logout(fake.host) == (fake.host, False)
    assert manager.logout(None) == ("https://index.docker.io/v1/", False)


def test_a_file_that_is_asked_first_is_told(manager, fake, tmp_path) -> None:
    other = {"auths": {fake.host: {"auth": "ZXZlOng="}}}
    (tmp_path / "engine.json").write_text(json.dumps(other))
    assert manager.login(fake.host, "bob", "right").hidden_by == str(tmp_path / "engine.json")


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [("", "x", "user name is empty"), ("x", "", "password is empty"), ("a:b", "x", "colon")],
)
def test_credentials_that_cannot_be(manager, user, password, words) -> None:
    with pytest.raises(InvalidParameter, match=words):
        manager.login("a.example", user, password)


def test_auth_tries_and_keeps_nothing(manager, fake, tmp_path) -> None:
    document = {"username": "bob", "password": "right", "serveraddress": fake.host}
    assert manager.auth(document) == {"Status": "Login Succeeded", "IdentityToken": ""}
    with pytest.raises(Unauthorized, match="refused"):
        manager.auth({**document, "password": "wrong"})
    with pytest.raises(Unauthorized, match="no credentials"):
        manager.auth({"serveraddress": fake.host})
    assert not (tmp_path / "docker").exists()


@pytest.fixture
def searched(fake: FakeRegistry) -> FakeRegistry:
    fake.authorize = None
    results = [
        {"name": "low", "star_count": 1, "is_official": False, "description": "a\nb"},
        {"name": "high", "star_count": 50, "is_official": True},
        {"name": "mid", "star_count": 7, "is_official": False, "is_automated": True},
    ]
    fake.faults["/v1/search"] = Fault(body=json.dumps({"results": results}).encode())
    return fake


@pytest.mark.parametrize(
    ("filters", "limit", "names"),
    [
        ({}, 25, ["high", "mid", "low"]),
        ({"stars": ["5"]}, 25, ["high", "mid"]),
        ({"stars": ["5", "10"]}, 25, ["high"]),
        ({"is-official": ["false"]}, 25, ["mid", "low"]),
        ({"is-official": ["0"]}, 25, ["mid", "low"]),
        ({"is-official": ["1"]}, 25, ["high"]),
        ({"is-official": ["true"], "is-automated": ["false"]}, 25, ["high"]),
        ({}, 1, ["high"]),
    ],
)
def test_a_search_is_filtered_and_sorted(manager, searched, filters, limit, names) -> None:
    found = manager.search(f"{searched.host}/x", filters=filters, limit=limit)
    assert [entry["name"] for entry in found.entries] == [f"{searched.host}/{n}" for n in names]
    assert found.notice == ""


def test_where_to_search_is_a_setting(tmp_path, searched) -> None:
    manager = made(tmp_path, search_registry=searched.host)
    assert len(manager.search("x/y").entries) == 3
    assert searched.asked[-1].path == "/v1/search?q=x%2Fy&n=25"


def test_a_catalog_takes_the_place_of_a_search(manager, fake) -> None:
    fake.authorize = None
    fake.faults = {"_catalog": Fault(body=b'{"repositories": ["team/app", "team/db"]}')}
    found = manager.search(f"{fake.host}/AP")
    assert [entry["name"] for entry in found.entries] == [f"{fake.host}/team/app"]
    assert "has no search" in found.notice


@pytest.mark.parametrize(
    ("term", "options", "words"),
    [
        ("http://x", {}, "invalid search"),
        ("", {}, "no term"),
        ("a.example/", {}, "no term"),
        ("a\nb", {}, "no term"),
        ("x", {"limit": 0}, r"range of \[1, 100\]"),
        ("x", {"limit": 101}, "range"),
        ("x", {"filters": {"is-good": ["1"]}}, "invalid filter 'is-good'"),
        ("x", {"filters": {"is-official": ["maybe"]}}, "true or false"),
        ("x", {"filters": {"stars": ["many"]}}, "a number"),
    ],
)
def test_searches_that_cannot_be(manager, term, options, words) -> None:
    with pytest.raises(InvalidParameter, match=words):
        manager.search(term, **options)


def test_an_explanation_of_a_bare_name(manager, auth_file) -> None:
    found = manager.explain("debian")
    assert found["Reference"] == "docker.io/library/debian:latest"
    assert [reason.split(",")[0] for reason in found["Why"]] == [
        "registry docker.io",
        "namespace library",
        "tag latest",
    ]
    (endpoint,) = found["Endpoints"]
    assert endpoint["URLs"] == [
        "https://registry-1.docker.io/v2/library/debian/manifests/latest"
    ]
    assert endpoint["TLS"]["Verified"]
    assert auth_file in endpoint["Credentials"]["Why"]
    assert endpoint["Proxy"] == {"URL": "", "Why": "HTTPS_PROXY is not in the environment"}


def test_an_explanation_of_everything_at_once(tmp_path, auth_file, monkeypatch) -> None:
    manager = made(
        tmp_path,
        mirrors={"a.example": ["http://mirror.example/x"]},
        insecure_registries=["mirror.example"],
    )
    own = tmp_path / "certs/a.example"
    own.mkdir(parents=True)
    for name in ("ca.crt", "client.cert", "client.key"):
        (own / name).touch()
    (tmp_path / "docker").mkdir()
    secret = {"auths": {"a.example": {"auth": "Ym9iOnJpZ2h0"}}}
    (tmp_path / "docker/config.json").write_text(json.dumps(secret))
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "mirror.example")
    found = manager.explain("a.example/team/app:2")
    mirror, registry = found["Endpoints"]
    assert mirror["Kind"] == "mirror"
    assert "'a.example'" in mirror["Why"]
    assert mirror["URLs"] == ["http://mirror.example/v2/x/team/app/manifests/2"]
    assert "NO_PROXY covers it" in mirror["Proxy"]["Why"]
    assert registry["TLS"]["Authorities"][-1] == str(own / "ca.crt")
    assert registry["TLS"]["Client"] == [[str(own / "client.cert"), str(own / "client.key")]]
    assert registry["Credentials"]["Source"] == auth_file
    assert registry["Credentials"]["User"] == "bob"
    assert registry["Proxy"]["URL"] == "http://me:***@proxy.example:3128"
    assert "right" not in json.dumps(found)
    assert "secret" not in json.dumps(found)
    assert found["Why"] == []


def test_credentials_that_cannot_be_had_are_explained(manager, tmp_path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker/config.json").write_text("{")
    (endpoint,) = manager.explain("a.example/x")["Endpoints"]
    assert "malformed" in endpoint["Credentials"]["Why"]
