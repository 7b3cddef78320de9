"""Damage of every kind is found, told, and repaired from where it can be."""

from __future__ import annotations

import gzip
import os

import pytest

from runengine.errors import NotFound, Unavailable
from runengine.ids import DiffID, hex_of
from runengine.mgr.image import garbage, mending, verify
from runengine.mgr.image.arrival import Arrivals, Layer, Stack
from runengine.mgr.image.progress import NoProgress
from runengine.mgr.image.register import Arrived, register
from runengine.mgr.image.repair import not_stored
from tests.support.images import image_config, needy_layers
from tests.support.layouts import digest_of
from tests.support.stored_images import HUB
from tests.support.tars import archive, directory, member

LOWER = archive(directory("d", uid=os.getuid(), gid=os.getgid()),
                member("d/file", b"content" * 900, uid=os.getuid(), gid=os.getgid()))  # fmt: skip


def overwrite(path, data):
    os.chmod(path, 0o600)
    with open(path, "wb") as file:
        file.write(data)


@pytest.fixture
def bring(context):
    """Brings an image of these archives, as a load does but in this process; its record."""

    def bring_one(*tars, names=(f"{HUB}/app:1",), pulled=False):
        blobs = [context.content.put(gzip.compress(tar, mtime=0)) for tar in tars]
        config = image_config(*tars)
        diff_ids = [DiffID(digest_of(tar)) for tar in tars]
        stack = Stack(context.layers, diff_ids)
        with Arrivals(context, stack, not_stored) as arrivals:
            for position, blob in enumerate(blobs):
                layer = Layer(position, blob, context.content.size(blob), diff_ids[position])
                arrivals.bring(layer, lambda *_: None)
            arrivals.finish()
        from runengine.mgr.image.load import manifest_of

        image_id = context.content.put(config)
        layers = [(blob, context.content.size(blob)) for blob in blobs]
        manifest = context.content.put(manifest_of(context, (image_id, len(config)), layers))
        register(
            context,
            Arrived(image_id, manifest, "m", config.decode(), stack.keys(),
                    [*names, *([f"{HUB}/app@{manifest}"] if pulled else [])]),
        )  # fmt: skip
        return context.store.images.get_image(image_id)

    return bring_one


def check(context, *names, repair=False):
    return verify.verify(
        context, names, mending.Mender(context, repairs=repair), NoProgress()
    )


def kinds(report):
    return [(fault.kind, fault.what, fault.repaired) for fault in report.faults]


class Registry:
    """Stands for the registry client: gives blobs and manifests from a dict."""

    def __init__(self, content):
        self.content = content
        self.asked = []

    def __call__(self, **_settings):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def _get(self, digest):
        self.asked.append(digest)
        if digest not in self.content:
            raise Unavailable("registry: no route to host")
        return self.content[digest]

    def blob(self, _ref, wanted, verify):
        from contextlib import nullcontext

        return nullcontext(iter([self._get(wanted.digest)]))

    def manifest(self, ref):
        from runengine.registry.client import Manifest

        return Manifest("m", ref.digest, self._get(ref.digest))


@pytest.fixture
def registry(context, monkeypatch):
    """A registry that has what is in the store by now."""

    def serve():
        found = {}
        for digest in context.content.digests():
            with context.content.open(digest) as file:
                found[digest] = file.read()
        made = Registry(found)
        monkeypatch.setattr("runengine.registry.client.RegistryClient", made)
        return made

    return serve


def test_what_is_whole(context, bring):
    bring(*needy_layers())
    bring(LOWER, names=(f"{HUB}/other:1",))
    report = check(context)
    assert (report.images, report.layers, report.faults) == (2, 3, [])
    assert report.is_clean
    assert garbage.find(context, grace_s=0) == []


def test_one_image_is_verified_alone(context, bring):
    bring(LOWER)
    bring(*needy_layers(), names=(f"{HUB}/other:1",))
    assert (check(context, "app:1").images, check(context, "app:1").blobs) == (1, 3)
    with pytest.raises(NotFound):
        check(context, "nosuch")


def test_a_damaged_layer_is_unpacked_again(context, bring):
    (key,) = bring(LOWER).layers
    os.unlink(f"{context.layers.path(key)}/d/file")
    report = check(context, "app:1")
    assert kinds(report) == [("layer", "is not what its blob unpacks to", False)]
    assert "d/file is missing" in report.faults[0].details
    assert "--repair" in report.faults[0].remedy
    assert not report.is_clean
    report = check(context, "app:1", repair=True)
    assert report.is_clean
    assert report.faults[0].remedy == "unpacked again"
    assert os.path.isfile(f"{context.layers.path(key)}/d/file")
    assert check(context).faults == []
    assert context.layers.abandoned() == []


def test_a_layer_that_was_completed_from_others_is_too(context, bring):
    image = bring(*needy_layers())
    os.unlink(f"{context.layers.path(image.layers[1])}/d/new")
    os.chmod(f"{context.layers.path(image.layers[0])}/d/target", 0o777)
    report = check(context, "app:1", repair=True)
    assert [fault.name for fault in report.faults] == image.layers
    assert report.is_clean
    assert check(context).faults == []
    one, other = (os.stat(f"{context.layers.path(image.layers[position])}/d/{name}")
                  for position, name in enumerate(("target", "other")))  # fmt: skip
    assert os.path.samestat(one, other)


def test_a_layer_that_is_gone_is_unpacked_again(context, bring):
    (key,) = bring(LOWER).layers
    context.layers.remove(key)
    assert kinds(check(context, "app:1")) == [("layer", "is not unpacked", False)]
    assert check(context, "app:1", repair=True).is_clean
    assert check(context).faults == []


def test_a_layers_damaged_note(context, bring):
    (key,) = bring(LOWER).layers
    overwrite(f"{context.layers.directory(key)}/layer.json", b"{")
    report = check(context, repair=True)
    assert kinds(report) == [("layer", "has a damaged note of its sizes", True)]
    assert context.layers.info(key).tar_bytes == len(LOWER)


def test_a_mounted_layer_is_left_alone(context, bring, use, monkeypatch):
    image = bring(LOWER)
    use(image, "box", "running")
    os.unlink(f"{context.layers.path(image.layers[0])}/d/file")
    monkeypatch.setattr("runengine.linux.mount.is_mounted", lambda _target: True)
    report = check(context, repair=True)
    assert not report.is_clean
    assert "is mounted by box" in report.faults[0].remedy
    assert not os.path.exists(f"{context.layers.path(image.layers[0])}/d/file")
    monkeypatch.setattr("runengine.linux.mount.is_mounted", lambda _target: False)
    assert check(context, repair=True).is_clean


def test_a_repair_waits_for_whoever_is_at_work(context, bring, monkeypatch):
    (key,) = bring(LOWER).layers
    os.unlink(f"{context.layers.path(key)}/d/file")
    monkeypatch.setattr(mending, "PATIENCE_S", 0.0)
    with garbage.in_use(context.paths):
        report = check(context, repair=True)
    assert "somebody is at work" in report.faults[0].remedy
    assert check(context, repair=True).is_clean


@pytest.mark.parametrize("damage", [b"", b"other", None])
def test_a_damaged_blob_is_fetched_again(context, bring, registry, damage):
    image = bring(LOWER, pulled=True)
    served = registry()
    digest, _ = verify.manifest_layers(context, image)[0]
    if damage is None:
        context.content.remove(digest)
    else:
        overwrite(context.content.path(digest), damage)
    what = "is missing" if damage is None else "has other content"
    assert kinds(check(context, "app:1")) == [("blob", what, False)]
    report = check(context, "app:1", repair=True)
    assert report.is_clean
    assert report.faults[0].remedy == "fetched again from app"
    assert served.asked == [digest]
    assert check(context).faults == []


def test_documents_are_fetched_again_or_taken_from_the_record(context, bring, registry):
    image = bring(LOWER, pulled=True)
    registry()
    overwrite(context.content.path(image.manifest_digest), b"{}")
    overwrite(context.content.path(image.image_id), b"{}")
    report = check(context, repair=True)
    assert {fault.remedy for fault in report.faults} == {
        "taken from the image's record", "fetched again from app"
    }  # fmt: skip
    assert report.is_clean
    assert check(context).faults == []


def test_a_damaged_record_is_taken_from_its_blob(context, bring):
    image = bring(LOWER)
    context.store.images.set_config(image.image_id, '{"rootfs"')
    assert kinds(check(context, image.image_id))[0][0] == "record"
    assert check(context, image.image_id, repair=True).is_clean
    assert context.store.images.get_image(image.image_id) == image


def lose_config(context, image):
    context.store.images.set_config(image.image_id, "{}")
    context.content.remove(image.image_id)


def test_both_copies_of_a_config_lost(context, bring):
    image = bring(LOWER)
    lose_config(context, image)
    report = check(context, image.image_id, repair=True)
    assert {fault.kind for fault in report.faults} == {"record", "blob"}
    assert not report.is_clean


def test_both_copies_of_a_config_come_from_the_registry(context, bring, registry):
    image = bring(LOWER, pulled=True)
    registry()
    lose_config(context, image)
    assert check(context, repair=True).is_clean
    assert context.store.images.get_image(image.image_id) == image
    assert check(context).faults == []


def test_a_registry_that_does_not_answer_is_told(context, bring, registry):
    image = bring(LOWER, pulled=True)
    registry().content.clear()
    digest, _ = verify.manifest_layers(context, image)[0]
    overwrite(context.content.path(digest), b"x")
    report = check(context, repair=True)
    assert "no route to host" in report.faults[0].remedy
    assert os.path.exists(context.content.path(digest))


def test_an_image_that_was_loaded_has_no_registry(context, bring):
    image = bring(LOWER)
    digest, _ = verify.manifest_layers(context, image)[0]
    overwrite(context.content.path(digest), b"x")
    report = check(context, repair=True)
    assert "no registry is known" in report.faults[0].remedy
    assert report.layers == 1  # it is there and cannot be compared


def test_blob_and_layer_both_gone(context, bring):
    image = bring(LOWER)
    digest, _ = verify.manifest_layers(context, image)[0]
    context.content.remove(digest)
    context.layers.remove(image.layers[0])
    report = check(context)
    assert [fault.kind for fault in report.faults] == ["blob", "layer"]


def test_damaged_blobs_of_no_image_are_deleted(context):
    digest = context.content.put(b"left by a pull")
    overwrite(context.content.path(digest), b"x")
    assert kinds(check(context)) == [("blob", "has other content", False)]
    report = check(context, repair=True)
    assert report.faults[0].remedy == "deleted: no image needs it"
    assert context.content.digests() == set()


def test_no_room_to_unpack_is_told(context, bring, monkeypatch):
    from runengine.errors import EngineError

    bring(LOWER)

    def full(*_args):
        raise EngineError("no space left on the disk")

    monkeypatch.setattr(verify, "unpack_beside", full)
    report = check(context, "app:1")
    assert kinds(report) == [
        ("layer", "cannot be verified: no space left on the disk", False)
    ]  # fmt: skip
    assert os.listdir(context.layers.staging) == []


def test_keys_are_those_of_the_archives(bring):
    assert bring(LOWER).layers == [hex_of(digest_of(LOWER))]
