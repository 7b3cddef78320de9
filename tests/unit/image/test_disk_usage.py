"""``system df``: what is there, what is shared, what nobody needs."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest

from runengine.mgr.container.context import Context
from runengine.mgr.disk_usage import disk_usage
from tests.support.stored_images import HUB, layer_key


class Volumes:
    """A volume manager that has one volume."""

    def list(self, filters=None, *, usage=False):
        assert filters is None
        assert usage
        return [{"Name": "data", "UsageData": {"Size": 5, "RefCount": 0}}]


@pytest.fixture
def usage(context):
    def look():
        volumes, nobody = cast("Any", Volumes()), cast("Any", None)
        return disk_usage(
            Context(context.config, context.store, nobody, context.events, nobody, volumes, [])
        )

    return look


def test_an_empty_engine(usage):
    found = usage()
    assert (found["LayersSize"], found["Images"], found["Containers"]) == (0, [], [])
    assert (found["Blobs"], found["BuildCache"]) == ([], [])
    assert found["Volumes"][0]["Name"] == "data"


def test_images_and_what_they_share(context, usage, make_image, use):
    one = make_image(f"{HUB}/one:1", layers=("base", "one"))
    two = make_image(f"{HUB}/two:1", layers=("base", "other"))
    os.makedirs(f"{context.paths.container(use(two).id)}/upper")
    disk = {word: context.layers.info(layer_key(word)).size_bytes
            for word in ("base", "one", "other")}  # fmt: skip
    found = usage()
    images = {entry["Id"]: entry for entry in found["Images"]}
    assert images[one.image_id]["Size"] == disk["base"] + disk["one"]
    assert images[one.image_id]["SharedSize"] == disk["base"]
    assert [images[image.image_id]["Containers"] for image in (one, two)] == [0, 1]
    assert found["LayersSize"] == sum(disk.values())
    assert found["Runengine"]["UnusedLayersSize"] == disk["one"]
    (container,) = found["Containers"]
    assert container["SizeRw"] >= 0


def test_blobs_in_use_and_others(context, usage, make_image):
    make_image(f"{HUB}/one:1", layers=("base",))
    left = context.content.put(b"left by a pull")
    with open(f"{context.paths.blobs}/partial/{'1' * 64}", "wb") as file:
        file.write(b"12345")
    blobs = {one["ID"]: one for one in usage()["Blobs"]}
    assert len(blobs) == 5
    assert (blobs[left]["InUse"], blobs[left]["Size"]) == (False, 14)
    assert blobs["1" * 64] == {"ID": "1" * 64, "Type": "partial", "Size": 5, "InUse": False}
    assert sum(one["InUse"] for one in blobs.values()) == 3


def test_what_a_builder_keeps(context, usage):
    storage = f"{context.paths.root}/builds/storage"
    os.makedirs(storage)
    with open(f"{storage}/layer", "wb") as file:
        file.write(b"x" * 9000)
    (cache,) = usage()["BuildCache"]
    assert cache["Size"] >= 9000
