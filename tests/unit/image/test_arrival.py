"""Keys of layers, and what is resumed."""

from __future__ import annotations

import hashlib

import pytest

from runengine.errors import Corrupt, Unsupported
from runengine.ids import DiffID, chain_ids
from runengine.mgr.image.arrival import Stack, check_stackable
from runengine.rootfs.layers import LayerStore

A, B = DiffID("sha256:" + "a" * 64), DiffID("sha256:" + "b" * 64)


class Layers(LayerStore):
    """A layer store that has these keys."""

    def __init__(self, *keys):
        super().__init__("/nowhere")
        self.present = keys

    def has(self, key):
        return key in self.present


def test_a_layer_is_found_by_diff_id_or_by_its_place_in_the_stack():
    chain = chain_ids([A, B])[1].removeprefix("sha256:")
    assert Stack(Layers("a" * 64, "b" * 64), [A, B]).keys() == ["a" * 64, "b" * 64]
    assert Stack(Layers("a" * 64, chain), [A, B]).keys() == ["a" * 64, chain]
    with pytest.raises(Corrupt, match=B):
        Stack(Layers("a" * 64, chain), [A, A, B]).keys()


def test_a_completed_bottom_layer_is_not_taken_for_the_same_layer_higher_up():
    bottom = Stack(Layers(), [B]).completed_key(0)
    assert bottom == hashlib.sha256(f"bottom {B}".encode()).hexdigest()
    assert Stack(Layers(bottom), [B]).keys() == [bottom]
    assert Stack(Layers(bottom, "a" * 64), [A, B]).key(1) is None


def test_more_layers_than_overlayfs_takes():
    check_stackable(500, "image")
    with pytest.raises(Unsupported, match="501"):
        check_stackable(501, "image")
