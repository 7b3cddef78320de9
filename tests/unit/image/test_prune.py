"""What prune and untag take away, and what they leave (row N-13)."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter, NotFound
from runengine.mgr.image import garbage, prune, removal
from tests.support.stored_images import HUB, layer_key

DIGEST = "sha256:" + "d" * 64


def names_of(context):
    return {row.name for row in context.store.images.names()}


def test_only_images_without_a_tag_go_by_default(context, make_image):
    kept = make_image(f"{HUB}/kept:1", layers=("base",))
    by_digest = make_image(f"{HUB}/pulled@{DIGEST}", layers=("base", "one"))
    nameless = make_image(layers=("base", "two"))
    done = prune.prune(context, {})
    assert {"Untagged": f"pulled@{DIGEST}"} in done.removed
    deleted = {entry["Deleted"] for entry in done.removed if "Deleted" in entry}
    assert {by_digest.image_id, nameless.image_id} <= deleted
    assert len(deleted) == 4  # two images and a layer of each
    assert [image.image_id for image in context.store.images.all()] == [kept.image_id]
    assert context.layers.keys() == [layer_key("base")]
    assert done.freed_bytes


def test_all_spares_what_containers_use(context, make_image, use):
    used = make_image(f"{HUB}/used:1", layers=("base",))
    make_image(f"{HUB}/unused:1", layers=("base", "more"))
    use(used)
    done = prune.prune(context, {"dangling": ["false"]})
    assert {"Untagged": "unused:1"} in done.removed
    assert names_of(context) == {f"{HUB}/used:1"}
    assert prune.prune(context, {"dangling": ["false"]}) == ([], 0)


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ({"label": ["keep=yes"]}, {"b"}),
        ({"label!": ["keep=no"]}, {"b"}),
        ({"label": ["keep", "keep=no"]}, {"a"}),
        ({"label": ["keep", "other"]}, {"a", "b"}),
        ({"until": ["2025-01-01"]}, {"a", "b"}),
        ({"until": ["2026-06-01T00:00:00Z"]}, set()),
    ],
)
def test_filters(context, make_image, filters, left):
    images = {
        "a": make_image(layers=("base",), config={"Labels": {"keep": "yes"}}),
        "b": make_image(layers=("more",), config={"Labels": {"keep": "no"}}),
    }
    prune.prune(context, filters)
    found = {image.image_id for image in context.store.images.all()}
    assert found == {images[name].image_id for name in left}


@pytest.mark.parametrize("filters", [{"reference": ["x"]}, {"dangling": ["maybe"]},
                                     {"until": ["soon"]}, {"dangling": ["1", "0"]}])  # fmt: skip
def test_bad_filters_remove_nothing(context, make_image, filters):
    make_image(layers=("base",))
    with pytest.raises(InvalidParameter):
        prune.prune(context, filters)
    assert len(context.store.images.all()) == 1


def test_while_an_image_comes_in_the_content_waits(context, make_image):
    make_image(layers=("base",))
    with garbage.in_use(context.paths):
        done = prune.prune(context, {})
        assert done.freed_bytes is None
        assert len(done.removed) == 1
        assert context.layers.keys() == [layer_key("base")]
    garbage.sweep(context)
    assert context.layers.keys() == []


def test_untag_one_or_all(context, make_image):
    image = make_image(f"{HUB}/a:1", f"{HUB}/a:2", f"{HUB}/b:1", f"{HUB}/a@{DIGEST}")
    assert removal.untag(context, "a:1", ["b:1"]) == ["b:1"]
    assert removal.untag(context, "a:1", ["a:1"]) == ["a:1"]
    assert names_of(context) == {f"{HUB}/a:2", f"{HUB}/a@{DIGEST}"}
    assert removal.untag(context, "a:2", []) == ["a:2", f"a@{DIGEST}"]
    assert names_of(context) == set()
    assert context.store.images.get_image(image.image_id) is not None


def test_the_last_tag_of_a_repository_takes_its_digests(context, make_image):
    make_image(f"{HUB}/a:1", f"{HUB}/b:1", f"{HUB}/a@{DIGEST}")
    assert removal.untag(context, "b:1", ["a:1"]) == ["a:1", f"a@{DIGEST}"]
    assert names_of(context) == {f"{HUB}/b:1"}


def test_untag_refuses_names_of_others_and_changes_nothing(context, make_image):
    make_image(f"{HUB}/a:1")
    make_image(f"{HUB}/b:1", layers=("base",))
    with pytest.raises(NotFound, match="b:1 is not a name of image a:1"):
        removal.untag(context, "a:1", ["a:1", "b:1"])
    with pytest.raises(NotFound):
        removal.untag(context, "nosuch", [])
    with pytest.raises(InvalidParameter):
        removal.untag(context, "a:1", ["A/B"])
    assert len(names_of(context)) == 2
