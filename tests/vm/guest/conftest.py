"""Fixtures of the tests inside the guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.command_line import CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def shared_cli(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> CommandLine:
    """The command line on an engine of its own that has the image busybox."""
    shared = CommandLine(tmp_path_factory.mktemp("cli"))
    shared.ok("import", str(busybox_tar), "busybox")
    return shared


@pytest.fixture
def cli(shared_cli: CommandLine) -> Iterator[CommandLine]:
    """The same without containers, before and after."""
    yield shared_cli
    shared_cli.clear()
