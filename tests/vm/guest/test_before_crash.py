"""Containers that the power cut finds running."""

from __future__ import annotations

import pytest

from tests.vm.guest import installed
from tests.vm.guest.installed import COUNTER, ok, run, start

pytestmark = pytest.mark.vm


def test_prepare_for_a_power_cut(service):
    installed.remove_all()
    for policy in ("no", "always", "unless-stopped", "on-failure"):
        start(policy, COUNTER, f"--restart={policy}")
    start("unless-stopped-by-hand", COUNTER, "--restart=unless-stopped")
    ok("stop", "unless-stopped-by-hand")
    start("broken", COUNTER, "--restart=always")
    # What it needs is gone: the others must not suffer for that.
    folder = ok("inspect", "--format", "{{.Id}}", "broken")
    run("mv", f"/var/lib/runengine/containers/{folder}", "/var/lib/runengine-moved")
    run("sync")
