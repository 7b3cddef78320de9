"""Keys of layers, and what is resumed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from runengine.errors import Corrupt, Unavailable, Unsupported
from runengine.ids import DiffID, Digest, chain_ids, hex_of
from runengine.mgr.image import arrival
from runengine.mgr.image.arrival import Arrivals, Layer, Stack, check_stackable
from runengine.rootfs.layers import LayerStore
from tests.support.tars import archive, member

A, B = DiffID("sha256:" + "a" * 64), DiffID("sha256:" + "b" * 64)
DATA = os.urandom(300_000)
BLOB = archive(member("file", DATA))
_HASH = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"
LAYER = Layer(0, Digest(_HASH), len(BLOB), DiffID(_HASH))
"""Not compressed, so that blob and layer are the same bytes."""


class Layers(LayerStore):
    """A layer store that has these keys."""

    def __init__(self, *keys):
        super().__init__("/nowhere")
        self.present = keys

    def has(self, key):
        return key in self.present


def test_a_layer_is_found_by_diff_id_or_by_its_place_in_the_stack():
    chain = chain_ids([A, B])[1].removeprefix("sha256:")
    assert Stack(Layers("a" * 64, "b" * 64), [A, B]).keys() == ["a" * 64, "b" * 64]
    assert Stack(Layers("a" * 64, chain), [A, B]).keys() == ["a" * 64, chain]
    with pytest.raises(Corrupt, match=B):
        Stack(Layers("a" * 64, chain), [A, A, B]).keys()


def test_a_completed_bottom_layer_is_not_taken_for_the_same_layer_higher_up():
    bottom = Stack(Layers(), [B]).completed_key(0)
    assert bottom == hashlib.sha256(f"bottom {B}".encode()).hexdigest()
    assert Stack(Layers(bottom), [B]).keys() == [bottom]
    assert Stack(Layers(bottom, "a" * 64), [A, B]).key(1) is None


def test_more_layers_than_overlayfs_takes():
    check_stackable(500, "image")
    with pytest.raises(Unsupported, match="501"):
        check_stackable(501, "image")


# What is resumed


class Wire:
    """Where the blob comes from: the nth download breaks off at the nth of ``breaks``."""

    def __init__(self, *breaks, blob=BLOB):
        self.breaks = list(breaks)
        self.blob = blob
        self.asked = []

    def __call__(self, _layer, offset):
        self.asked.append(offset)
        end = self.breaks.pop(0) if self.breaks else None
        if data := self.blob[offset:end]:
            yield data
        if end is not None:
            raise Unavailable("it broke off")


@pytest.fixture
def bring(context, monkeypatch):
    """Brings the layer from a wire; what was reported."""
    monkeypatch.setattr("time.sleep", lambda _s: None)

    def bring(wire, layer=LAYER, **options):
        seen = []
        with Arrivals(context, Stack(context.layers, [layer.diff_id]), wire) as arrivals:
            arrivals.bring(layer, lambda *report: seen.append(report), **options)
            arrivals.finish()
        return seen

    return bring


@pytest.fixture
def begun(context):
    """What an earlier pull has left of the blob."""

    def begun(data):
        with context.content.writer(LAYER.digest, LAYER.size) as writer:
            writer.write(data)

    return begun


def is_whole(context):
    path = context.layers.path(hex_of(LAYER.diff_id))
    blob = context.content.read(LAYER.digest, LAYER.size)
    return (Path(path) / "file").read_bytes() == DATA and blob == BLOB


def left(context):
    """Beginnings of blobs and of layers."""
    root = Path(context.paths.root)
    places = ("blobs/partial", "staging", "pulls")
    return [path.name for place in places for path in (root / place).glob("*")]


def test_it_goes_on_after_each_interruption(context, bring):
    wire = Wire(100_000, 100_000, 200_000)
    seen = bring(wire)
    assert wire.asked == [0, 100_000, 100_000, 200_000]
    assert is_whole(context)
    assert left(context) == []
    sizes = [current for status, current, _ in seen if status == "Downloading"]
    assert sizes == sorted(sizes)
    assert seen[-1] == ("Pull complete", LAYER.size, LAYER.size)


def test_it_goes_on_where_an_earlier_pull_ended(context, bring, begun):
    begun(BLOB[:1234])
    wire = Wire()
    bring(wire)
    assert wire.asked == [1234]
    assert is_whole(context)


def test_a_wrong_beginning_is_fetched_anew(context, bring, begun):
    begun(bytes(1234))
    wire = Wire()
    bring(wire)
    assert wire.asked == [1234, 0]
    assert is_whole(context)


def test_one_that_never_comes_is_given_up_and_its_beginning_kept(context, bring, begun):
    begun(BLOB[:1234])
    wire = Wire(*[1234] * arrival.ATTEMPTS)
    with pytest.raises(Unavailable, match="it broke off"):
        bring(wire)
    assert wire.asked == [1234] * arrival.ATTEMPTS
    assert left(context) == [hex_of(LAYER.digest)]
    assert os.path.getsize(context.content.partial_path(LAYER.digest)) == 1234


def test_one_that_breaks_off_for_ever_is_given_up(bring, monkeypatch):
    monkeypatch.setattr(arrival, "INTERRUPTIONS_LIMIT", 10)
    with pytest.raises(Unavailable, match="was interrupted 10 times"):
        bring(Wire(*range(1000, 100_000, 1000)))


@pytest.mark.parametrize("blob", [BLOB[:-1] + b"?", BLOB + b"?", BLOB[:-1]])
def test_a_wrong_one_leaves_nothing(context, bring, blob):
    with pytest.raises(Corrupt, match=LAYER.digest):
        bring(Wire(blob=blob))
    assert left(context) == []
    assert not context.content.has(LAYER.digest)
    assert not context.layers.has(hex_of(LAYER.diff_id))


# What is here already


def test_a_layer_that_is_here_is_not_asked_for(context, bring):
    bring(Wire())
    wire = Wire()
    assert bring(wire, with_blob=True) == [("Already exists", 0, None)]
    assert wire.asked == []


def test_the_lost_blob_of_a_layer_that_is_here_is_brought(context, bring):
    bring(Wire())
    context.content.remove(LAYER.digest)
    wire = Wire(100_000)
    assert bring(wire) == [("Already exists", 0, None)]
    assert wire.asked == []
    assert bring(wire, with_blob=True)[-1] == ("Pull complete", LAYER.size, LAYER.size)
    assert wire.asked == [0, 100_000]
    assert is_whole(context)


def test_a_blob_that_is_here_is_unpacked(context, bring):
    context.content.put(BLOB)
    wire = Wire()
    assert [status for status, *_ in bring(wire)] == ["Extracting", "Pull complete"]
    assert wire.asked == []
    assert is_whole(context)


def test_a_blob_that_the_disk_has_changed_is_fetched_anew(context, bring):
    path = Path(context.content.path(context.content.put(BLOB)))
    path.chmod(0o600)
    path.write_bytes(BLOB[:-1] + b"?")
    wire = Wire()
    bring(wire)
    assert wire.asked == [0]
    assert is_whole(context)


def test_a_blob_that_another_image_tells_lies_about_stays(context, bring):
    context.content.put(BLOB)
    lie = LAYER._replace(diff_id=DiffID("sha256:" + "1" * 64))
    with pytest.raises(Corrupt, match="does not unpack to what its image says"):
        bring(Wire(), lie)
    assert context.content.read(LAYER.digest, LAYER.size) == BLOB
    assert context.layers.keys() == []
    assert left(context) == []
