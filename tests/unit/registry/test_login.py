"""Credentials tried at a registry before they are kept (Q-04)."""

from __future__ import annotations

import base64

import pytest

from runengine.errors import InvalidParameter, NotFound, Unauthorized, Unavailable
from runengine.registry.credentials import Credentials
from runengine.registry.login import LoginClient, registry_of
from tests.support.fake_registry import FakeRegistry, Fault

GOOD = "Basic " + base64.b64encode(b"bob:right").decode()


@pytest.fixture
def fake():
    with FakeRegistry() as registry:
        registry.faults["/v2/"] = Fault(body=b"{}")
        yield registry


def check(fake, password="right", **more) -> str:
    found = Credentials("bob", password, **more)
    with LoginClient(fake.host, found, timeout_s=5) as client:
        return client.check()


def basic(fake) -> None:
    fake.authorize = lambda _path, header: (
        None if header == GOOD else {"WWW-Authenticate": 'Basic realm="x"'}
    )


def bearer(fake, answer) -> list[tuple[dict, str]]:
    asked = []

    def token(query, header):
        asked.append((query, header))
        return (200, answer) if header == GOOD or not header else (401, {})

    fake.token = token
    challenge = f'Bearer realm="http://{fake.host}/token",service="s"'
    fake.authorize = lambda _path, header: (
        None if header == "Bearer good" else {"WWW-Authenticate": challenge}
    )
    return asked


def test_a_registry_that_wants_nothing_takes_anything(fake) -> None:
    assert check(fake) == ""
    assert [asked.path for asked in fake.asked] == ["/v2/"]


def test_basic(fake) -> None:
    basic(fake)
    assert check(fake) == ""
    with pytest.raises(Unauthorized, match="refused the credentials of user 'bob'"):
        check(fake, "wrong")


def test_a_token_service_is_asked_for_a_lasting_token(fake) -> None:
    asked = bearer(fake, {"token": "good", "refresh_token": "lasting"})
    assert check(fake) == "lasting"
    ((query, header),) = asked
    assert query == {"service": ["s"], "offline_token": ["true"], "client_id": ["runengine"]}
    assert header == GOOD


def test_a_token_service_that_gives_none_or_nonsense(fake) -> None:
    bearer(fake, {"token": "good"})
    assert check(fake) == ""
    bearer(fake, {"token": "good", "refresh_token": ["x"]})
    assert check(fake) == ""


def test_a_token_service_that_refuses(fake) -> None:
    bearer(fake, {"token": "good"})
    with pytest.raises(Unauthorized, match="refused the credentials of user 'bob'"):
        check(fake, "wrong")


def test_what_is_not_a_registry(fake) -> None:
    fake.faults["/v2/"] = Fault(404)
    with pytest.raises(NotFound, match=r"there is no registry at .*404"):
        check(fake)
    fake.faults["/v2/"] = Fault(503)
    with pytest.raises(Unavailable, match="answered 503 to the login"):
        check(fake)


@pytest.mark.parametrize(
    ("server", "registry"),
    [
        (None, "docker.io"),
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://A.example:5000/v2/", "a.example:5000"),
        ("localhost", "localhost"),
    ],
)
def test_spellings_of_a_server(server, registry) -> None:
    assert registry_of(server) == registry


@pytest.mark.parametrize("server", ["a.example/team", "a b", "a.example:99999", "-x"])
def test_what_is_not_a_server(server) -> None:
    with pytest.raises(InvalidParameter, match="invalid registry"):
        registry_of(server)
