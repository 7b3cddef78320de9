"""Fixtures of the root tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.command_line import CommandLine, WarmCommandLine
from tests.support.engines import engine, runner, shared_roots
from tests.support.images import image_mgr
from tests.support.net_engines import NetEngine
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runengine.mgr.image.manager import ImageMgr
    from runengine.paths import Paths

__all__ = ["cli", "engine", "net", "runner", "shared_cli", "shared_net", "shared_roots"]


LINES = {"cold": CommandLine, "warm": WarmCommandLine}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give the command line a service, a third of the cost; ``ways`` marks what needs another.

    ``ways("cold", "warm")`` is for what a service could do differently: streams, signals,
    processes that are killed, many at once.
    """
    marker = metafunc.definition.get_closest_marker("ways")
    ways = marker.args if marker else ("warm",)
    for name in {"shared_cli", "shared_net"}.intersection(metafunc.fixturenames):
        metafunc.parametrize(name, ways, indirect=True, scope="session")


@pytest.fixture(scope="session")
def shared_cli(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path
) -> Iterator[CommandLine]:
    """The command line on an engine that has the image busybox; shared by the whole run."""
    shared = LINES[request.param](tmp_path_factory.mktemp("cli"))
    shared.ok("import", str(busybox_tar), "busybox")
    yield shared
    shared.close()


@pytest.fixture
def cli(shared_cli: CommandLine) -> Iterator[CommandLine]:
    """The same without containers and volumes, before and after."""
    yield shared_cli
    shared_cli.clear()


@pytest.fixture(scope="session")
def shared_net(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path
) -> Iterator[NetEngine]:
    """An engine on a host of its own; shared by the whole run."""
    shared = NetEngine(tmp_path_factory.mktemp("net"), warm=request.param == "warm")
    shared.cli.ok("import", str(busybox_tar), "busybox")
    yield shared
    shared.close()


@pytest.fixture
def net(shared_net: NetEngine) -> Iterator[NetEngine]:
    """The same without containers, volumes and networks, before and after."""
    yield shared_net
    shared_net.clear()


@pytest.fixture
def images(roots: Paths) -> Iterator[ImageMgr]:
    """An image manager on directories of the test's own."""
    with image_mgr(roots) as manager:
        yield manager


@pytest.fixture(scope="module")
def shared_service(
    tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path
) -> Iterator[Service]:
    """A service that the tests of a file share, with an image."""
    service = Service(tmp_path_factory.mktemp("service"))
    service.ok("import", str(busybox_tar), "busybox")
    yield service
    service.close()
