"""The client against a registry that misbehaves."""

from __future__ import annotations

import base64
import os
import pickle
import socket
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from runengine.errors import Corrupt, NotFound, Unauthorized, Unavailable
from runengine.ids import Digest
from runengine.oci_spec import media_types
from runengine.oci_spec.image import Descriptor
from runengine.registry.client import CHUNK_BYTES, RegistryClient
from runengine.registry.credentials import AuthFiles, Credentials
from runengine.registry.reference import parse
from tests.support.fake_registry import FakeRegistry, Fault
from tests.support.layouts import Layout, digest_of

BLOB = os.urandom(1 << 20) + b"end"
DIGEST = digest_of(BLOB)
DESCRIPTOR = Descriptor(digest=Digest(DIGEST), size=len(BLOB))
USER = Credentials("bob", "right", source="/auth.json")


class Stored:
    """Credentials as from a file."""

    is_explicit = False

    def __init__(self, found: Credentials | None = USER) -> None:
        self.found = found
        self.asked: list[str] = []

    def find(self, registry: str, repository: str) -> Credentials | None:
        self.asked.append(f"{registry}/{repository}")
        return self.found


@pytest.fixture
def fake():
    layout = Layout()
    descriptor = layout.image({"hello": b"world"})
    with FakeRegistry(layout) as registry:
        registry.tag("1", descriptor)
        registry.blobs[DIGEST] = BLOB
        yield registry


@pytest.fixture
def client():
    with RegistryClient(credentials=AuthFiles([]), timeout_s=5) as one:
        yield one


@pytest.fixture
def ref(fake):
    return parse(f"{fake.host}/team/app:1")


def read(client, ref, *, offset=0, verify=True) -> bytes:
    with client.blob(ref, DESCRIPTOR, offset=offset, verify=verify) as stream:
        return b"".join(stream)


def test_a_manifest_by_tag_and_by_digest(fake, client, ref) -> None:
    manifest = client.manifest(ref)
    assert manifest.media_type == media_types.OCI_MANIFEST
    assert digest_of(manifest.data) == manifest.digest == fake.tags["1"]
    pinned = client.manifest(parse(f"{fake.host}/team/app@{manifest.digest}"))
    assert pinned.data == manifest.data
    assert not any(asked.authorization for asked in fake.asked)


def test_a_manifest_that_is_not_what_was_asked_for(fake, client, ref) -> None:
    digest = client.manifest(ref).digest
    fake.blobs[digest] += b" "
    with pytest.raises(Corrupt, match="wrong content"):
        client.manifest(parse(f"{fake.host}/team/app@{digest}"))
    fake.faults["/manifests/1"] = Fault(headers={"Docker-Content-Digest": DIGEST})
    with pytest.raises(Corrupt, match=f"instead of {DIGEST}"):
        client.manifest(ref)


def test_a_huge_manifest_is_not_read(fake, client, ref) -> None:
    limit = 4 << 20
    fake.put("1", b" " * (limit + 1), "text/plain")
    with pytest.raises(Corrupt, match=f"{limit + 1} bytes, more than the limit"):
        client.manifest(ref)
    fake.faults["/manifests/1"] = Fault(headers={"Content-Length": "999999999999"}, cut_after=1)
    with pytest.raises(Corrupt, match="more than the limit"):
        client.manifest(ref)


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'), NotFound, "repository .* not found"),
        (Fault(404, b"<html>"), NotFound, "not a registry's"),
        (Fault(403, b'{"errors":[{"message":"a\\u001b[2Jb"}]}'), Unauthorized, r"denied.*a\[2Jb"),
        (Fault(429), Unavailable, "no more requests"),
        (Fault(418), Unavailable, "answered 418"),
        (Fault(cut_after=10), Unavailable, "broke off"),
        (Fault(302, b"", {"Location": "/v2/team/app/manifests/1"}), Unavailable, "in circles"),
    ],
)
def test_what_the_registry_answers_is_explained(fake, client, ref, fault, error, words) -> None:
    fake.faults["/manifests/1"] = fault
    with pytest.raises(error, match=words) as caught:
        client.manifest(ref)
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_busy_registry_is_asked_again(fake, client, ref, monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    fake.faults["/manifests/1"] = Fault(503, times=2)
    assert client.manifest(ref).digest == fake.tags["1"]
    fake.faults["/manifests/1"] = Fault(503)
    with pytest.raises(Unavailable, match="answered 503"):
        client.manifest(ref)


def test_a_refused_connection(client) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # Bound, not listening.
        host = f"127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"cannot reach registry {host}.*refused"):
            client.manifest(parse(f"{host}/x"))


def test_an_unknown_host(client, monkeypatch) -> None:
    def unknown(*_args, **_keywords):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unavailable, match=r"host name is not known.*spelling of no\.example"):
        client.manifest(parse("no.example/x"))


def test_plain_http_where_https_is_due_is_explained(fake, client, monkeypatch) -> None:
    from runengine.registry import mirrors

    monkeypatch.setattr(mirrors, "is_loopback", lambda _: False)
    with pytest.raises(Unavailable, match="speaks plain HTTP") as caught:
        client.manifest(parse(f"{fake.host}/team/app:1"))
    assert f'add "{fake.host}" to insecure_registries' in str(caught.value)


def test_a_listed_registry_may_speak_plain_http(fake, monkeypatch) -> None:
    from runengine.registry import mirrors

    monkeypatch.setattr(mirrors, "is_loopback", lambda _: False)
    with RegistryClient(insecure=[fake.host], credentials=AuthFiles([])) as client:
        ref = parse(f"{fake.host}/team/app:1")
        client.manifest(ref)
        assert read(client, ref) == BLOB
    assert len(fake.asked) == 2


def test_a_proxy_of_the_environment_is_not_asked_for_loopback(
    fake, client, ref, monkeypatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert client.manifest(ref)


def test_a_blob_is_read_whole_and_checked(fake, client, ref) -> None:
    assert read(client, ref) == BLOB
    with client.blob(ref, DESCRIPTOR) as stream:
        assert len(stream.read()) == CHUNK_BYTES
        assert stream.read(7) == BLOB[CHUNK_BYTES:][:7]
        assert stream.read(0) == b""
        assert stream.read(-1) == BLOB[CHUNK_BYTES + 7 :]
        assert stream.read() == b""


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("offset", [1, CHUNK_BYTES + 5, len(BLOB) - 1, len(BLOB)])
def test_the_rest_of_a_blob(fake, client, ref, ranges, offset) -> None:
    fake.ranges = ranges
    assert read(client, ref, offset=offset) == BLOB[offset:]


def test_a_blob_with_content_encoding_is_not_decoded(fake, client, ref) -> None:
    fake.faults["/blobs/"] = Fault(headers={"Content-Encoding": "gzip"})
    assert read(client, ref) == BLOB


@pytest.mark.parametrize(
    ("served", "headers", "error", "words"),
    [
        (BLOB[:-1] + b"x", {}, Corrupt, "wrong content"),
        (BLOB[:-1], {}, Corrupt, "wrong size"),
        (BLOB + b"x", {}, Corrupt, "wrong size"),
        (BLOB + b"x", {"Transfer-Encoding": "chunked"}, Corrupt, "longer than its size"),
        (BLOB[:-1], {"Transfer-Encoding": "chunked"}, Unavailable, "broke off"),
    ],
)
def test_a_wrong_blob_is_refused(fake, client, ref, served, headers, error, words) -> None:
    if headers:
        served = b"%x\r\n%s\r\n0\r\n\r\n" % (len(served), served)
        fake.faults["/blobs/"] = Fault(200, served, {**headers, "Content-Length": ""})
    else:
        fake.blobs[DIGEST] = served
    with pytest.raises(error, match=words):
        read(client, ref)


def test_a_wrong_range_is_refused(fake, client, ref) -> None:
    fake.faults["/blobs/"] = Fault(206, BLOB[5:], {"Content-Range": "bytes 5-9/10"})
    with pytest.raises(Unavailable, match="another range"):
        read(client, ref, offset=6)


def test_a_broken_and_a_stalled_transfer(fake, ref) -> None:
    fake.faults["/blobs/"] = Fault(cut_after=100)
    with RegistryClient(credentials=AuthFiles([]), timeout_s=0.3) as client:
        with pytest.raises(Unavailable, match="broke off"):
            read(client, ref)
        fake.faults["/blobs/"] = Fault(stall_after=100)
        with pytest.raises(Unavailable, match=r"no answer from registry .* in time"):
            read(client, ref)


def test_a_silent_server_does_not_hold_us(client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        quick = RegistryClient(credentials=AuthFiles([]), timeout_s=0.2)
        with quick, pytest.raises(Unavailable, match="no answer"):
            quick.manifest(parse(f"127.0.0.1:{silent.getsockname()[1]}/x"))


# -- authentication


def bearer(fake, *, public=False) -> None:
    """Token auth: ``bob:right`` may, anonymous only if ``public``."""

    def authorize(path, authorization):
        repository = path.partition("/v2/")[2].partition("/manifests/")[0].partition("/blobs/")[0]
        users = ("bob", "anon") if public else ("bob",)
        if authorization in [f"Bearer {user}:{repository}" for user in users]:
            return None
        return {
            "WWW-Authenticate": f'Bearer realm="http://{fake.host}/token",service="s",'
            f'scope="repository:{repository}:pull"'
        }

    def token(query, authorization):
        repository = query["scope"][0].split(":")[1]
        if not authorization:
            return 200, {"token": f"anon:{repository}"}
        pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        return (200, {"access_token": f"bob:{repository}"}) if pair == "bob:right" else (401, {})

    fake.authorize, fake.token = authorize, token


def basic(fake) -> None:
    right = "Basic " + base64.b64encode(b"bob:right").decode()

    def authorize(_path, authorization):
        return None if authorization == right else {"WWW-Authenticate": 'Basic realm="x"'}

    fake.authorize = authorize


def tokens_asked(fake) -> list[tuple[str, bool]]:
    """(scope, with a password) of each token request."""
    asked = [one for one in fake.asked if one.path.startswith("/token")]
    return [
        (parse_qs(urlsplit(one.path).query)["scope"][0], bool(one.authorization)) for one in asked
    ]


def test_a_public_repository_needs_no_credentials_and_one_token(fake, ref) -> None:
    bearer(fake, public=True)
    stored = Stored(Credentials("bob", "stale", source="/auth.json"))
    with RegistryClient(credentials=stored) as client:
        client.manifest(ref)
        assert read(client, ref) == BLOB
    assert tokens_asked(fake) == [("repository:team/app:pull", False)]
    assert stored.asked == []


def test_a_private_repository_takes_the_stored_credentials(fake, ref) -> None:
    bearer(fake)
    with RegistryClient(credentials=Stored()) as client:
        client.manifest(ref)
        read(client, ref)
    scope = "repository:team/app:pull"
    assert tokens_asked(fake) == [(scope, False), (scope, True)]


def test_each_repository_has_its_own_token(fake, ref) -> None:
    bearer(fake, public=True)
    with RegistryClient(credentials=Stored(None)) as client:
        for name in ("team/app", "team/other", "team/app"):
            client.manifest(parse(f"{fake.host}/{name}:1"))
    assert [scope for scope, _ in tokens_asked(fake)] == [
        "repository:team/app:pull",
        "repository:team/other:pull",
    ]


def test_given_credentials_are_used_at_once(fake, ref) -> None:
    bearer(fake, public=True)
    source = RegistryClient.given(fake.host, USER)
    with RegistryClient(credentials=source) as client:
        client.manifest(ref)
    assert tokens_asked(fake) == [("repository:team/app:pull", True)]


def test_an_expired_token_is_renewed(fake, ref) -> None:
    bearer(fake)
    with RegistryClient(credentials=Stored()) as client:
        client.manifest(ref)
        asked = len(tokens_asked(fake))
        accept, fake.authorize = fake.authorize, None
        refusals = iter([{"WWW-Authenticate": f'Bearer realm="http://{fake.host}/token"'}])
        fake.authorize = lambda path, header: next(refusals, None) or accept(path, header)
        assert read(client, ref) == BLOB
    assert tokens_asked(fake)[asked:] == [("repository:team/app:pull", True)]


def test_a_rate_limit_for_anonymous_pulls_is_lifted_by_credentials(fake, ref) -> None:
    bearer(fake, public=True)
    fake.faults["/manifests/1"] = Fault(429, times=1)
    with RegistryClient(credentials=Stored()) as client:
        assert client.manifest(ref)
    assert [with_password for _, with_password in tokens_asked(fake)] == [False, True]


@pytest.mark.parametrize("scheme", [bearer, basic])
def test_a_wrong_password_is_named_with_its_file(fake, ref, scheme) -> None:
    scheme(fake)
    wrong = Stored(Credentials("bob", "wrong", source="/auth.json"))
    with RegistryClient(credentials=wrong) as client, pytest.raises(Unauthorized) as caught:
        client.manifest(ref)
    assert f"registry {fake.host} refused the credentials of user 'bob'" in str(caught.value)
    assert "correct the entry in /auth.json" in str(caught.value)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("scheme", [bearer, basic])
def test_without_credentials_the_way_to_log_in_is_named(fake, client, ref, scheme) -> None:
    scheme(fake)
    with pytest.raises(Unauthorized, match="does not exist or needs a login") as caught:
        client.manifest(ref)
    assert f"log in first: runengine login {fake.host})" in str(caught.value)


def test_basic_auth_is_remembered(fake, ref) -> None:
    basic(fake)
    with RegistryClient(credentials=Stored()) as client:
        client.manifest(ref)
        read(client, ref)
    assert [bool(asked.authorization) for asked in fake.asked] == [False, True, True]


def test_an_identity_token_is_exchanged(fake, ref, monkeypatch) -> None:
    bearer(fake)
    posted = []

    def request(self, method, url, **more):
        if method == "POST":
            posted.append(more.pop("data"))
            method, more["params"] = "GET", {"scope": posted[0]["scope"]}
            more["headers"] = {"Authorization": "Basic " + base64.b64encode(b"bob:right").decode()}
        return real(self, method, url, **more)

    real = requests.Session.request
    monkeypatch.setattr(requests.Session, "request", request)
    with RegistryClient(credentials=Stored(Credentials("", "", "IDT"))) as client:
        client.manifest(ref)
    assert posted[0]["grant_type"] == "refresh_token"
    assert posted[0]["refresh_token"] == "IDT"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, {}), "sent no token"),
        ((200, {"token": 7}), "sent no token"),
        ((200, {"token": "a\r\nX: y"}), "sent no token"),
        ((200, []), "JSON object"),
        ((500, {}), "answered 500"),
    ],
)
def test_a_bad_token_service_is_named(fake, client, ref, answer, words) -> None:
    bearer(fake)
    fake.token = lambda *_: answer
    with pytest.raises((Corrupt, Unavailable), match=words):
        client.manifest(ref)


def test_a_password_is_not_lured_into_plain_http(fake) -> None:
    from runengine.registry.auth import Challenge
    from runengine.registry.mirrors import resolve
    from runengine.registry.tokens import Authorizer

    (endpoint,) = resolve(parse("reg.example/x"), mirrors={}, insecure=[])
    authorizer = Authorizer(requests.Session(), lambda _: True)
    challenge = Challenge("bearer", f"http://{fake.host}/token", "", "")
    with pytest.raises(Unauthorized, match="unencrypted"):
        authorizer.header(challenge, endpoint, USER)
    assert fake.asked == []


def test_no_password_is_taken_from_netrc(fake, client, ref, monkeypatch, tmp_path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password x\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    bearer(fake, public=True)
    client.manifest(ref)
    assert not any(asked.authorization.startswith("Basic") for asked in fake.asked)


# -- mirrors, workers


def test_a_mirror_is_asked_first_and_the_registry_when_it_fails(fake, ref) -> None:
    with FakeRegistry() as mirror:
        table = {fake.host: [f"http://{mirror.host}/cache"]}
        with RegistryClient(credentials=AuthFiles([]), mirrors=table) as client:
            client.manifest(ref)
            assert read(client, ref) == BLOB
            assert [line.partition(" failed")[0] for line in client.notices] == [
                f"mirror {mirror.host}/cache/team/app (http, certificate not checked)"
            ]
        assert [asked.path for asked in mirror.asked] == ["/v2/cache/team/app/manifests/1"]


def test_a_mirror_that_has_it_spares_the_registry(fake, ref) -> None:
    upstream = parse("reg.example/team/app:1")
    with RegistryClient(mirrors={"reg.example": [fake.host]}) as client:
        client.manifest(upstream)
        assert read(client, upstream) == BLOB
        assert client.notices == []


def test_a_lying_mirror_is_passed_over(fake, ref) -> None:
    layout = Layout()
    with FakeRegistry(layout) as mirror:
        mirror.blobs[fake.tags["1"]] = b"{}"
        pinned = parse(f"{fake.host}/team/app@{fake.tags['1']}")
        table = {fake.host: [mirror.host]}
        with RegistryClient(credentials=AuthFiles([]), mirrors=table) as client:
            assert client.manifest(pinned).digest == fake.tags["1"]
            assert "wrong content" in client.notices[0]


def test_a_client_goes_to_a_worker_with_its_grants(fake, ref) -> None:
    bearer(fake)
    with RegistryClient(credentials=Stored()) as client:
        client.manifest(ref)
        before = len(tokens_asked(fake))
        with pickle.loads(pickle.dumps(client)) as worker:
            assert read(worker, ref) == BLOB
    assert len(tokens_asked(fake)) == before
    assert fake.asked[-1].authorization == "Bearer bob:team/app"


def test_connections_are_not_shared_over_a_fork(fake, client, ref, monkeypatch) -> None:
    client.manifest(ref)
    (endpoint,) = client.explain(ref)
    mine = client._open(endpoint)
    assert client._open(endpoint) is mine
    monkeypatch.setattr("os.getpid", lambda: -1)
    other = client._open(endpoint)
    assert other is not mine
    assert other.session is not mine.session
    other.close()
    mine.close()


def test_several_clients_at_once(fake, ref) -> None:
    results = []

    def work() -> None:
        with RegistryClient(credentials=AuthFiles([])) as one:
            results.append(read(one, ref) == BLOB)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4
