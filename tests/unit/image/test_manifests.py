"""The documents behind a name, in Docker's forms, from a registry and from here."""

from __future__ import annotations

import base64
import json

import pytest

from runengine.errors import Corrupt, NotFound
from runengine.mgr.image import manifests
from runengine.oci_spec import media_types
from tests.support.fake_registry import FakeRegistry
from tests.support.layouts import digest_of
from tests.support.stored_images import HUB

CONFIG = json.dumps(
    {"os": "linux", "architecture": "arm64", "variant": "v8", "rootfs": {"diff_ids": []}}
).encode()
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST,
        "config": {"mediaType": media_types.DOCKER_CONFIG, "digest": digest_of(CONFIG),
                   "size": len(CONFIG)},
        "layers": [],
    }
).encode()  # fmt: skip
INDEX = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_INDEX,
        "manifests": [{"mediaType": media_types.DOCKER_MANIFEST, "digest": digest_of(MANIFEST),
                       "size": len(MANIFEST),
                       "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}],
    }
).encode()  # fmt: skip


@pytest.fixture
def registry():
    with FakeRegistry() as made:
        made.blobs = {digest_of(data): data for data in (CONFIG, MANIFEST, INDEX, b"[1]")}
        made.types = {
            digest_of(MANIFEST): media_types.DOCKER_MANIFEST,
            digest_of(INDEX): media_types.OCI_INDEX,
            digest_of(b"[1]"): media_types.OCI_MANIFEST,
        }
        made.tags = {"one": digest_of(MANIFEST), "many": digest_of(INDEX),
                     "bad": digest_of(b"[1]")}  # fmt: skip
        yield made


def remote(context, name, *, verbose=False):
    return manifests.inspect(context, name, verbose=verbose, local=False, insecure=True)


def test_as_it_is_in_the_registry(context, registry):
    assert remote(context, f"{registry.host}/app:one") == json.loads(MANIFEST)
    assert remote(context, f"{registry.host}/app:many") == json.loads(INDEX)
    assert not context.store.images.all()
    assert not context.content.digests()


def test_verbose_of_one(context, registry):
    shown = remote(context, f"{registry.host}/app:one", verbose=True)
    assert shown["Ref"] == f"{registry.host}/app:one"
    assert shown["Descriptor"] == {
        "mediaType": media_types.DOCKER_MANIFEST,
        "digest": digest_of(MANIFEST),
        "size": len(MANIFEST),
        "platform": {"architecture": "arm64", "os": "linux", "variant": "v8"},
    }
    assert base64.b64decode(shown["Raw"]) == MANIFEST
    assert shown["SchemaV2Manifest"] == json.loads(MANIFEST)


def test_verbose_of_an_index_is_a_list(context, registry):
    (shown,) = remote(context, f"{registry.host}/app:many", verbose=True)
    assert shown["Ref"] == f"{registry.host}/app:many@{digest_of(MANIFEST)}"
    assert shown["Descriptor"]["platform"]["architecture"] == "arm64"


def test_what_is_not_there_or_no_manifest(context, registry):
    with pytest.raises(NotFound):
        remote(context, f"{registry.host}/app:nosuch")
    with pytest.raises(Corrupt):
        remote(context, f"{registry.host}/app:bad")


def local(context, name, *, verbose=False):
    return manifests.inspect(context, name, verbose=verbose, local=True, insecure=False)


def test_as_it_is_here(context, make_image):
    image = make_image(f"{HUB}/app:1", layers=("base",))
    stored = json.loads(context.content.read(image.manifest_digest, 1 << 20))
    assert local(context, "app:1") == stored
    assert local(context, image.image_id[7:19]) == stored
    entry = {"digest": image.manifest_digest, "size": 1,
             "platform": {"os": "linux", "architecture": "amd64"}}  # fmt: skip
    index = context.content.put(json.dumps({"manifests": [entry]}).encode())
    context.store.images.set_name(f"{HUB}/app@{index}", image.image_id, image.manifest_digest)
    assert local(context, "app:1") == {"manifests": [entry]}
    (shown,) = local(context, "app:1", verbose=True)
    assert shown["OCIManifest"] == stored


def test_what_is_not_here(context, make_image):
    image = make_image(f"{HUB}/app:1")
    with pytest.raises(NotFound, match="No such image"):
        local(context, "nosuch")
    context.content.remove(image.manifest_digest)
    with pytest.raises(NotFound, match="without --local"):
        local(context, "app:1")
