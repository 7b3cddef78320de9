"""From a reference to verified documents."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from runengine.errors import Corrupt, NotFound, Unsupported
from runengine.oci_spec import image, media_types
from runengine.registry import fetch
from runengine.registry.client import RegistryClient
from runengine.registry.content import ContentStore
from runengine.registry.credentials import AuthFiles
from runengine.registry.platform import Platform, native
from runengine.registry.reference import parse
from tests.support.fake_registry import FakeRegistry
from tests.support.layouts import Layout, digest_of

AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@pytest.fixture
def layout() -> Layout:
    return Layout()


@pytest.fixture
def fake(layout):
    with FakeRegistry(layout) as registry:
        registry.blobs = layout.blobs
        yield registry


class Puller:
    """Pulls ``app:1``, moved to ``descriptor`` first if one is given."""

    def __init__(self, fake, client, store) -> None:
        self.fake, self.client, self.store = fake, client, store

    def __call__(self, descriptor=None, platform=None) -> fetch.FetchedManifest:
        if descriptor:
            self.fake.tag("1", descriptor)
        ref = parse(f"{self.fake.host}/app:1")
        return fetch.fetch_image(self.client, ref, self.store, platform)


@pytest.fixture
def pull(fake, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    store = ContentStore(str(tmp_path / "blobs"))
    with RegistryClient(credentials=AuthFiles([]), timeout_s=2) as client:
        yield Puller(fake, client, store)


@pytest.mark.parametrize("docker", [True, False])
def test_an_image_is_resolved_and_stored(layout, pull, docker) -> None:
    descriptor = layout.image({"a": b"1"}, {"b": b"2"}, docker=docker)
    found = pull(descriptor, AMD64)
    assert found.top_digest == found.manifest_digest == descriptor["digest"]
    assert found.media_type == descriptor["mediaType"]
    assert digest_of(found.config_bytes) == found.image_id
    assert len(found.layers) == len(found.diff_ids) == 2
    assert found.warnings == []
    assert pull.store.digests() == {found.manifest_digest, found.image_id}


def test_an_index_leads_to_the_platforms_image(layout, pull) -> None:
    amd64 = layout.image({"a": b"1"}, platform="linux/amd64")
    arm64 = layout.image({"a": b"2"}, platform="linux/arm64")
    index = layout.index(linux_amd64=amd64, linux_arm64_v8=arm64)
    found = pull(index, ARM64)
    assert (found.top_digest, found.manifest_digest) == (index["digest"], arm64["digest"])
    assert found.top_digest in pull.store.digests()
    assert pull(None, AMD64).manifest_digest == amd64["digest"]
    with pytest.raises(NotFound, match="it has: linux/amd64, linux/arm64"):
        pull(None, Platform("linux", "s390x"))


def test_an_index_in_an_index(layout, pull) -> None:
    inner = layout.index(linux_amd64=layout.image({"a": b"1"}))
    assert pull(layout.index(linux_amd64=inner), AMD64).top_digest != inner["digest"]
    deep = inner
    for _ in range(fetch.INDEX_DEPTH_LIMIT):
        deep = layout.index(linux_amd64=deep)
    with pytest.raises(Corrupt, match="nested"):
        pull(deep, AMD64)


def test_what_is_in_the_store_is_not_fetched_again(layout, fake, pull) -> None:
    pull(layout.index(linux_amd64=layout.image({"a": b"1"})), AMD64)
    before = len(fake.asked)
    pull(None, AMD64)
    assert [asked.path for asked in fake.asked[before:]] == ["/v2/app/manifests/1"]


def test_a_damaged_document_in_the_store_is_fetched_again(layout, pull) -> None:
    found = pull(layout.image({"a": b"1"}), AMD64)
    path = pull.store.path(found.image_id)
    os.chmod(path, 0o600)
    with open(path, "r+b") as file:
        file.write(b"\0\0")
    assert pull(None, AMD64).config_bytes == found.config_bytes
    assert digest_of(pull.store.read(found.image_id, 1 << 20)) == found.image_id


def test_an_image_for_another_machine(layout, pull) -> None:
    other = "arm64" if native().architecture != "arm64" else "amd64"
    found = pull(layout.image({"a": b"1"}, platform=f"linux/{other}"))
    assert f"platform (linux/{other}) does not match" in found.warnings[0]
    with pytest.raises(NotFound, match=f"it is an image for linux/{other}"):
        pull(None, Platform("linux", "s390x"))


def document(layout, **changes) -> Any:
    manifest = json.loads(layout.blobs[layout.image({"a": b"1"})["digest"]])
    manifest.update(changes)
    return layout.add(json.dumps(manifest).encode(), media_types.OCI_MANIFEST)


def with_config(layout, **changes) -> Any:
    config = layout.image({"a": b"1"})
    manifest = json.loads(layout.blobs[config["digest"]])
    return document(layout, config={**manifest["config"], **changes})


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda lay: with_config(lay, size=1 << 40), Corrupt, "announced with"),
        (lambda lay: with_config(lay, size=1), Corrupt, "wrong size"),
        (lambda lay: with_config(lay, size=-1), Corrupt, "greater than or equal to 0"),
        (lambda lay: with_config(lay, digest="sha256:" + "0" * 64), NotFound, "blob .* not found"),
        (lambda lay: document(lay, layers=[]), Corrupt, "0 layers but its config has 1"),
        (lambda lay: document(lay, schemaVersion=1), Unsupported, "schema 1"),
        (lambda lay: document(lay, manifests=[]), Corrupt, "ambiguous"),
        (lambda lay: lay.add(b"[" * 9999, media_types.OCI_MANIFEST), Corrupt, "recursion limit"),
        (lambda lay: lay.add(b"<html>", "text/html"), Corrupt, "malformed"),
    ],
)
def test_a_bad_image_is_refused_and_nothing_of_it_kept(layout, pull, make, error, words) -> None:
    with pytest.raises(error, match=words):
        pull(make(layout), AMD64)
    assert list(pull.store.root.rglob("*/*")) == []


def test_an_index_that_lies_about_a_manifest(layout, pull) -> None:
    entry = layout.image({"a": b"1"})
    with pytest.raises(Corrupt, match="bytes instead of"):
        pull(layout.index(linux_amd64={**entry, "size": entry["size"] + 1}), AMD64)
    with pytest.raises(Corrupt, match="announced with"):
        pull(layout.index(linux_amd64={**entry, "size": 5 << 20}), AMD64)
    wrong_type = {**entry, "mediaType": media_types.DOCKER_MANIFEST}
    with pytest.raises(Corrupt, match="but says that it is"):
        pull(layout.index(linux_amd64=wrong_type), AMD64)


def test_the_limit_of_the_client_is_that_of_the_documents() -> None:
    from runengine.registry import client

    assert client.MANIFEST_LIMIT_BYTES == image.MANIFEST_LIMIT_BYTES
