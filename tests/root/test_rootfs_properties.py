"""Stacks of random layers, mounted, are the tree that the model says."""

from __future__ import annotations

import io
import os
import shutil

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from runengine.rootfs.overlay import mount_overlay, unmount
from runengine.rootfs.unpack import complete_layer, unpack_layer
from tests.support.layermodel import Model, Refused, seen
from tests.support.layerstrategies import fair_layers
from tests.support.tars import archive

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """One directory for all examples."""
    return tmp_path_factory.mktemp("stack")


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(fair_layers(whiteouts=False), st.lists(fair_layers(), min_size=1, max_size=3))
def test_the_overlay_shows_what_the_model_says(work, base, others):
    model = Model(fair=True)
    try:
        for layer in (base, *others):
            model.apply(layer)
    except Refused:
        assume(False)
    top = work / "example"
    shutil.rmtree(top, ignore_errors=True)
    (top / "merged").mkdir(parents=True)
    lowers: list[str] = []
    for number, layer in enumerate((base, *others)):
        path = f"{top}/{number}"
        os.mkdir(path)
        done = unpack_layer(io.BytesIO(archive(*layer)), path)
        complete_layer(path, done, lowers)
        lowers.insert(0, path)
    mount_overlay(lowers, None, None, f"{top}/merged", readonly=True)
    try:
        assert seen(top / "merged") == model.flatten()
    finally:
        unmount(f"{top}/merged")
