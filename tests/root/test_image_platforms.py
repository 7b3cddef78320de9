"""Multi-platform images: pulled for one platform after the other, repaired, and cleared up."""

from __future__ import annotations

import json
import os

import pytest

from runengine.errors import NotFound, Unsupported
from runengine.ids import hex_of
from tests.support.fake_registry import FakeRegistry
from tests.support.images import residue
from tests.support.layouts import Layout

pytestmark = pytest.mark.root


@pytest.fixture
def registry():
    with FakeRegistry() as running:
        yield running


@pytest.fixture
def name(registry):
    """A name whose index has an image for amd64 and one for arm64, with a layer in common."""
    layout = Layout()
    base = {"base": b"b" * 9000}
    index = layout.index(
        linux_amd64=layout.image(base, {"amd": b"1"}),
        linux_arm64=layout.image(base, {"arm": b"2"}, platform="linux/arm64"),
    )
    layout.tag("1", index)
    registry.blobs.update(layout.blobs)
    registry.tag("1", index)
    return f"{registry.host}/team/app:1"


def offered(images, image_id):
    """Ids of the images that are here, by the platforms that the index has."""
    return {one.Platform: one.ImageId for one in images.platforms([image_id])[image_id]}


def test_one_platform_after_the_other(images, roots, name):  # N-08, N-25
    amd = images.pull(name, platform="linux/amd64")
    offers = offered(images, amd.image_id)
    assert offers == {"linux/amd64": amd.image_id, "linux/arm64": ""}
    with pytest.raises(NotFound, match="pull --platform"):
        images.inspect(name, platform="arm64")
    arm = images.pull(name, platform="linux/arm64")
    # The name stands for what was pulled last, under the same digest: the index's.
    assert images.lookup(name).image_id == arm.image_id
    assert amd.digest == arm.digest
    assert images.inspect(name)["RepoDigests"] == [f"{name.rpartition(':')[0]}@{amd.digest}"]
    assert images.inspect(amd.image_id)["RepoTags"] == []
    offers = offered(images, arm.image_id)
    assert offers == {"linux/amd64": amd.image_id, "linux/arm64": arm.image_id}
    assert images.inspect(name, platform="linux/amd64")["Id"] == amd.image_id
    pruned = images.prune()
    assert {"Deleted": amd.image_id} in pruned.removed
    assert f"blobs/sha256/{hex_of(arm.digest)}" in residue(roots)
    assert images.verify().is_clean
    images.remove(name)
    assert residue(roots) == set()


def test_what_is_damaged_is_fetched_again(images, registry, name):
    images.pull(name, platform="linux/amd64")
    content = images._context.content
    damaged = sorted(content.digests())
    for digest in damaged:
        os.truncate(content.path(digest), 0)
    report = images.verify(repair=True)
    assert report.is_clean
    assert {fault.name for fault in report.faults if fault.kind == "blob"} == set(damaged)
    assert images.verify().faults == []
    registry.blobs.clear()
    os.truncate(content.path(damaged[0]), 0)
    assert not images.verify([name], repair=True).is_clean


def test_artifacts_are_refused_and_listed(images, registry):
    layout = Layout()
    artifact = layout.add(b"{}", "application/vnd.acme.config.v1+json")
    manifest = layout.image({"file": b"1"})
    registry.blobs.update(layout.blobs)
    document = json.loads(layout.blobs[manifest["digest"]]) | {"config": artifact}
    other = layout.add(json.dumps(document).encode(), document["mediaType"])
    registry.blobs.update(layout.blobs)
    registry.tag("1", other)
    with pytest.raises(Unsupported, match="artifact pull"):
        images.pull(f"{registry.host}/team/data:1")
    assert images.list() == []
