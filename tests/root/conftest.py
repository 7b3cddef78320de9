"""Fixtures of the root tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.box import Box
from tests.support.engines import engine, runner, shared_roots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["box", "box_engine", "engine", "runner", "shared_roots"]


@pytest.fixture(scope="session")
def box_engine(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Box:
    """The command line on an engine that has the image busybox; shared by the whole run."""
    shared = Box(tmp_path_factory.mktemp("box"))
    shared.ok("import", str(busybox_tar), "busybox")
    return shared


@pytest.fixture
def box(box_engine: Box) -> Iterator[Box]:
    """The same without containers, before and after."""
    yield box_engine
    box_engine.clear()
