"""Containers that the power cut finds running."""

from __future__ import annotations

import pytest

from tests.vm.guest import installed, wires
from tests.vm.guest.installed import COUNTER, ok, run, start_together
from tests.vm.guest.wires import NETWORK, web

pytestmark = pytest.mark.vm


def test_prepare_for_a_power_cut(service):
    installed.remove_all()
    policies = ("no", "always", "unless-stopped", "on-failure")
    start_together(
        *((policy, COUNTER, f"--restart={policy}") for policy in policies),
        ("unless-stopped-by-hand", COUNTER, "--restart=unless-stopped"),
        ("broken", COUNTER, "--restart=always"),
    )
    ok("stop", "unless-stopped-by-hand")
    # On the network that the boot before has left, if there was one.
    wires.ensure_network()
    web("web", "--network", NETWORK, "--network-alias", "site", "-p", "8080:80",
        "--restart=always")  # fmt: skip
    web("gone", "--network", NETWORK, "--ip", "10.77.0.90", "-p", "9090:80")
    # What it needs is gone: the others must not suffer for that.
    folder = ok("inspect", "--format", "{{.Id}}", "broken")
    run("mv", f"/var/lib/runengine/containers/{folder}", "/var/lib/runengine-moved")
    run("sync")
