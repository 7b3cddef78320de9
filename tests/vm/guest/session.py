"""Runs inside the guest at each boot: this boot's tests, then a reboot or the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from runengine.linux import libc
from tests.support import vm_carry
from tests.vm.guest.reporter import say
from tests.vm.plan import GUEST

CARRY = Path(vm_carry.CARRY)
RESULTS = CARRY / vm_carry.RESULTS
TEST_TIMEOUT_S = 600
"""Of one test; emulation makes all of them slow."""


def main() -> None:
    """Do what the plan has for this boot, which the file ``boot`` counts."""
    boots = json.loads((CARRY / "plan.json").read_text())["boots"]
    counter = RESULTS / "boot"
    number = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(number + 1))
    say({"booted": number, "uptime": Path("/proc/uptime").read_text().split()[0]})
    items, ending = boots[number]["items"], boots[number]["ending"]
    # Apart, as what is installed here would be a leak to the others.
    for guests in (False, True):
        chosen = [item for item in items if item.startswith(GUEST) == guests]
        if chosen:
            run(f"{number}-{'guest' if guests else 'root'}", chosen)
    say({"ended": items})
    end(ending if number + 1 < len(boots) else "poweroff")


def end(how: str) -> None:
    """Leave this boot, as ordered or, for a crash, as a power cut does it."""
    if how == "crash":
        fd = os.open(CARRY, os.O_RDONLY)
        libc.syncfs(fd)
        Path("/proc/sysrq-trigger").write_text("b")
    if how == "poweroff":
        with (RESULTS / "journal.txt").open("wb") as file:
            subprocess.run(["journalctl", "-b", "all", "-o", "short-monotonic"], stdout=file)
    subprocess.run(["systemctl", how], check=True)


def run(name: str, items: list[str]) -> None:
    """Run these tests; the reporter tells how each went."""
    options = [
        *("-v", "--tb=short", *vm_carry.PYTEST),
        # Not /tmp, which is small there and knows no devices.
        *("--basetemp", f"/var/tmp/tests-{name}"),
        *("--junitxml", str(RESULTS / f"junit-{name}.xml")),
        *("-o", f"timeout={TEST_TIMEOUT_S}", "-o", f"faulthandler_timeout={TEST_TIMEOUT_S}"),
    ]
    subprocess.run([sys.executable, "-m", "pytest", *options, *items], check=False)


if __name__ == "__main__":
    main()
