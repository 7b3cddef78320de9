"""Blobs and manifests on their way to a registry that breaks off, forgets or refuses (N-10)."""

from __future__ import annotations

import os
import pickle
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.errors import Corrupt, EngineError, NotFound, Unauthorized, Unavailable, Unsupported
from runengine.registry import upload
from runengine.registry.credentials import AuthFiles, Credentials, GivenCredentials
from runengine.registry.reference import parse
from runengine.registry.upload import Blob, FilePart, UploadClient
from tests.support.layouts import digest_of
from tests.support.middlemen import Middleman
from tests.support.push_registry import Break, PushRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = os.urandom(300_000)
DIGEST = digest_of(DATA)
NAME = "team/app"


@pytest.fixture
def fake() -> Iterator[PushRegistry]:
    with PushRegistry() as registry:
        yield registry


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(upload, "CHUNK_BYTES", 100_000)
    monkeypatch.setattr(upload, "SEND_BYTES", 10_000)


@pytest.fixture
def client(fake):
    with opened(fake) as one:
        yield one


def opened(fake, **options) -> UploadClient:
    options.setdefault("credentials", AuthFiles([]))
    return UploadClient(parse(f"{fake.host}/{NAME}:1"), timeout_s=5, **options)


@pytest.fixture
def blob(tmp_path) -> Blob:
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    return Blob(DIGEST, len(DATA), str(path))


def test_a_blob_goes_in_two_requests_and_is_there(fake, client, blob) -> None:
    sent: list[int] = []
    assert not client.has_blob(DIGEST)
    client.upload(blob, sent.append)
    assert fake.blobs[DIGEST] == DATA
    assert fake.methods() == ["HEAD", "POST", "PUT"]
    assert sent[-1] == len(DATA)
    assert sent == sorted(sent)
    assert client.has_blob(DIGEST)


def test_an_empty_blob(fake, client, tmp_path) -> None:
    (tmp_path / "none").touch()
    client.upload(Blob(digest_of(b""), 0, str(tmp_path / "none")))
    assert fake.blobs[digest_of(b"")] == b""


@pytest.mark.parametrize(
    "broken",
    [Break(150_000, 150_000), Break(150_000, 70_001), Break(150_000, 0), Break(1, 0, True)],
    ids=["all that came is kept", "some is", "none is", "the upload is forgotten"],
)
def test_a_break_is_gone_on_from_in_chunks(fake, client, blob, broken) -> None:
    fake.breaks = [broken]
    sent: list[int] = []
    client.upload(blob, sent.append)
    assert fake.blobs[DIGEST] == DATA
    assert "PATCH" in fake.methods()
    assert sent[-1] == len(DATA)
    if broken.kept:
        assert fake.methods().count("POST") == 1


def test_breaks_that_bring_something_are_borne_for_long(fake, client, blob) -> None:
    fake.breaks = [Break(30_000, 20_000)] * 12
    client.upload(blob)
    assert fake.blobs[DIGEST] == DATA


def test_breaks_that_bring_nothing_are_given_up(fake, client, blob) -> None:
    fake.breaks = [Break(10, 0)] * 50
    with pytest.raises(Unavailable):
        client.upload(blob)
    assert len(fake.breaks) > 40


def test_chunks_without_a_range_in_the_answer(fake, client, blob) -> None:
    fake.breaks = [Break(10, 0)]
    fake.answers_with_range = False
    client.upload(blob)
    assert fake.blobs[DIGEST] == DATA


@pytest.mark.parametrize("status", [400, 404, 416, 405])
def test_a_registry_that_takes_no_chunks_gets_the_whole_again(fake, client, blob, status) -> None:
    fake.breaks = [Break(150_000, 150_000)]
    fake.refuses["PATCH"] = (status, b"{}")
    client.upload(blob)
    assert fake.blobs[DIGEST] == DATA
    assert fake.methods().count("PATCH") == 1


def test_a_blob_of_another_repository_is_mounted(fake, client) -> None:
    fake.repositories["base/os"] = {DIGEST}
    assert client.mount(DIGEST, "base/os") is None
    assert client.has_blob(DIGEST)


def test_where_nothing_is_mounted_the_upload_that_was_opened_is_used(fake, client, blob) -> None:
    fake.repositories["base/os"] = {DIGEST}
    fake.mounts = False
    session = client.mount(DIGEST, "base/os")
    assert session is not None
    client.upload(blob, session=session)
    assert fake.methods() == ["POST", "PUT"]


def test_a_location_with_an_address_of_its_own(fake, client, blob) -> None:
    fake.location = f"http://{fake.host}/v2/{{name}}/blobs/uploads/{{id}}"
    client.upload(blob)
    assert fake.blobs[DIGEST] == DATA


def test_another_host_gets_the_blob_and_no_authorization(fake, blob) -> None:
    source = GivenCredentials(fake.host, Credentials("bob", "right"))
    fake.authorize = lambda _path, header: (
        None if header.startswith("Basic ") else {"WWW-Authenticate": "Basic realm=x"}
    )
    with PushRegistry() as storage, opened(fake, credentials=source) as client:
        fake.location = f"http://{storage.host}/v2/{{name}}/blobs/uploads/{{id}}"
        storage.uploads["2"] = b""  # the second request, after the refused one
        client.upload(blob)
        assert storage.blobs[DIGEST] == DATA
        assert [asked.authorization for asked in storage.asked] == [""]


def test_blobs_do_not_leave_tls(fake, client, blob, monkeypatch) -> None:
    monkeypatch.setattr(client, "endpoint", client.endpoint._replace(verify_tls=True))
    fake.location = "http://elsewhere.example/upload/{name}/{id}"
    with pytest.raises(Unavailable, match=r"elsewhere\.example unencrypted"):
        client.upload(blob)


def test_one_connection_does_for_everything(fake, blob) -> None:
    challenge = {"WWW-Authenticate": "Basic realm=x"}
    fake.authorize = lambda _path, header: None if header else challenge
    port = int(fake.host.rpartition(":")[2])
    with Middleman(port) as line:
        source = GivenCredentials(line.host, Credentials("bob", "right"))
        ref = parse(f"{line.host}/{NAME}:1")
        with UploadClient(ref, credentials=source, timeout_s=5) as client:
            assert not client.has_blob(DIGEST)
            client.upload(blob)
            client.put_manifest("1", "application/x", b"{}", digest_of(b"{}"))
        assert len(line.connections) == 1


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_location_is_a_path_here_an_address_or_refused(location) -> None:
    client = UploadClient(parse("127.0.0.1:5000/a/b:1"), credentials=AuthFiles([]))
    url = "http://127.0.0.1:5000/v2/a/b/blobs/uploads/"
    answer: Any = SimpleNamespace(headers={"Location": location}, url=url)
    with suppress(Unavailable, Corrupt):
        found = client._location(answer)
        assert found.startswith("/") or "://" in found


def test_a_location_that_is_missing(fake, client, blob) -> None:
    fake.location = ""
    with pytest.raises(Unavailable, match="does not say where"):
        client.upload(blob)


@pytest.mark.parametrize(
    ("method", "answer", "error", "words"),
    [
        ("POST", (405, b"{}"), Unsupported, "takes no pushes"),
        ("POST", (403, b'{"errors":[{"message":"read only"}]}'), Unauthorized, "read only"),
        ("POST", (404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'), NotFound, "not found"),
        ("PUT", (413, b'{"errors":[{"message":"too big"}]}'), EngineError, "status 413: too big"),
        ("POST", (429, b"{}"), Unavailable, "no more requests"),
    ],
)
def test_refusals_have_the_words_of_the_registry(
    fake, client, blob, method, answer, error, words
) -> None:
    fake.refuses[method] = answer
    with pytest.raises(error, match=words):
        client.upload(blob)


def test_what_is_damaged_here_is_refused_there(fake, client, blob, tmp_path) -> None:
    (tmp_path / "blob").write_bytes(DATA[::-1])
    with pytest.raises(Corrupt, match="damaged here"):
        client.upload(blob)
    (tmp_path / "blob").write_bytes(b"short")
    with pytest.raises(Corrupt, match="shorter than its size"):
        client.upload(blob)


def test_a_manifest_by_tag_and_what_the_registry_makes_of_it(fake, client) -> None:
    client.put_manifest("1", "application/x", b"{}", digest_of(b"{}"))
    assert fake.tags["1"] == digest_of(b"{}")
    with pytest.raises(Corrupt, match="stored manifest"):
        client.put_manifest("1", "application/x", b"{}", DIGEST)
    said = b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}'
    fake.refuses["PUT"] = (404, said)
    with pytest.raises(NotFound, match="not found"):
        client.put_manifest("1", "application/x", b"{}", digest_of(b"{}"))


def test_the_token_is_for_pushing_and_for_reading_the_sources(fake, blob) -> None:
    asked: list[tuple[list[str], str]] = []

    def token(query, header):
        asked.append((query["scope"], header))
        return 200, {"token": "good"}

    challenge = (
        f'Bearer realm="http://{fake.host}/token",service="s",scope="repository:{NAME}:pull"'
    )
    fake.token = token
    fake.authorize = lambda _path, header: (
        None if header == "Bearer good" else {"WWW-Authenticate": challenge}
    )
    source = GivenCredentials(fake.host, Credentials("bob", "right"))
    with opened(fake, credentials=source, sources=["base/os"]) as client:
        client.has_blob(DIGEST)
        again = pickle.loads(pickle.dumps(client))
        again.upload(blob)
        again.close()
    ((scopes, header),) = asked
    assert scopes == [f"repository:{NAME}:pull,push", "repository:base/os:pull"]
    assert header.startswith("Basic ")


def test_who_may_not_push_is_told_so(fake, client, blob) -> None:
    fake.token = lambda _query, _header: (200, {"token": "weak"})
    fake.authorize = lambda _path, _header: {
        "WWW-Authenticate": f'Bearer realm="http://{fake.host}/token",service="s"'
    }
    with pytest.raises(Unauthorized, match="needs a login"):
        client.upload(blob)
    source = GivenCredentials(fake.host, Credentials("bob", "right"))
    denied = pytest.raises(Unauthorized, match=f"does not let user 'bob' push to {NAME}")
    with opened(fake, credentials=source) as named, denied:
        named.upload(blob)


def test_a_part_can_be_sent_again(tmp_path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    part = FilePart(str(path), 10, 90)
    assert len(part) == 80
    assert b"".join(part) == b"".join(part) == bytes(range(10, 90))


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_body_goes_along_with_a_redirect_and_the_password_does_not(
    fake, blob, method
) -> None:
    source = GivenCredentials(fake.host, Credentials("bob", "right"))
    fake.authorize = lambda _path, header: (
        None if header else {"WWW-Authenticate": "Basic realm=x"}
    )
    with PushRegistry() as storage, opened(fake, credentials=source) as client:
        storage.uploads["1"] = b""
        target = f"http://{storage.host}/v2/{NAME}/blobs/uploads/1?digest={DIGEST}"
        fake.redirects[method] = target
        if method == "PATCH":
            fake.breaks = [Break(10, 0)]
        client.upload(blob)
        assert storage.blobs[DIGEST] == DATA
        assert not any(asked.authorization for asked in storage.asked)
