"""Containers of every policy, which the host's next boot finds."""

from __future__ import annotations

import pytest

from tests.vm.guest import installed
from tests.vm.guest.installed import COUNTER, ok, run, start, states, systemctl

pytestmark = pytest.mark.vm


def test_prepare_containers_of_every_policy(service):
    installed.remove_all()
    for policy in ("no", "always", "unless-stopped", "on-failure"):
        start(policy, COUNTER, f"--restart={policy}")
        start(f"{policy}-by-hand", COUNTER, f"--restart={policy}")
    ok("stop", *(f"{policy}-by-hand" for policy in ("no", "always", "unless-stopped",
                                                    "on-failure")))  # fmt: skip
    ok("create", "--name", "never-started", "--restart=always", "busybox", "sleep", "1000")
    start("deaf", "trap '' TERM; while :; do sleep 0.2; done", "--stop-timeout=1",
          "--restart=always")  # fmt: skip
    start("paused", COUNTER, "--restart=always")
    ok("pause", "paused")
    start("own-signal", "trap 'echo usr1; exit 5' USR1; while :; do sleep 0.1; done",
          "--stop-signal=USR1", "--restart=unless-stopped")  # fmt: skip
    start("guest-of", "ip link show lo; exec sleep 1000", "--network=container:always",
          "--restart=always")  # fmt: skip
    running = [name for name in ok("ps", "--format", "{{.Names}}").split() if name]
    assert len(states(*running)) == 8
    # Somebody else's unit, which goes down at the same time and takes long about it.
    slow = "trap 'sleep 5; exit' TERM; while :; do sleep 1; done"
    run("systemd-run", "--unit=slow", "sh", "-c", slow)
    assert systemctl("is-enabled", "runengine.service") == "enabled"
