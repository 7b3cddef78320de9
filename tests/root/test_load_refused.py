"""Archives that load refuses, each without a trace on disk (row N-16)."""

from __future__ import annotations

import gzip
import io
import json
import os
import tracemalloc

import pytest

from runengine.errors import (
    Corrupt,
    InvalidParameter,
    Unsupported,
)
from runengine.mgr.image import workers
from runengine.oci_spec import media_types
from tests.support.images import (
    ONE,
    TWO,
    docker_files,
    image_config,
    layout_files,
    read_layers,
    residue,
    tar_stream,
)
from tests.support.layouts import Layout
from tests.support.tars import archive, member, symlink

pytestmark = pytest.mark.root

# Refused


def changed(files, name, data):
    return {**files, name: data}


def wrong_layout(**changes):
    """A layout whose manifest lies about the layer."""
    layout = Layout()
    descriptor = layout.image({"a": b"a" * 2000})
    manifest = json.loads(layout.blobs.pop(descriptor["digest"]))
    manifest["layers"][0] |= changes
    layout.tag("v1", layout.add(json.dumps(manifest).encode(), media_types.OCI_MANIFEST))
    return layout_files(layout)


def damaged_layout(pick):
    """A layout with a byte changed in the blob whose index is ``pick``."""
    layout = Layout()
    layout.tag("v1", layout.image({"a": os.urandom(5000)}))
    digest = list(layout.blobs)[pick]
    data = bytearray(layout.blobs[digest])
    data[len(data) // 2] ^= 0xFF
    layout.blobs[digest] = bytes(data)
    return layout_files(layout)


MANIFEST_ENTRY = {"Config": "config.json", "Layers": ["layer0/layer.tar"]}
BAD = {
    "empty archive": dict,
    "no manifest": lambda: {"x.json": b"{}"},
    "manifest is no list": lambda: changed(docker_files(ONE), "manifest.json", b"{}"),
    "manifest is empty": lambda: changed(docker_files(ONE), "manifest.json", b"[]"),
    "manifest of numbers": lambda: changed(docker_files(ONE), "manifest.json", b"[1]"),
    "manifest of wrong types": lambda: docker_files(ONE, Config=["x"]),
    "manifest cut short": lambda: changed(docker_files(ONE), "manifest.json", b'[{"Config": "'),
    "deep manifest": lambda: changed(docker_files(ONE), "manifest.json", b"[" * 100_000),
    "no config": lambda: docker_files(ONE, Config="nope.json"),
    "config is a layer": lambda: docker_files(ONE, Config="layer0/layer.tar"),
    "no layer": lambda: docker_files(ONE, Layers=["nope/layer.tar"]),
    "too few layers": lambda: docker_files(ONE, TWO, Layers=["layer0/layer.tar"]),
    "layers swapped": lambda: docker_files(
        ONE, TWO, Layers=["layer1/layer.tar", "layer0/layer.tar"]
    ),
    "bad name": lambda: docker_files(ONE, RepoTags=["../../etc"]),
    "bad diff id": lambda: changed(
        docker_files(ONE), "config.json", image_config(ONE).replace(b"sha256:", b"sha1:")
    ),
    "layer is no tar": lambda: docker_files(b"x" * 5000),
    "layer of spaces": lambda: docker_files(b" " * 3_000_000),
    "layer leaves its directory": lambda: docker_files(archive(member("../../escaped", b"x"))),
    "layer with a damaged gzip": lambda: docker_files(gzip.compress(ONE)[:-9] + b"123456789"),
    "layer with a cut gzip": lambda: docker_files(gzip.compress(os.urandom(9000))[:-20]),
    "layer through a link": lambda: docker_files(
        archive(symlink("way", "/"), member("way/escaped", b"x"), member("way/../../x", b""))
    ),
    "second image is bad": lambda: changed(
        docker_files(ONE),
        "manifest.json",
        json.dumps([MANIFEST_ENTRY, {**MANIFEST_ENTRY, "Config": "nope.json"}]).encode(),
    ),
    "before 2016": lambda: {"repositories": b'{"app": {"1": "id"}}', "id/json": b"{}"},
    "negative size": lambda: wrong_layout(size=-1),
    "wrong size": lambda: wrong_layout(size=17),
    "wrong digest": lambda: wrong_layout(digest="sha256:" + "0" * 64),
    "digest that is a path": lambda: wrong_layout(digest="sha256:../../../../etc/passwd"),
    "damaged config": lambda: damaged_layout(0),
    "damaged layer": lambda: damaged_layout(1),
    "damaged manifest": lambda: damaged_layout(2),
    "index without images": lambda: layout_files(Layout()),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_loads_leave_nothing_behind(images, roots, tmp_path, case):
    with pytest.raises((Corrupt, InvalidParameter, Unsupported)) as caught:
        images.load(tar_stream(BAD[case]()))
    assert "\n" not in str(caught.value)
    assert residue(roots) == set()
    assert images.list() == []
    assert {path.name for path in tmp_path.iterdir()} == {"root", "state"}


def test_an_archive_cut_anywhere_is_refused(images, roots):
    whole = tar_stream(docker_files(ONE, gzip.compress(TWO))).getvalue()
    needed = whole.rindex(b"]}]") // 512 * 512
    for length in [0, 1, 511, 512, 700, *range(1024, needed, 700)]:
        with pytest.raises(Corrupt):
            images.load(io.BytesIO(whole[:length]))
        assert residue(roots) == set(), length


def test_a_refused_load_spares_what_was_there(images, roots):
    images.load(tar_stream(docker_files(ONE)))
    before = residue(roots)
    with pytest.raises(Corrupt):
        images.load(tar_stream(docker_files(ONE, TWO, Config="nope.json")))
    assert residue(roots) == before
    assert read_layers(images, "app:1") == {"one": b"1" * 3000}


class Padded:
    """A huge member made as it is read."""

    def __init__(self, name, size, head=b"", tail=b""):
        self.parts = [*archive_head(name, size + len(head) + len(tail)), head]
        self.left, self.tail = size, tail

    def read(self, count):
        while self.parts:
            if part := self.parts.pop(0):
                return part
        if self.left:
            count = min(count, self.left)
            self.left -= count
            return b" " * count
        tail, self.tail = self.tail, b""
        return tail


def archive_head(name, size):
    info = member(name)[0]
    info.size = size
    return [info.tobuf()]


@pytest.mark.parametrize("head", [b"", b"["])
def test_padded_json_costs_no_memory(images, roots, monkeypatch, head):
    monkeypatch.setattr(workers, "may_fork", lambda: False)
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            images.load(Padded("manifest.json", 300 << 20, head))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20
    assert residue(roots) == set()
