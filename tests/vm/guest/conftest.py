"""Fixtures of the tests inside the guest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command_line import CommandLine
from tests.vm.guest import installed

if TYPE_CHECKING:
    from collections.abc import Iterator


class InstalledCommandLine(CommandLine):
    """The program as it is installed, for tests whose containers need no network."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.root, self.state = Path(installed.ROOT), Path(installed.STATE)

    @staticmethod
    def command(*arguments: str) -> list[str]:
        """The command line of ``runengine ARGUMENTS``."""
        return [installed.COMMAND, *arguments]


@pytest.fixture(scope="session")
def service(busybox_tar: Path) -> str:
    """The installed service with the image busybox; what scripts/install said, if it was now."""
    assert installed.is_ours()
    output = ""
    if not Path(installed.COMMAND).exists():
        installed.configure()
        output = installed.install()
        installed.ok("import", str(busybox_tar), "busybox")
    return output


@pytest.fixture(scope="session")
def shared_cli(service: str, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line: warm, as a cold start takes seconds here."""
    return InstalledCommandLine(tmp_path_factory.mktemp("cli"))


@pytest.fixture
def cli(shared_cli: CommandLine) -> Iterator[CommandLine]:
    """The same, and no container afterwards."""
    yield shared_cli
    shared_cli.clear()


@pytest.fixture
def clean(service: str) -> Iterator[str]:
    """The same, and no container afterwards."""
    yield service
    installed.remove_all()
