"""Mark and sweep: what goes, what stays, and what a sweep that dies leaves (rows N-12..N-14)."""

from __future__ import annotations

import json
import os
import time

import pytest

from runengine.ids import hex_of
from runengine.linux import locks
from runengine.mgr.image import garbage, marking
from tests.support.crashes import survives
from tests.support.stored_images import HUB, layer_key


@pytest.fixture
def litter(context, make_layer):
    """Leaves garbage of every kind; returns the names of what is to go."""

    def leave():
        gone = make_layer("gone")
        partials = f"{context.paths.blobs}/partial"
        for name in ("1" * 64, "incoming-7"):
            with open(f"{partials}/{name}", "wb") as file:
                file.write(b"12345")
        os.utime(f"{partials}/{'1' * 64}", (0, 0))
        os.makedirs(f"{context.layers.staging}/dead/diff", exist_ok=True)
        with open(f"{context.layers.staging}/dead/diff/file", "wb") as file:
            file.write(b"x" * 9000)
        return {gone, layer_key("gone"), "1" * 64, "incoming-7", "dead"}

    return leave


@pytest.fixture
def full(make_image, use, litter):
    """A root with things in use, and with garbage; names of what is to go."""
    make_image(f"{HUB}/app:1", layers=("base", "app"))
    use(make_image(layers=("base", "old")))
    return litter()


def state_of(root):
    return {
        os.path.join(folder, name)
        for folder, directories, files in os.walk(root)
        for name in (*files, *directories)
        if not name.endswith((".db", "-wal", "-shm"))
    }


def test_what_is_found_is_what_goes(context, full):
    before = state_of(context.paths.root)
    found = garbage.find(context, grace_s=0)
    assert {one.name for one in found} == full
    assert {one.kind for one in found} == {"blob", "layer", "partial", "staging"}
    assert state_of(context.paths.root) == before | {garbage.lock_path(context.paths)}
    assert [one.size_bytes for one in found] == sorted(
        (one.size_bytes for one in found), reverse=True
    )
    swept = garbage.sweep(context, grace_s=0)
    assert swept is not None
    assert swept.freed_bytes == sum(one.size_bytes for one in found)
    assert garbage.find(context, grace_s=0) == []


def test_what_came_lately_stays_for_a_day(context, full):
    assert {one.name for one in garbage.find(context)} == {"1" * 64, "incoming-7", "dead"}
    garbage.note(context.paths, [layer_key("gone")])
    assert layer_key("gone") in {one.name for one in garbage.find(context)}


def test_what_somebody_works_on_is_not_found(context, full):
    with (
        locks.locked(f"{context.layers.staging}/dead.lock"),
        context.content.writer("sha256:" + "1" * 64),
    ):
        names = {one.name for one in garbage.find(context, grace_s=0)}
    assert not names & {"dead", "1" * 64}


def test_no_sweep_while_something_comes_in(context, full):
    with garbage.in_use(context.paths):
        assert garbage.sweep(context, grace_s=0) is None
        assert {one.name for one in garbage.find(context, grace_s=0)} == full
    assert garbage.sweep(context, grace_s=0) is not None


def test_death_at_any_call_leaves_what_the_next_sweep_takes(context, full, litter, monkeypatch):
    needed = marking.mark(context)
    layers = needed.image_layers | needed.container_layers
    died = 0
    while not survives(monkeypatch, died, lambda: garbage.sweep(context, grace_s=0)):
        assert needed.blobs <= set(context.content.digests())
        assert all(os.listdir(context.layers.path(key)) for key in layers)
        garbage.sweep(context, grace_s=0)
        assert garbage.find(context, grace_s=0) == []
        litter()
        died += 1
    assert died > 10
    assert set(context.content.digests()) == needed.blobs
    assert set(context.layers.keys()) == layers


def test_an_arrival_that_dies_at_any_call_leaves_garbage_only(context, make_image, monkeypatch):
    make_image(f"{HUB}/app:1", layers=("base",))
    died = 0
    while not survives(monkeypatch, died, lambda: make_image(layers=("base", "new"))):
        garbage.sweep(context, grace_s=0)
        assert garbage.find(context, grace_s=0) == []
        assert marking.mark(context).blobs == set(context.content.digests())
        died += 1
    assert died > 10


def test_an_index_stays_with_its_name_and_the_indexes_in_it(context, make_image):
    image = make_image(f"{HUB}/app:1", layers=("base",))
    other = context.content.put(b'{"layers": []}')
    inner = context.content.put(
        json.dumps({"manifests": [{"digest": image.manifest_digest}, {"digest": other}]}).encode()
    )
    index = context.content.put(json.dumps({"manifests": [{"digest": inner}]}).encode())
    context.store.images.set_name(f"{HUB}/app@{index}", image.image_id, image.manifest_digest)
    assert {one.name for one in garbage.find(context, grace_s=0)} == {other}


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"layers": 7}', b'{"config": "x"}'])
def test_a_damaged_manifest_hides_nothing_else(context, make_image, text):
    image = make_image(f"{HUB}/app:1", layers=("base",))
    path = context.content.path(image.manifest_digest)
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(text)
    assert garbage.find(context, grace_s=0) == []


def test_an_index_that_contains_itself_ends(context):
    digest = context.content.put(b"{}")
    with open(os.open(context.content.path(digest), os.O_WRONLY), "wb") as file:
        file.write(json.dumps({"manifests": [{"digest": digest}]}).encode())
    assert marking.document_blobs(context, digest) == {digest}


def test_the_layers_of_a_container_go_when_it_goes(context, make_image, use):
    image = make_image(layers=("base",))
    record = use(image)
    context.store.images.remove_image(image.image_id)
    garbage.note(context.paths, image.layers)
    swept = garbage.sweep(context)
    assert swept is not None
    assert swept.layers == []
    assert garbage.is_pending(context.paths)
    context.store.containers.remove(record.id)
    swept = garbage.sweep(context)
    assert swept is not None
    assert swept.layers == [layer_key("base")]
    assert not garbage.is_pending(context.paths)


def test_time_of_arrival_is_not_what_the_archive_says(context, make_layer):
    blob = make_layer("base")
    os.utime(context.content.path(blob), (0, 0))
    os.utime(context.layers.directory(layer_key("base")), (0, time.time() + 1e6))
    assert garbage.find(context) == []
    assert hex_of(blob) != layer_key("base")


@pytest.mark.parametrize("days", [-40, 40])
def test_what_lies_far_in_the_future_or_the_past_is_old(context, full, monkeypatch, days):
    """The clock was set: to be in the future for a day only is to be new for ever."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
    assert {one.name for one in garbage.find(context)} == full


@pytest.mark.parametrize("days", [-40, 0, 40])
def test_a_refused_arrival_goes_whenever_the_clock_is_set(context, make_layer, days):
    kept, real = make_layer("kept"), time.time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + days * 86400)
        arriving = garbage.arriving(context, resumable=False)
        arriving.__enter__()
    context.content.put(b"refused")
    refusal = ValueError()
    arriving.__exit__(ValueError, refusal, None)
    assert context.content.digests() == {kept}
