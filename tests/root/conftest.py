"""Fixtures of the root tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.command_line import CommandLine, WarmCommandLine
from tests.support.engines import engine, runner, shared_roots
from tests.support.net_engines import NetEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["cli", "engine", "net", "runner", "shared_cli", "shared_net", "shared_roots"]


@pytest.fixture(scope="session", params=[CommandLine, WarmCommandLine], ids=["cold", "warm"])
def shared_cli(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path
) -> Iterator[CommandLine]:
    """The command line on an engine that has the image busybox; shared by the whole run.

    Without and with a service: there must be no difference.
    """
    shared: CommandLine = request.param(tmp_path_factory.mktemp("cli"))
    shared.ok("import", str(busybox_tar), "busybox")
    yield shared
    shared.close()


@pytest.fixture
def cli(shared_cli: CommandLine) -> Iterator[CommandLine]:
    """The same without containers, before and after."""
    yield shared_cli
    shared_cli.clear()


@pytest.fixture(scope="session", params=[False, True], ids=["cold", "warm"])
def shared_net(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path
) -> Iterator[NetEngine]:
    """An engine on a host of its own, without and with a service; shared by the whole run."""
    shared = NetEngine(tmp_path_factory.mktemp("net"), warm=request.param)
    shared.cli.ok("import", str(busybox_tar), "busybox")
    yield shared
    shared.close()


@pytest.fixture
def net(shared_net: NetEngine) -> Iterator[NetEngine]:
    """The same without containers and networks, before and after."""
    yield shared_net
    shared_net.clear()
