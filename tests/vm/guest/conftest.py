"""Fixtures of the tests inside the guest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command_line import CommandLine
from tests.vm.guest import installed

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture(scope="session")
def service(busybox_tar: Path) -> str:
    """The installed service with the image busybox; what scripts/install said, if it was now."""
    assert installed.is_ours()
    output = ""
    if not Path(installed.COMMAND).exists():
        output = installed.install()
        installed.ok("import", str(busybox_tar), "busybox")
    return output


@pytest.fixture
def clean(service: str) -> Iterator[str]:
    """The same without containers, before and after."""
    installed.remove_all()
    yield service
    installed.remove_all()
