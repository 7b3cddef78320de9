"""``system check`` on images: by names and sizes, repaired as ``image verify`` does it."""

from __future__ import annotations

import os
from typing import Any, cast

import pytest

from runengine.errors import Corrupt
from runengine.mgr.check import images, records
from runengine.mgr.check.world import World
from runengine.mgr.container.context import Context
from runengine.mgr.image import garbage
from tests.support.stored_images import HUB, layer_key


@pytest.fixture
def world(context):
    """What a check looks at; a new look each time."""

    def look():
        nobody = cast("Any", None)
        return World(
            Context(context.config, context.store, nobody, context.events, nobody, nobody, [])
        )

    return look


@pytest.fixture
def mended(monkeypatch):
    """Ids of the images that a repair was asked for."""
    asked: list[str] = []
    monkeypatch.setattr(images, "mend", lambda _world, image: asked.append(image.image_id))
    return asked


def put_right(found):
    assert found.repair is not None
    found.repair()


def told(check, world):
    return [(one.kind, one.name, one.what) for one in check(world())]


def test_nothing_differs(world, make_image, use):
    use(make_image(f"{HUB}/app:1", layers=("base", "app")))
    for check in (*images.CHECKS, records.images):
        assert told(check, world) == []


def test_layers_that_are_gone(context, world, make_image, use, monkeypatch):
    image = make_image(f"{HUB}/app:1", layers=("base", "app"))
    use(image)
    context.layers.remove(layer_key("app"))
    ((kind, name, what),) = told(images.missing_layers, world)
    assert (kind, name) == ("layer", layer_key("app")[:12])
    assert what.startswith(f"image {image.image_id[7:19]} stands on it")
    context.store.images.remove_image(image.image_id)
    ((_, _, what),) = told(images.missing_layers, world)
    assert what.startswith("container box stands on it")
    asked = []
    monkeypatch.setattr(
        "runengine.mgr.image.repair.unpack_again", lambda _context, keys: asked.append(keys)
    )
    for one in images.missing_layers(world()):
        put_right(one)
    assert asked == [[layer_key("app")]]


def test_notes_that_are_damaged(context, world, make_image, mended):
    image = make_image(layers=("base",))
    with open(f"{context.layers.directory(layer_key('base'))}/layer.json", "w") as file:
        file.write("{")
    (found,) = images.damaged_notes(world())
    assert "is damaged" in found.what
    put_right(found)
    assert mended == [image.image_id]


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_blobs_that_are_damaged(context, world, make_image, mended, damage):
    image = make_image(layers=("base",))
    make_image(f"{HUB}/other:1", layers=("base",))
    blob = context.layers.info(layer_key("base")).blob
    if damage == "cut":
        os.truncate(context.content.path(blob), 3)
    else:
        context.content.remove(blob)
    (found,) = images.damaged_blobs(world())
    assert (found.kind, found.name) == ("blob", blob)
    assert ("it has 3 bytes instead of 12" if damage == "cut" else "missing") in found.what
    put_right(found)
    assert len(mended) == 1
    assert image.layers == [layer_key("base")]


def test_a_manifest_that_is_gone(context, world, make_image):
    image = make_image(layers=("base",))
    context.content.remove(image.manifest_digest)
    ((_, name, _),) = told(images.damaged_blobs, world)
    assert name == image.manifest_digest


def test_what_cannot_be_mended_is_an_error(context, world, make_image):
    image = make_image(layers=("base",))
    context.content.remove(image.manifest_digest)
    (found,) = images.damaged_blobs(world())
    with pytest.raises(Corrupt, match="is missing"):
        put_right(found)


def test_a_record_that_is_damaged(context, world, make_image):
    image = make_image()
    context.store.images.set_config(image.image_id, "{}")
    (found,) = records.images(world())
    assert found.name == image.image_id[7:19]
    put_right(found)
    assert told(records.images, world) == []


def test_what_violent_deaths_have_left(context, world, make_layer):
    make_layer("gone")
    assert told(images.leftovers, world) == []  # a pull may go on from there
    os.makedirs(f"{context.layers.staging}/dead/diff")
    garbage.note(context.paths, [layer_key("gone")])
    (found,) = images.leftovers(world())
    assert found.what.startswith("2 layers, blobs or downloads")
    with garbage.in_use(context.paths), pytest.raises(Exception, match="being brought in"):
        put_right(found)
    put_right(found)
    assert told(images.leftovers, world) == []
