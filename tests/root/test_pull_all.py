"""pull: every tag of a repository, settings, what it shows and what it leaves for a power cut."""

from __future__ import annotations

import gzip
import json
import os
import signal

import pytest

from runengine.errors import Corrupt, EngineError, InvalidParameter, NotFound, Unavailable
from runengine.linux import libc
from runengine.mgr.image import arrival, register
from runengine.oci_spec import media_types
from runengine.registry import client
from tests.support.fake_registry import FakeRegistry, Fault
from tests.support.images import Lines, image_mgr, read_layers, residue
from tests.support.layouts import Layout, digest_of
from tests.support.pulling import finished, members, start
from tests.support.tars import archive, member
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def fake():
    with FakeRegistry() as running:
        yield running


def put(fake, tag, *layers, repository="app"):
    """An image in the misbehaving registry; its name, and its layers' digests."""
    layout = Layout()
    descriptor = layout.image(*(layers or ({"file": tag.encode()},)))
    fake.blobs.update(layout.blobs)
    fake.tag(tag, descriptor)
    manifest = json.loads(layout.blobs[descriptor["digest"]])
    return f"{fake.host}/{repository}:{tag}", [layer["digest"] for layer in manifest["layers"]]


def listed(fake, *tags):
    fake.faults["tags/list"] = Fault(200, json.dumps({"tags": list(tags)}).encode())


# All tags


def test_every_tag(fake, images):
    shared = {"base": b"b" * 1000}
    for tag in ("1", "2"):
        put(fake, tag, shared, {"which": tag.encode()})
    listed(fake, "1", "2")
    progress = Lines()
    results = images.pull_all(f"{fake.host}/app", progress=progress)
    assert [result.reference for result in results] == [f"{fake.host}/app:{n}" for n in "12"]
    assert read_layers(images, f"{fake.host}/app:2") == {**shared, "which": b"2"}
    assert [line for line in progress.lines if "Pulling" in line] == [
        "1: Pulling from app",
        "2: Pulling from app",
    ]


def test_tags_that_are_no_images_do_not_keep_the_others(fake, images):
    put(fake, "1")
    put(fake, "3")
    fake.put("2", b'{"schemaVersion": 2}', media_types.OCI_MANIFEST)
    listed(fake, "1", "2", "3", "4")
    with pytest.raises(EngineError, match=r"2 of 4 tags of .*/app were not pulled") as caught:
        images.pull_all(f"{fake.host}/app")
    assert str(caught.value.details).startswith("2: ")
    assert images.exists(f"{fake.host}/app:1")
    assert images.exists(f"{fake.host}/app:3")


def test_a_registry_that_goes_away_ends_it(fake, images, monkeypatch):
    monkeypatch.setattr(client, "RETRY_PAUSES_S", ())
    put(fake, "2")
    listed(fake, "1", "2")
    fake.faults["manifests/1"] = Fault(503)
    with pytest.raises(Unavailable):
        images.pull_all(f"{fake.host}/app")
    assert images.list() == []


@pytest.mark.parametrize("name", ["app:1", "app@sha256:" + "1" * 64])
def test_all_tags_of_one_tag(fake, images, name):
    with pytest.raises(InvalidParameter, match="tag can't be used with --all-tags/-a"):
        images.pull_all(f"{fake.host}/{name}")
    assert fake.asked == []


def test_a_repository_without_tags(fake, images):
    listed(fake)
    with pytest.raises(NotFound, match="has no tags"):
        images.pull_all(f"{fake.host}/app")


# Settings


def test_a_bomb_is_refused_and_leaves_nothing(fake, roots):
    layout = Layout()
    tar = archive(member("big", b"A" * (3 << 20)))
    document = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar)]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": layout.add(json.dumps(document).encode(), media_types.OCI_CONFIG),
        "layers": [layout.add(gzip.compress(tar), f"{media_types.OCI_LAYER}+gzip")],
    }
    descriptor = layout.add(json.dumps(manifest).encode(), media_types.OCI_MANIFEST)
    fake.blobs.update(layout.blobs)
    fake.tag("1", descriptor)
    with (
        image_mgr(roots, max_layer_bytes=1 << 20) as manager,
        pytest.raises(InvalidParameter, match="more than 1048576 bytes") as caught,
    ):
        manager.pull(f"{fake.host}/app:1")
    assert "max_layer_bytes" in str(caught.value.resolution)
    assert residue(roots) == set()


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_layers_at_once_than_set(fake, roots, most):
    name, layers = put(fake, "1", *[{f"f{n}": os.urandom(100_000)} for n in range(3)])
    for digest in layers:
        fake.faults[digest] = Fault(stall_after=50_000, times=1)
    process = start(roots, name, max_concurrent_downloads=most)

    def asked():
        return [path for path in (one.path for one in fake.asked) if path[-71:] in layers]

    wait_for(lambda: len(asked()) == most)
    fake.release.wait(0.3)
    assert len(asked()) == most
    fake.release.set()
    assert finished(process) == (0, "")


# What it shows, and how it ends


def test_attempts_are_shown(fake, images, monkeypatch):
    monkeypatch.setattr(arrival, "RETRY_DELAY_S", 0.01)
    name, [digest] = put(fake, "1", {"random": os.urandom(300_000)})
    fake.faults[digest] = Fault(cut_after=100_000, times=1)
    progress = Lines()
    images.pull(name, progress=progress)
    statuses = [status for _, status, _, _ in progress.layers]
    assert "Retrying in 1 seconds" in statuses
    assert statuses[-1] == "Pull complete"


def test_a_single_layer_is_interrupted_as_well(fake, images, roots):
    name, [digest] = put(fake, "1", {"random": os.urandom(1_000_000)})
    fake.faults[digest] = Fault(stall_after=client.CHUNK_BYTES + 1000, times=1)
    partial = f"{roots.blobs}/partial/{digest[7:]}"
    process = start(roots, name)
    wait_for(lambda: os.path.exists(partial) and os.stat(partial).st_size == client.CHUNK_BYTES)
    process.send_signal(signal.SIGINT)
    finished(process)
    assert process.returncode != 0
    wait_for(lambda: not members(process.pid))
    fake.release.set()
    assert not {path for path in residue(roots) if "staging" in path}
    images.pull(name)
    assert fake.asked[-1].range == f"bytes={client.CHUNK_BYTES}-"


@pytest.mark.parametrize("tail", [b"", b"other"])
def test_a_lost_blob_comes_back(fake, images, roots, tail):
    name, [digest] = put(fake, "1", {"random": os.urandom(300_000)})
    images.pull(name)
    key = images.lookup(name).layers[0]
    inode = os.stat(f"{roots.root}/layers/{key}").st_ino
    images._context.content.remove(digest)
    progress = Lines()
    if tail:
        fake.blobs[digest] = fake.blobs[digest][: -len(tail)] + tail
        with pytest.raises(Corrupt, match=digest):
            images.pull(name)
        assert not images._context.content.has(digest)
        return
    fake.faults[digest] = Fault(cut_after=100_000, times=1)
    images.pull(name, progress=progress)
    assert progress.statuses() >= {"Downloading", "Pull complete"}
    assert images._context.content.read(digest, 1 << 20) == fake.blobs[digest]
    assert os.stat(f"{roots.root}/layers/{key}").st_ino == inode


# Power cuts


@pytest.fixture
def order(monkeypatch):
    """What happens to the disk and to the database, in order."""
    seen: list[str] = []
    real_sync, real_register = libc.syncfs, register.register

    def sync(fd):
        real_sync(fd)
        seen.append("sync")

    def write(*arguments):
        seen.append("name")
        real_register(*arguments)

    monkeypatch.setattr(libc, "syncfs", sync)
    monkeypatch.setattr(register, "register", write)
    return seen


def test_an_image_is_on_disk_before_it_has_a_name(fake, images, order):
    images.pull(put(fake, "1")[0])
    assert order == ["sync", "name"]


def test_so_are_its_documents_when_all_layers_were_here(fake, images, order):
    first, _ = put(fake, "1", {"same": b"layer"})
    images.pull(first)
    order.clear()
    layout = Layout()
    descriptor = layout.image({"same": b"layer"}, config={"Cmd": ["other"]})
    fake.blobs.update(layout.blobs)
    fake.tag("2", descriptor)
    images.pull(f"{fake.host}/app:2")
    assert order == ["sync", "name"]
    order.clear()
    assert images.pull(f"{fake.host}/app:2").up_to_date
    assert order == ["name"]
