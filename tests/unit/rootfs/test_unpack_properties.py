"""Whatever a layer holds, nothing outside is touched, and what is inside is what it says."""

from __future__ import annotations

import io
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runengine.errors import EngineError
from runengine.rootfs.unpack import Unpacked, unpack_layer
from runengine.rootfs.usage import disk_usage
from tests.support.layermodel import Model, Refused, seen
from tests.support.layerstrategies import PLAIN, evil_layers, members, paths
from tests.support.tars import archive
from tests.support.treecmp import manifest

SETTINGS = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def unpack(data: bytes, dest) -> Unpacked | None:
    dest.mkdir()
    try:
        done = unpack_layer(io.BytesIO(data), str(dest))
    except EngineError:
        return None
    assert done.usage in (None, disk_usage(str(dest)))
    return done


@SETTINGS
@given(evil_layers())
def test_nothing_outside_is_touched(tmp_path_factory, layer):
    base = tmp_path_factory.mktemp("evil")
    outside = base / "outside"
    (outside / "a/b").mkdir(parents=True)
    (outside / "b").write_text("b")
    (outside / "c").symlink_to("a")
    os.mkfifo(outside / "a/a")
    before = manifest(outside)
    names = set(os.listdir(base)) | {"diff"}
    unpack(archive(*layer), base / "diff")
    assert manifest(outside) == before
    assert set(os.listdir(base)) == names


@SETTINGS
@given(st.binary(max_size=2000), st.integers(0, 3000), evil_layers())
def test_damaged_archives_are_refused_or_read_but_never_crash(
    tmp_path_factory, noise, where, layer
):
    data = bytearray(archive(*layer))
    data[where : where + len(noise)] = noise
    unpack(bytes(data), tmp_path_factory.mktemp("damaged") / "diff")


SYMLINK_TARGETS = st.tuples(
    st.sampled_from(["", "/", "../", "./"]), paths([*PLAIN, ".."])
).map("".join)


@pytest.mark.needs("root")  # What replaces a file is marked opaque, which takes privilege.
@SETTINGS
@given(st.lists(members(paths(PLAIN), SYMLINK_TARGETS), max_size=12))
def test_members_in_any_order_make_the_tree_that_the_model_makes(tmp_path_factory, layer):
    model = Model(open_below=True)
    dest = tmp_path_factory.mktemp("model") / "diff"
    done = unpack(archive(*layer), dest)
    try:
        model.apply(layer)
    except Refused:
        assert done is None
        return
    assert done is not None
    tree = model.flatten()
    below = {path for path, node in tree.items() if not node[0]}
    assert {f"/{name}" for name, _ in done.links} == below
    assert seen(dest) == {path: node for path, node in tree.items() if path not in below}
