"""An image whose stored manifest is damaged is not saved, in plain words."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from runengine.errors import NotFound
from runengine.mgr.image import save

ID = "sha256:" + "1" * 64
WHOLE = {"mediaType": "m", "config": {"digest": ID}, "layers": [{"digest": "sha256:2"}]}


def look_up(document: object) -> tuple[bytes, str]:
    """The manifest, if the store has this in its place."""
    data = json.dumps(document).encode()
    content = SimpleNamespace(has=lambda _: True, read=lambda *_: data)
    image = SimpleNamespace(image_id=ID, manifest_digest="sha256:3", media_type="other")
    context: Any = SimpleNamespace(content=content)
    chosen: Any = SimpleNamespace(image=image, manifest_digest="sha256:3", shown="app:1")
    return save._manifest(context, chosen)


def test_a_whole_one_is_taken_as_it_is() -> None:
    assert look_up(WHOLE) == (json.dumps(WHOLE).encode(), "m")


@pytest.mark.parametrize(
    "document",
    [
        [1, 2], "text", None, {}, {**WHOLE, "config": []}, {**WHOLE, "layers": None},
        {**WHOLE, "layers": [3]}, {**WHOLE, "layers": [{}]}, {**WHOLE, "config": {"digest": "x"}},
    ],
)  # fmt: skip
def test_anything_else_is_no_manifest(document: object) -> None:
    with pytest.raises(NotFound, match="the manifest of image app:1 is not stored"):
        look_up(document)
