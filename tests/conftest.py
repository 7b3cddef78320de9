"""Fixtures for every test: unit tests may not touch the host, root tests may leave nothing."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from runengine.paths import Paths
from tests.support import capabilities, leaks, trees
from tests.support.guard import GUARD

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = Path(__file__).parent / "unit"

# Times say nothing on a busy host.
settings.register_profile("runengine", deadline=None)
settings.load_profile("runengine")


def pytest_configure() -> None:
    """Take the signals that ``&`` and ``nohup`` make a command ignore: tests send some."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            handler = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this host cannot do."""
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            reason = capabilities.missing(name)
            if reason is not None:
                pytest.skip(reason)
    if item.get_closest_marker("root"):
        reason = capabilities.missing("root")
        if reason is not None:
            pytest.skip(reason)


@pytest.fixture(autouse=True)
def _no_side_effects(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unit tests start no process, mount nothing and reach no network but loopback."""
    if UNIT not in request.path.parents or request.node.get_closest_marker("side_effects"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        GUARD.arm(patch)
        try:
            yield
        finally:
            refused = GUARD.disarm()
    if refused:
        pytest.fail(f"side effects in a unit test: {refused}")


@pytest.fixture(autouse=True)
def _no_descriptors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unit tests leave nothing open: what they test lives long, in workers and monitors."""
    if UNIT not in request.path.parents or request.node.get_closest_marker("side_effects"):
        yield
        return
    before = leaks.descriptors()
    yield
    found = leaks.left_open(before)
    if found:
        pytest.fail("left open by this test:\n  " + "\n  ".join(found))


@pytest.fixture(scope="session")
def _session_leaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What fixtures of a wider scope leave shows once the whole run has ended."""
    before = leaks.take()
    yield
    found = leaks.leaked(before, str(tmp_path_factory.getbasetemp()))
    if found:
        pytest.fail("left behind by the run:\n  " + "\n  ".join(found))


@pytest.fixture(autouse=True)
def _no_leaks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Root tests leave no mount, namespace, link, rule, cgroup, process, file or descriptor."""
    if not request.node.get_closest_marker("root"):
        yield
        return
    request.getfixturevalue("_session_leaks")
    before = leaks.take()
    yield
    found = leaks.leaked(before, str(tmp_path_factory.getbasetemp()))
    if found:
        pytest.fail("left behind by this test:\n  " + "\n  ".join(found))


@pytest.fixture
def roots(tmp_path: Path) -> Paths:
    """Directories of an engine of this test's own."""
    for name in ("root", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    return Paths(str(tmp_path / "root"), str(tmp_path / "state"))


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root filesystem with every busybox applet, as a plain tar."""
    if not trees.BUSYBOX.exists():
        pytest.skip("no /bin/busybox (apt-get install busybox-static)")
    return trees.write_busybox_tar(tmp_path_factory.mktemp("busybox") / "rootfs.tar")
