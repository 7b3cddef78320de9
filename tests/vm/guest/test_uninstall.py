"""scripts/uninstall: stops what runs, and takes away what scripts/install has brought."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vm.guest import installed
from tests.vm.guest.installed import (
    COMMAND,
    COUNTER,
    TREE,
    UNITS,
    install,
    ok,
    run,
    start,
    state,
    wait_until,
)

pytestmark = pytest.mark.vm


def test_containers_wait_for_the_next_installation(clean):
    start("counter", COUNTER, "--restart=always")
    run("scripts/uninstall", cwd=TREE)
    assert not Path(COMMAND).exists()
    assert not Path("/opt/runengine").exists()
    known = run("systemctl", "list-unit-files", "--plain", "--no-legend")
    assert not [unit for unit in UNITS if unit in known]
    assert "/var/lib/runengine" not in Path("/proc/self/mountinfo").read_text()
    install()
    wait_until(lambda: state("counter")["Status"] == "running")
    first = ok("logs", "counter").partition("bye\n")[0].split()
    assert first == [str(number) for number in range(1, len(first) + 1)]
    ok("stop", "counter")
    assert ok("logs", "counter").endswith("bye")
    ok("rm", "counter")


def test_purge_leaves_nothing(service):
    start("counter", COUNTER)
    run("scripts/uninstall", "--purge", cwd=TREE)
    for place in ("/var/lib/runengine", "/run/runengine", "/etc/runengine", COMMAND):
        assert not Path(place).exists(), place
    assert "runengine" not in Path("/proc/self/mountinfo").read_text()
    left = run("sh", "-c", "cat /sys/fs/cgroup/runengine/*/cgroup.procs 2>/dev/null || :")
    assert left == ""
    assert installed.is_active("carry.service")
