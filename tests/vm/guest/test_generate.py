"""A unit for one container, under a systemd that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest.installed import inside, is_active, ok, run, state, systemctl, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.vm

UNIT = "container-one.service"
SCRIPT = """
trap 'echo bye; exit 0' TERM
echo up
while [ ! -e /go ]; do sleep 0.5; done
rm /go
exit 3
"""


def said(word: str) -> int:
    """How often the unit's journal has it."""
    return run("journalctl", "-b", "-o", "cat", "--no-pager", f"--unit={UNIT}").split().count(word)


@pytest.fixture
def quiet(clean: str) -> Iterator[None]:
    """The unit does not go on trying after the test."""
    yield
    systemctl("stop", UNIT)


def test_systemd_starts_stops_and_restarts_the_container(quiet):
    ok("create", "--name", "one", "busybox", "sh", "-c", SCRIPT)
    text = ok("generate", "systemd", "--name", "one")
    # Gone with the boot.
    Path("/run/systemd/system", UNIT).write_text(f"{text}\n")
    run("systemd-analyze", "verify", UNIT)
    systemctl("daemon-reload")
    systemctl("start", UNIT)
    wait_until(lambda: said("up") == 1)
    first = state("one")["Pid"]
    assert first
    inside(first, "/go").touch()
    wait_until(lambda: said("up") == 2)
    assert state("one")["Pid"] not in (0, first)
    systemctl("stop", UNIT)
    assert said("bye") == 1
    found = state("one")
    assert (found["Status"], found["ExitCode"]) == ("exited", 0)
    assert not is_active(UNIT)
    assert systemctl("show", "--property=Result", "--value", UNIT) == "success"
