"""What is ours on top of oras's provider."""

from __future__ import annotations

import base64
import os
import time

import oras.provider
import pytest
from requests.adapters import HTTPAdapter

from runengine.errors import Unauthorized
from runengine.oci_spec.image import Descriptor
from runengine.registry import auth, certificates, transport
from runengine.registry.client import RegistryClient
from runengine.registry.credentials import AuthFiles, GivenCredentials
from runengine.registry.credentials import Credentials as User
from runengine.registry.mirrors import Endpoint, resolve
from runengine.registry.reference import parse
from tests.support.fake_registry import FakeRegistry, Fault
from tests.support.layouts import Layout

BOB = "Basic " + base64.b64encode(b"bob:right").decode()


@pytest.fixture
def fake():
    layout = Layout()
    with FakeRegistry(layout) as registry:
        registry.tag("1", layout.image({"hello": b"world"}))
        registry.blobs.update(layout.blobs)
        yield registry


@pytest.fixture
def other(fake):
    with FakeRegistry() as registry:
        registry.blobs = fake.blobs
        yield registry


def opened(fake, source=None, timeout_s=5.0) -> transport.Registry:
    (endpoint,) = resolve(parse(f"{fake.host}/team/app:1"), mirrors={}, insecure=[])
    grants = auth.Grants(source or AuthFiles([]))
    return transport.Registry(
        endpoint, grants, verifies_tls=lambda _: False, timeout_s=timeout_s
    )


def with_password(fake, path, authorization):
    return None if authorization == BOB else {"WWW-Authenticate": 'Basic realm="x"'}


def test_a_request_goes_through_oras(fake, monkeypatch) -> None:
    asked = []

    def ask(self, url, *rest):
        asked.append(url)
        return once(self, url, *rest)

    once = transport._ask_once
    assert once is oras.provider.Registry.do_request.__wrapped__
    monkeypatch.setattr(transport, "_ask_once", ask)
    with RegistryClient(credentials=AuthFiles([])) as client:
        client.manifest(parse(f"{fake.host}/team/app:1"))
    assert asked == [f"http://{fake.host}/v2/team/app/manifests/1"]


def test_what_oras_does_of_itself_works_with_our_bounds(fake) -> None:
    source = GivenCredentials(fake.host, User("bob", "right"))
    fake.authorize = lambda path, header: with_password(fake, path, header)
    registry = opened(fake, source)
    registry.prefix = "http"
    digest = fake.tags["1"]
    with registry.get_blob(f"{fake.host}/team/app:1", digest, stream=True) as response:
        assert response.content == fake.blobs[digest]
    registry.close()
    assert [asked.authorization for asked in fake.asked] == ["", BOB]


def test_no_environment_of_oras_is_a_credential(fake, monkeypatch) -> None:
    monkeypatch.setenv("ORAS_USER", "bob")
    monkeypatch.setenv("ORAS_PASS", "right")
    fake.authorize = lambda path, header: with_password(fake, path, header)
    client = RegistryClient(credentials=AuthFiles([]))
    with client, pytest.raises(Unauthorized, match="needs a login"):
        client.manifest(parse(f"{fake.host}/team/app:1"))
    assert [asked.authorization for asked in fake.asked] == [""]


def test_a_redirect_carries_no_password(fake, other, monkeypatch, tmp_path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    fake.authorize = lambda path, header: with_password(fake, path, header)
    digest = fake.tags["1"]
    path = f"/v2/team/app/blobs/{digest}"
    fake.faults["/blobs/"] = Fault(307, b"", {"Location": f"http://{other.host}{path}"})
    ref = parse(f"{fake.host}/team/app:1")
    source = GivenCredentials(fake.host, User("bob", "right"))
    descriptor = Descriptor(digest=digest, size=len(fake.blobs[digest]))
    with RegistryClient(credentials=source) as client, client.blob(ref, descriptor) as stream:
        assert stream.read(-1) == fake.blobs[digest]
    assert [asked.authorization for asked in fake.asked] == ["", BOB]
    assert [asked.authorization for asked in other.asked] == [""]


def test_every_wait_is_bounded(fake, monkeypatch) -> None:
    seen = []

    def send(self, request, **more):
        seen.append((more["timeout"], more["proxies"], more["verify"]))
        return real(self, request, **more)

    real = HTTPAdapter.send
    monkeypatch.setattr(HTTPAdapter, "send", send)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    for timeout_s in (5.0, 30.0):
        registry = opened(fake, timeout_s=timeout_s)
        registry.send("GET", "http", "/v2/team/app/manifests/1", {}).close()
        registry.close()
    assert seen == [((5.0, 5.0), {}, False), ((10.0, 30.0), {}, False)]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, certificates.SYSTEM_AUTHORITIES),
        ({"CURL_CA_BUNDLE": "/b"}, "/b"),
        ({"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"}, "/a"),
    ],
)
def test_which_authorities_are_trusted(monkeypatch, environment, expected) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if expected == certificates.SYSTEM_AUTHORITIES and not os.path.isfile(expected):
        expected = None
    assert certificates.system_authorities() == expected


def test_a_proxy_is_for_other_hosts(monkeypatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert transport.proxies_for("https://reg.example/v2/")["https"] == "http://proxy:3128"
    assert transport.proxies_for("https://localhost:5000/v2/") == {}
    monkeypatch.setenv("NO_PROXY", "reg.example")
    assert transport.proxies_for("https://reg.example/v2/") == {}


def test_a_failure_is_not_retried_behind_our_back(fake, monkeypatch) -> None:
    def forbidden(_):
        raise AssertionError("oras sleeps")

    monkeypatch.setattr(time, "sleep", forbidden)
    fake.faults["/manifests/"] = Fault(500)
    registry = opened(fake)
    assert registry.send("GET", "http", "/v2/team/app/manifests/1", {}).status_code == 500
    registry.close()
    assert len(fake.asked) == 1


def test_a_registry_is_of_one_endpoint(fake) -> None:
    registry = opened(fake)
    assert isinstance(registry, oras.provider.Registry)
    assert registry.hostname == fake.host
    assert registry._endpoint == Endpoint(
        fake.host, "team/app", ("http", "https"), verify_tls=False, is_mirror=False
    )
    registry.close()
