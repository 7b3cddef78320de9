"""Containers of every policy, which the host's next boot finds."""

from __future__ import annotations

import pytest

from tests.vm.guest import installed, wires
from tests.vm.guest.installed import (
    BED,
    COUNTER,
    NAP,
    ok,
    run,
    start,
    start_together,
    states,
    systemctl,
)
from tests.vm.guest.wires import NETWORK, web

pytestmark = pytest.mark.vm
POLICIES = ("no", "always", "unless-stopped", "on-failure")


def test_prepare_containers_of_every_policy(service):
    installed.remove_all()
    start_together(
        *((policy, COUNTER, f"--restart={policy}") for policy in POLICIES),
        *((f"{policy}-by-hand", COUNTER, f"--restart={policy}") for policy in POLICIES),
        ("deaf", "trap '' TERM; exec sleep 1000", "--stop-timeout=1",
         "--restart=always"),
        ("paused", COUNTER, "--restart=always"),
        ("own-signal", f"trap 'echo usr1; exit 5' USR1; {BED}; while :; do {NAP}; done",
         "--stop-signal=USR1", "--restart=unless-stopped"),
    )  # fmt: skip
    ok("stop", *(f"{policy}-by-hand" for policy in POLICIES))
    ok("pause", "paused")
    ok("create", "--name", "never-started", "--restart=always", "busybox", "sleep", "1000")
    start("guest-of", "ip link show lo; exec sleep 1000", "--network=container:always",
          "--restart=always")  # fmt: skip
    wires.ensure_network()
    web("web", "--network", NETWORK, "--ip", "10.77.0.80", "--network-alias", "site",
        "-p", "8080:80", "--restart=always")  # fmt: skip
    start("peer", "sleep 1000", "--network", NETWORK, "--restart=always", "--stop-signal=KILL")
    running = [name for name in ok("ps", "--format", "{{.Names}}").split() if name]
    assert len(states(*running)) == 10
    # Somebody else's unit, which goes down at the same time and takes long about it.
    slow = "trap 'sleep 5; exit' TERM; while :; do sleep 1; done"
    run("systemd-run", "--unit=slow", "sh", "-c", slow)
    assert systemctl("is-enabled", "runengine.service") == "enabled"
