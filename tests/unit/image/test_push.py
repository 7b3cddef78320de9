"""``push``: what goes to the registry, under which manifest, and what is noted (N-10)."""

from __future__ import annotations

import gzip
import json
import zlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import zstandard

from runengine.errors import InvalidParameter, NotFound, Unauthorized
from runengine.mgr.image import compressing
from runengine.mgr.image.push import Options, push
from runengine.oci_spec import media_types
from runengine.registry.credentials import AuthFiles
from tests.support.layouts import digest_of
from tests.support.push_registry import PushRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

def unzstd(data: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


OCI_GZIP = f"{media_types.OCI_LAYER}+gzip"


class Told:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.statuses: list[str] = []

    def layer(self, key: str, status: str, current: int, total: int | None) -> None:
        if status not in self.statuses[-1:]:
            self.statuses.append(status)

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def fake() -> Iterator[PushRegistry]:
    with PushRegistry() as registry:
        yield registry


@pytest.fixture
def put(context):
    """Stores a manifest of these layers (media type, blob) with names; returns its digest."""

    def make(*names: str, layers, kind=media_types.OCI_MANIFEST, note="") -> str:
        config = json.dumps(
            {"os": "linux", "architecture": "amd64", "note": note,
             "rootfs": {"type": "layers", "diff_ids": [digest_of(b) for _, b in layers]}}
        ).encode()  # fmt: skip
        oci = kind == media_types.OCI_MANIFEST
        image_id = context.content.put(config)
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": media_types.OCI_CONFIG if oci else media_types.DOCKER_CONFIG,
                "digest": image_id,
                "size": len(config),
            },
            "layers": [
                {"mediaType": media, "digest": context.content.put(blob), "size": len(blob)}
                for media, blob in layers
            ],
            "extra": {"kept": True},
        }
        digest = context.content.put(json.dumps(manifest, indent=1).encode())
        context.store.images.put_image(
            image_id, digest, config=config.decode(), layers=[], size_bytes=1, media_type=kind
        )
        for name in names:
            context.store.images.set_name(name, image_id, digest)
        return str(digest)

    return make


def go(context, text, told=None, **options) -> Any:
    return push(
        context,
        text,
        Options(**options),
        progress=told or Told(),
        credentials=AuthFiles([]),
    )


def test_an_image_goes_as_it_is_stored(context, fake, put) -> None:
    digest = put(f"{fake.host}/a/b:1", layers=[(OCI_GZIP, b"one"), (OCI_GZIP, b"two")])
    told = Told()
    (result,) = go(context, f"{fake.host}/a/b:1", told)
    stored = context.content.read(digest, 1 << 20)
    assert fake.blobs[fake.tags["1"]] == stored
    assert result == (f"{fake.host}/a/b:1", digest, len(stored))
    assert fake.blobs[digest_of(b"one")] == b"one"
    assert told.lines == [
        f"The push refers to repository [{fake.host}/a/b]",
        f"1: digest: {digest} size: {len(stored)}",
    ]
    assert told.statuses.count("Pushed") == 2
    assert context.store.images.find_name(f"{fake.host}/a/b@{digest}") is not None


def test_what_is_there_is_not_sent_again(context, fake, put) -> None:
    put(f"{fake.host}/a/b:1", layers=[(OCI_GZIP, b"one")])
    go(context, f"{fake.host}/a/b:1")
    fake.asked.clear()
    told = Told()
    go(context, f"{fake.host}/a/b:1", told)
    assert fake.methods() == ["HEAD", "HEAD", "PUT"]
    assert told.statuses == ["Preparing", "Layer already exists"]


def test_blobs_are_taken_from_another_repository(context, fake, put) -> None:
    put(f"{fake.host}/a/b:1", f"{fake.host}/c:1", layers=[(OCI_GZIP, b"one")])
    go(context, f"{fake.host}/a/b:1")
    fake.asked.clear()
    told = Told()
    go(context, f"{fake.host}/c:1", told)
    assert "Mounted from a/b" in told.statuses
    assert not any("digest=" in asked.path for asked in fake.asked)
    assert digest_of(b"one") in fake.repositories["c"]


@pytest.mark.parametrize(
    ("form", "kind", "inflate"),
    [
        (None, "+gzip", gzip.decompress),
        ("zstd", "+zstd", unzstd),
    ],
)
def test_plain_layers_are_compressed(context, fake, put, form, kind, inflate) -> None:
    name = f"{fake.host}/a/b:1"
    docker_gzip = f"{media_types.DOCKER_LAYER}.gzip"
    plain = b"a tar " * 10_000
    layers = [(media_types.DOCKER_LAYER, plain), (docker_gzip, b"two")]
    before = put(name, layers=layers, kind=media_types.DOCKER_MANIFEST)
    how = compressing.chosen(form, None) if form else None
    (result,) = go(context, name, compression=how)
    document = json.loads(fake.blobs[fake.tags["1"]])
    assert result.digest != before
    assert document["mediaType"] == media_types.OCI_MANIFEST
    assert document["config"]["mediaType"] == media_types.OCI_CONFIG
    first, second = document["layers"]
    assert first["mediaType"] == media_types.OCI_LAYER + kind
    assert second["mediaType"] == OCI_GZIP
    sent = fake.blobs[first["digest"]]
    assert len(sent) == first["size"] < len(plain)
    assert inflate(sent) == plain
    # The same again, and nothing is compressed a second time.
    told = Told()
    assert go(context, name, told, compression=how) == [result]
    assert "Compressing" not in told.statuses


def test_another_name_gets_what_was_compressed_before(context, fake, put) -> None:
    one, two = f"{fake.host}/a:1", f"{fake.host}/b:1"
    put(one, two, layers=[(media_types.OCI_LAYER, b"plain")])
    (first,) = go(context, one)
    told = Told()
    (second,) = go(context, two, told)
    assert second.digest == first.digest
    assert "Compressing" not in told.statuses
    (other,) = go(context, two, told, compression=compressing.chosen("zstd", 1))
    assert other.digest == first.digest  # its layers are compressed already


def test_a_layer_whose_blob_is_gone_and_nowhere(context, fake, put) -> None:
    put(f"{fake.host}/a:1", layers=[(OCI_GZIP, b"one")])
    context.content.remove(digest_of(b"one"))
    with pytest.raises(NotFound, match="neither here nor at the registry"):
        go(context, f"{fake.host}/a:1")
    assert "1" not in fake.tags
    fake.repositories["a"] = {digest_of(b"one")}
    assert go(context, f"{fake.host}/a:1")


def test_foreign_layers_are_named_and_not_sent(context, fake, put, monkeypatch) -> None:
    kind = f"{media_types.OCI_FOREIGN_LAYER}+gzip"
    digest = put(f"{fake.host}/a:1", layers=[(kind, b"theirs")])
    document = json.loads(context.content.read(digest, 1 << 20))
    document["layers"][0]["urls"] = ["https://elsewhere.example/x"]
    changed = context.content.put(json.dumps(document).encode())
    image_id = document["config"]["digest"]
    context.store.images.set_name(f"{fake.host}/a:1", image_id, changed)
    told = Told()
    go(context, f"{fake.host}/a:1", told)
    assert told.statuses == ["Skipped foreign layer"]
    assert digest_of(b"theirs") not in fake.blobs


def test_a_whole_index_is_pushed_as_one(context, fake, put) -> None:
    name = f"{fake.host}/a:1"
    amd, arm = (put(layers=[(OCI_GZIP, word)], note=str(word)) for word in (b"amd", b"arm"))
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media_types.OCI_INDEX,
            "manifests": [
                {"mediaType": media_types.OCI_MANIFEST, "digest": one, "size": 1}
                for one in (amd, arm)
            ],
        }
    ).encode()
    digest = context.content.put(index)
    image_id = json.loads(context.content.read(amd, 1 << 20))["config"]["digest"]
    for text in (name, f"{fake.host}/a@{digest}"):
        context.store.images.set_name(text, image_id, amd)
    (result,) = go(context, name)
    assert result.digest == digest == fake.tags["1"]
    assert {amd, arm, digest_of(b"arm")} <= set(fake.blobs)
    context.content.remove(digest_of(b"arm"))
    (result,) = go(context, name)
    assert result.digest == amd


def test_all_tags(context, fake, put) -> None:
    put(f"{fake.host}/a:1", f"{fake.host}/a:2", f"{fake.host}/ab:3", layers=[(OCI_GZIP, b"x")])
    results = go(context, f"{fake.host}/a", all_tags=True)
    assert [result.reference for result in results] == [f"{fake.host}/a:1", f"{fake.host}/a:2"]
    with pytest.raises(InvalidParameter, match="can't be used with --all-tags"):
        go(context, f"{fake.host}/a:1", all_tags=True)
    with pytest.raises(NotFound, match="does not exist locally"):
        go(context, f"{fake.host}/zzz", all_tags=True)


def test_what_cannot_be_pushed(context, fake, put) -> None:
    with pytest.raises(NotFound, match="does not exist locally with the tag: nothing"):
        go(context, "nothing")
    with pytest.raises(InvalidParameter, match="cannot push the digest reference"):
        go(context, f"a@{digest_of(b'')}")


def test_the_event_comes_after_the_push_and_only_then(context, fake, put, monkeypatch) -> None:
    put(f"{fake.host}/a:1", layers=[(OCI_GZIP, b"x")])
    noted: list[Any] = []
    monkeypatch.setattr(
        context, "events", SimpleNamespace(image=lambda *args, **_: noted.append(args))
    )
    fake.refuses["POST"] = (403, b"{}")
    with pytest.raises(Unauthorized):
        go(context, f"{fake.host}/a:1")
    assert noted == []
    fake.refuses.clear()
    go(context, f"{fake.host}/a:1")
    assert noted == [("push", f"{fake.host}/a:1", f"{fake.host}/a")]


@pytest.mark.parametrize(
    ("form", "level"), [("gzip", None), ("gzip", 9), ("zstd", None), ("zstd", 19)]
)
def test_compressing_gives_the_same_bytes_each_time(context, form, level) -> None:
    digest = context.content.put(bytes(range(256)) * 20_000)
    how = compressing.chosen(form, level)
    first = compressing.compress(context, digest, how, lambda _: None)
    context.content.remove(first[0])
    assert compressing.compress(context, digest, how, lambda _: None) == first
    if form == "gzip":
        data = context.content.read(first[0], 1 << 30)
        assert data[4:8] == bytes(4)  # no time
        assert zlib.decompress(data, 31) == bytes(range(256)) * 20_000


@pytest.mark.parametrize(("form", "level"), [("lz4", None), ("gzip", 0), ("zstd", 23)])
def test_compression_that_there_is_not(form, level) -> None:
    with pytest.raises(InvalidParameter, match="compression"):
        compressing.chosen(form, level)


def test_a_name_that_was_moved_meanwhile_stays_moved(context, fake, put, monkeypatch) -> None:
    name = f"{fake.host}/a:1"
    put(name, layers=[(media_types.OCI_LAYER, b"plain")])
    other = put(layers=[(OCI_GZIP, b"other")], note="other")
    other_id = json.loads(context.content.read(other, 1 << 20))["config"]["digest"]
    kept = compressing.compress

    def move(*args: Any) -> Any:
        context.store.images.set_name(name, other_id, other)
        return kept(*args)

    monkeypatch.setattr(compressing, "compress", move)
    go(context, name)
    assert context.store.images.find_name(name).manifest_digest == other
