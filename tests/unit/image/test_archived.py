"""The documents of an archive: whatever they say, there are images, or an error in words."""

from __future__ import annotations

import contextlib
import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runengine.errors import Corrupt, EngineError, Unsupported
from runengine.ids import Digest
from runengine.mgr.image.archived import images_of
from runengine.mgr.image.intake import Taken
from runengine.mgr.image.unarchive import Unarchived
from runengine.oci_spec import media_types
from tests.support.layouts import digest_of, tar_of

LAYER = tar_of({"f": b"x"})
CONFIG = json.dumps(
    {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [digest_of(LAYER)]}}
).encode()
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": {
            "mediaType": media_types.OCI_CONFIG, "digest": digest_of(CONFIG), "size": len(CONFIG),
        },
        "layers": [
            {"mediaType": media_types.OCI_LAYER, "digest": digest_of(LAYER), "size": len(LAYER)}
        ],
    }
).encode()  # fmt: skip


class Content(Unarchived):
    """What was in an archive, without one."""

    def __init__(self, documents):  # nothing of the other's is needed
        self.documents = documents

    def has_document(self, name):
        return name in self.documents

    def document(self, name):
        if name not in self.documents:
            raise Corrupt(f"the archive has no {name}")
        return self.documents[name]

    def layer(self, name):
        if name.rpartition("/")[2] not in (digest_of(LAYER)[7:], "layer.tar"):
            raise Corrupt(f"the archive has no {name}")
        return Taken(Digest(digest_of(LAYER)), len(LAYER), None)


def blob(data):
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def found(documents):
    return list(images_of(Content(documents), None, None))


def test_docker_layout_and_flat_archives_have_the_same_image():
    entry = {"mediaType": media_types.OCI_MANIFEST, "digest": digest_of(MANIFEST)}
    index = json.dumps({"manifests": [{**entry, "size": len(MANIFEST)}]}).encode()
    docker = json.dumps([{"Config": "c", "Layers": ["layer.tar"], "RepoTags": ["a:1"]}]).encode()
    layout = {"index.json": index, blob(MANIFEST): MANIFEST, blob(CONFIG): CONFIG}
    flat = {"manifest.json": MANIFEST, digest_of(CONFIG)[7:]: CONFIG}
    images = [
        *found(layout),
        *found(flat),
        *found({"manifest.json": docker, "c": CONFIG}),
        *found({**layout, "manifest.json": docker, "c": CONFIG}),
    ]
    assert {image.image_id for image in images} == {digest_of(CONFIG)}
    assert [image.manifest for image in images] == [MANIFEST, MANIFEST, None, MANIFEST]
    assert images[-1].names == ["docker.io/library/a:1"]


def test_what_is_none():
    with pytest.raises(Unsupported, match="before 2016"):
        found({"repositories": b"{}"})
    with pytest.raises(Corrupt, match=r"no manifest\.json or index\.json"):
        found({})


@pytest.mark.parametrize(
    "wrong",
    [
        {"Config": 1},
        {"Layers": [1]},
        {"Layers": "layer.tar"},
        {"RepoTags": [None]},
        {"RepoTags": "a:1"},
    ],
)
def test_an_entry_of_wrong_types_is_refused(wrong):
    entry = {"Config": "c", "Layers": ["layer.tar"], "RepoTags": ["a:1"], **wrong}
    with pytest.raises(Corrupt, match="is malformed"):
        found({"manifest.json": json.dumps([entry]).encode(), "c": CONFIG})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.text(max_size=8)
    | st.sampled_from([digest_of(CONFIG), digest_of(MANIFEST), media_types.OCI_MANIFEST, "c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["Config", "Layers", "RepoTags", "manifests", "digest", "size", "layers",
                         "mediaType", "annotations", "config", "rootfs", "diff_ids", "platform"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
BYTES = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40)


@settings(max_examples=200, deadline=None)
@given(manifest=st.none() | BYTES, index=st.none() | BYTES, config=BYTES)
def test_any_documents_are_read_or_refused(manifest, index, config):
    documents = {"manifest.json": manifest, "index.json": index, "c": config}
    documents |= {blob(CONFIG): config, blob(MANIFEST): MANIFEST}
    with contextlib.suppress(EngineError):
        found({name: data for name, data in documents.items() if data is not None})
