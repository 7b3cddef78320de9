"""Which tests run inside which guest, in which boot, in which order."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import Any, Literal, NamedTuple

REPOSITORY = Path(__file__).parents[2]
GUEST = "tests/vm/guest"
ROOT = "tests/root"

# Of the tests that need root, the quick ones that prove what only this kernel and systemd show:
# limits, exit records and clean-up under a unified hierarchy. What the guest's own tests show as
# well is not run twice.
CHOSEN = (
    f"{ROOT}/test_spec.py::test_writable_cgroups",
    f"{ROOT}/test_spec_security.py::test_an_exec_has_the_containers_protections",
    f"{ROOT}/test_limits.py::test_huge_pages",
    f"{ROOT}/test_monitor.py::test_streams_exit_record_and_notes",
    f"{ROOT}/test_netns_macvlan.py::test_modes_of_macvlan",
    f"{ROOT}/test_netns_macvlan.py::test_modes_of_ipvlan",
    f"{ROOT}/test_netns_macvlan.py::test_ipvlan_of_layer_3_needs_no_gateway",
    f"{ROOT}/test_netns_macvlan.py::test_what_fails_leaves_nothing",
    f"{ROOT}/test_netns_macvlan.py::test_detaching_is_idempotent",
    f"{ROOT}/test_netns_macvlan.py::TestParents::test_an_internal_one_leads_nowhere",
    f"{ROOT}/test_truth.py::test_a_killed_monitor_leaves_the_container_running",
)


class Boot(NamedTuple):
    """What runs in a boot of a guest, and how that ends, unless it is the last one."""

    entries: tuple[str, ...]
    """Files, all of whose tests run, or single tests."""
    ending: Literal["reboot", "crash"] = "reboot"


class Guest(NamedTuple):
    """A machine of its own, beside the others."""

    name: str
    boots: tuple[Boot, ...]


# Emulation takes one processor for each guest: what need not be in one is in two.
GUESTS = (
    Guest(
        "service",
        (
            Boot(
                (
                    f"{GUEST}/test_kernel.py",
                    f"{GUEST}/test_service.py",
                    f"{GUEST}/test_generate.py",
                    f"{GUEST}/test_before_reboot.py",
                ),
            ),
            Boot(
                (f"{GUEST}/test_after_reboot.py", f"{GUEST}/test_before_crash.py"),
                ending="crash",
            ),
            Boot((f"{GUEST}/test_after_crash.py", f"{GUEST}/test_uninstall.py")),
        ),
    ),
    Guest(
        "containers",
        (
            Boot(
                (
                    *CHOSEN,
                    f"{GUEST}/test_limits.py",
                    f"{GUEST}/test_devices.py",
                    f"{GUEST}/test_apparmor.py",
                    f"{GUEST}/test_sessions.py",
                    f"{GUEST}/test_networks.py",
                    f"{GUEST}/test_drivers.py",
                    f"{GUEST}/test_userns.py",
                    f"{GUEST}/test_systemd.py",
                    f"{GUEST}/test_checkpoints.py",
                    f"{GUEST}/test_quota.py",
                ),
            ),
        ),
    ),
)
PREPARATIONS = {
    f"{GUEST}/test_after_reboot.py": f"{GUEST}/test_before_reboot.py",
    f"{GUEST}/test_after_crash.py": f"{GUEST}/test_before_crash.py",
}
"""What a file needs to have run in the boot before."""


@functools.cache
def functions(path: str) -> tuple[str, ...]:
    """Node ids of the test functions in a file, without what they are parametrised with."""
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    return tuple(
        f"{path}::{node.name}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )


def expand(entry: str) -> tuple[str, ...]:
    """An entry of BOOTS as node ids."""
    return (entry,) if "::" in entry else functions(entry)


def contents(guest: Guest) -> list[str]:
    """Node ids of all that runs in a guest, in order."""
    return [item for boot in guest.boots for entry in boot.entries for item in expand(entry)]


def everything() -> list[str]:
    """Node ids of all guests."""
    return [item for guest in GUESTS for item in contents(guest)]


def guest_of(item: str) -> str:
    """Name of the guest that runs ``item``."""
    return next(guest.name for guest in GUESTS if item in contents(guest))


def select(guest: Guest, wanted: set[str]) -> list[dict[str, Any]]:
    """The boots that are needed for ``wanted``, each with its node ids in order."""
    for later, earlier in PREPARATIONS.items():
        if not wanted.isdisjoint(functions(later)):
            wanted = wanted | set(functions(earlier))
    boots = []
    for boot in guest.boots:
        items = [item for entry in boot.entries for item in expand(entry) if item in wanted]
        if items:
            boots.append({"items": items, "ending": boot.ending})
    return boots
