"""rmi, the sweep, and layers that vanished (rows N-12..N-14, N-26)."""

from __future__ import annotations

import gzip
import os

import pytest

from runengine.errors import (
    Conflict,
    EngineError,
    NotFound,
)
from runengine.ids import hex_of
from runengine.mgr.image import garbage
from runengine.model import container_config, host_config
from runengine.store.containers import Record, created_state
from tests.support.images import (
    ONE,
    TWO,
    docker_files,
    image_config,
    needy_layers,
    read_layers,
    residue,
    tar_stream,
)
from tests.support.layouts import digest_of

pytestmark = pytest.mark.root


def add_container(images, image_id, status="exited", name="box"):
    image = images.lookup(image_id)
    record = Record(
        "c" * 64, name, image.image_id, "2026-01-01T00:00:00Z", container_config(), host_config(),
        {}, image.layers, {**created_state(), "Status": status},
    )  # fmt: skip
    images._context.store.containers.add(record)
    return record.id


# rmi and the sweep


def test_rmi_removes_what_no_other_image_has(images, roots):  # N-12
    images.load(tar_stream(docker_files(ONE, TWO, tags=("a:1",))))
    images.load(tar_stream(docker_files(ONE, tags=("b:1",))))
    image_id = images.lookup("a:1").image_id
    removed = images.remove("a:1")
    assert removed[:2] == [{"Untagged": "a:1"}, {"Deleted": image_id}]
    assert len(removed) == 3
    assert read_layers(images, "b:1") == {"one": b"1" * 3000}
    images.remove("b:1")
    assert residue(roots) == set()


def test_same_layer_under_another_compression_keeps_its_blob(images, roots):
    files = docker_files(gzip.compress(ONE))
    files["config.json"] = image_config(ONE)
    images.load(tar_stream(files))
    blob = images._context.layers.info(hex_of(digest_of(ONE))).blob
    images.load(tar_stream(docker_files(ONE, tags=("b:1",), Config="c.json") | {
        "c.json": image_config(ONE, created="2020-01-01T00:00:00Z")}))  # fmt: skip
    images.remove("app:1")
    assert f"blobs/sha256/{hex_of(blob)}" in residue(roots)
    images.remove("b:1")
    assert residue(roots) == set()


def test_rmi_of_an_image_in_use(images, roots):  # N-14
    images.load(tar_stream(docker_files(ONE)))
    image_id = images.lookup("app:1").image_id
    container = add_container(images, "app:1")
    with pytest.raises(Conflict, match=r"must force.*cccccccccccc \(box\).*" + image_id[7:19]):
        images.remove("app:1")
    with pytest.raises(Conflict, match="must be forced"):
        images.remove(image_id)
    removed = images.remove("app:1", force=True)
    assert removed == [{"Untagged": "app:1"}, {"Deleted": image_id}]
    assert not images.exists(image_id)
    keys = [hex_of(digest_of(ONE))]
    assert os.listdir(images.layer_paths(keys)[0]) == ["one"]
    images._context.store.containers.remove(container)
    assert images.collect_garbage().layers == keys
    assert residue(roots) == set()


def test_rmi_while_the_container_runs_only_takes_the_names(images):  # N-14
    images.load(tar_stream(docker_files(ONE)))
    image_id = images.lookup("app:1").image_id
    add_container(images, "app:1", status="running")
    assert images.remove("app:1", force=True) == [{"Untagged": "app:1"}]
    assert images.inspect(image_id)["RepoTags"] == []
    with pytest.raises(Conflict, match="cannot be forced"):
        images.remove(image_id, force=True)
    assert images.layer_paths(images.lookup(image_id).layers)


def test_second_name_goes_although_a_container_uses_the_image(images):  # N-11, N-14
    images.load(tar_stream(docker_files(ONE)))
    images.tag("app:1", "other:1")
    add_container(images, "app:1")
    assert images.remove("app:1") == [{"Untagged": "app:1"}]
    assert images.exists("other:1")


def test_rmi_by_id(images):  # N-13
    images.load(tar_stream(docker_files(ONE, tags=("a:1", "a:2", "b:1"))))
    image_id = images.lookup("a:1").image_id
    with pytest.raises(Conflict, match="must force"):
        images.remove(image_id[:19])
    images.remove("b:1")
    removed = images.remove(image_id[7:15])
    assert removed[:3] == [{"Untagged": "a:1"}, {"Untagged": "a:2"}, {"Deleted": image_id}]


def test_nothing_is_swept_while_somebody_brings_an_image(images, roots):
    images.load(tar_stream(docker_files(ONE)))
    before = residue(roots)
    with garbage.in_use(roots):
        assert images.remove("app:1")[-1]["Deleted"].startswith("sha256:")
        assert images.collect_garbage(everything=True) is None
        assert residue(roots) == before
        assert garbage.is_pending(roots)
    assert images.collect_garbage().freed_bytes > 0
    assert residue(roots) == set()
    assert not garbage.is_pending(roots)


def test_sweep_spares_what_a_broken_pull_left_lately(images, roots):
    images._context.content.put(b"left by a pull")
    assert images.collect_garbage().blobs == []
    assert len(images.collect_garbage(everything=True).blobs) == 1
    assert residue(roots) == set()


def test_layer_that_vanished_is_unpacked_again(images, roots):  # N-26
    lower, upper = needy_layers()
    images.load(tar_stream(docker_files(lower, upper)))
    keys = images.lookup("app:1").layers
    for key in keys:
        images._context.layers.remove(key)
    assert [os.path.isdir(path) for path in images.layer_paths(keys)] == [True, True]
    assert read_layers(images, "app:1")["d/other"] == b"shared"
    for key in keys:
        images._context.layers.remove(key)
    images._context.content.remove(digest_of(lower))
    with pytest.raises(NotFound, match=keys[0][:12]):
        images.layer_paths(keys)


def test_errors_of_the_disk_are_one_line(images, roots):
    os.makedirs(roots.blobs)
    os.rmdir(roots.blobs)
    with open(roots.blobs, "w"), pytest.raises(EngineError) as caught:
        images.load(tar_stream(docker_files(ONE)))
    assert "\n" not in str(caught.value)
    assert roots.root in str(caught.value)
    os.unlink(roots.blobs)
