"""Shared layers, and what multi-platform indexes offer."""

from __future__ import annotations

import json

import pytest

from runengine.errors import InvalidParameter, NotFound
from runengine.mgr.image import indexes, inspecting, listing, naming, sharing
from tests.support.stored_images import HUB, layer_key


def test_shares(context, make_image, use):
    one = make_image(f"{HUB}/one:1", layers=("base", "one"))
    two = make_image(f"{HUB}/two:1", layers=("base", "other"))
    use(two)
    found = sharing.shares(context)
    assert found[one.image_id].size_bytes == 7000
    assert found[one.image_id].shared_bytes == 4000
    assert (found[one.image_id].containers, found[two.image_id].containers) == (0, 1)
    disk = {key: context.layers.info(key).size_bytes for key in one.layers}
    assert found[one.image_id].disk_bytes == sum(disk.values())
    assert found[one.image_id].unique_disk_bytes == disk[layer_key("one")]


def test_a_layer_twice_in_one_image_is_not_shared(context, make_image):
    image = make_image(layers=("base", "base"))
    assert sharing.shares(context)[image.image_id].shared_bytes == 0


def test_counts_are_made_when_asked_for(context, make_image, use):
    use(make_image(f"{HUB}/one:1", layers=("base",)))
    assert listing.listed(context)[0]["Containers"] == -1
    (entry,) = listing.listed(context, usage=True)
    assert (entry["SharedSize"], entry["Containers"]) == (0, 1)


def test_tree(context, make_image):
    one = make_image(layers=("base", "one"))
    two = make_image(layers=("base",))
    context.layers.remove(layer_key("one"))
    base, top = sharing.tree(context)[one.image_id]
    assert set(base.images) == {one.image_id, two.image_id}
    assert (top.key, top.size_bytes, top.images) == (layer_key("one"), -1, [one.image_id])


@pytest.fixture
def multi(context, make_image):
    """A name whose index has an image here, one for arm64 here too, one not here, and more."""
    amd = make_image(layers=("base",))
    arm = make_image(layers=("base", "arm"), architecture="arm64", variant="v8")
    away = "sha256:" + "a" * 64
    entries = [
        {"digest": amd.manifest_digest, "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": arm.manifest_digest,
         "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"digest": away, "platform": {"os": "linux", "architecture": "s390x"}},
        {"digest": "sha256:" + "b" * 64, "platform": {"os": "unknown", "architecture": "unknown"},
         "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
        {"digest": "sha256:" + "c" * 64, "artifactType": "application/vnd.acme.sbom"},
        "nonsense",
    ]  # fmt: skip
    index = context.content.put(json.dumps({"manifests": entries}).encode())
    for name in (f"{HUB}/multi:1", f"{HUB}/multi@{index}"):
        context.store.images.set_name(name, amd.image_id, amd.manifest_digest)
    return amd, arm


def test_what_an_index_offers(context, multi):
    amd, arm = multi
    offers = indexes.of_image(context, amd.image_id)
    assert [(o.Platform, o.Kind, o.ImageId) for o in offers] == [
        ("linux/amd64", "image", amd.image_id),
        ("linux/arm64", "image", arm.image_id),
        ("linux/s390x", "image", ""),
        ("", "attestation", ""),
        ("", "application/vnd.acme.sbom", ""),
    ]
    assert indexes.of_image(context, arm.image_id) == []


def test_an_image_for_a_platform(context, multi):
    found = naming.find(context.store.images, "multi:1")
    assert indexes.image_for(context, found, "linux/amd64") == multi[0]
    assert indexes.image_for(context, found, "arm64") == multi[1]
    with pytest.raises(NotFound, match=r"not here for platform linux/s390x.*pull --platform"):
        indexes.image_for(context, found, "s390x")
    with pytest.raises(NotFound, match="here for linux/amd64") as refused:
        indexes.image_for(context, found, "linux/riscv64")
    assert refused.value.resolution is None
    with pytest.raises(InvalidParameter):
        indexes.image_for(context, found, "a/b/c/d")


def test_inspect(context, multi):
    document = inspecting.inspected(context, "multi:1")
    assert document["RepoTags"] == ["multi:1"]
    assert len(document["RepoDigests"]) == 1
    assert document["GraphDriver"]["Data"]["UpperDir"].endswith(f"{layer_key('base')}/diff")
    assert [p["Platform"] for p in document["Runengine"]["Platforms"]][:2] == [
        "linux/amd64", "linux/arm64"
    ]  # fmt: skip
    assert inspecting.inspected(context, "multi:1", "arm64")["Architecture"] == "arm64"
