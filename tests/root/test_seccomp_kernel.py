"""The default filter against the running kernel: every system call of its table, tried.

A call is made with arguments that no call takes (addresses that are not there, descriptors that
are not open), so that what gets through the filter is refused by the kernel, with another number.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runengine.oci_spec import capabilities, seccomp
from tests.support import needs, probes
from tests.support.box import HERE, Box, status

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
pytestmark = [
    pytest.mark.root,
    needs("runc", "busybox", "gcc"),
    pytest.mark.skipif(
        HERE.machine != "x86_64" or not HEADER.exists(),
        reason="needs x86-64 and its kernel headers (linux-libc-dev)",
    ),
]

NEWER_THAN_LIBSECCOMP = 448
"""From here on an older libseccomp may not know a call, which then fails with ENOSYS."""
ENDLESS = {"pause", "fork", "vfork", "clone", "rt_sigreturn", "sync"}
"""Not to be tried without need: they do not return, return twice, or write all disks."""
UNCONFINED = ["seccomp=unconfined"]
LEFT = HERE.bounding


def table() -> dict[str, int]:
    """Number of every system call."""
    words = (line.split() for line in HEADER.read_text().splitlines())
    return {w[1][5:]: int(w[2]) for w in words if len(w) == 3 and w[1].startswith("__NR_")}


def rules(*more: str) -> dict[str, list[dict]]:
    """What the filter says of each call, for a container with these capabilities added."""
    own = capabilities.resolve(more, (), privileged=False, bounding=LEFT)
    target = seccomp.Target(HERE.machine, HERE.version, frozenset(own))
    found: dict[str, list[dict]] = {}
    for entry in seccomp.default_profile(target)["syscalls"]:
        for name in entry["names"]:
            found.setdefault(name, []).append(entry)
    return found


@pytest.fixture
def box(tmp_path: Path, busybox_tar: Path) -> Iterator[Box]:
    made = Box(tmp_path, busybox_tar)
    probes.build(made.rootfs / "bin")
    yield made
    made.clear()


def attempt(box: Box, calls: list[str], **host) -> list[int]:
    """errno of each call in a container; -1 where the call ended the process."""
    done = box.run("/bin/syscalls", *calls, **host)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def outcomes(box: Box, names: list[str], **host) -> dict[str, int]:
    numbers = table()
    return dict(zip(names, attempt(box, [f"{numbers[n]}!" for n in names], **host), strict=True))


def test_every_refused_call_fails_with_eperm_and_by_the_filter(box):
    numbers, allowed = table(), rules()
    refused = sorted(name for name in numbers if name not in allowed)
    assert len(refused) > 60
    seen = outcomes(box, refused)
    for name, number in seen.items():
        unknown = number == errno.ENOSYS and numbers[name] >= NEWER_THAN_LIBSECCOMP
        assert number == errno.EPERM or unknown, name
    # The kernel would not refuse them to a privileged process.
    without = outcomes(box, refused, Privileged=True)
    assert [name for name, number in without.items() if number == errno.EPERM] == []


def test_every_allowed_call_is_as_without_a_filter(box):
    numbers = table()
    allowed = sorted(
        name
        for name, entries in rules().items()
        if name in numbers and name not in ENDLESS and "args" not in entries[0]
        and entries[0]["action"] == seccomp.ALLOW
    )  # fmt: skip
    assert len(allowed) > 250
    seen = outcomes(box, allowed)
    without = outcomes(box, allowed, SecurityOpt=UNCONFINED)
    for name in allowed:
        if numbers[name] >= NEWER_THAN_LIBSECCOMP and seen[name] == errno.ENOSYS:
            continue
        assert seen[name] == without[name], name


@pytest.mark.parametrize(
    "capability",
    sorted({group.get("cap", "") for group in seccomp.groups()} - {"", *capabilities.DEFAULT}),
)
def test_calls_that_come_with_a_capability(box, capability: str):
    if capability not in LEFT:
        pytest.skip(f"this host has no {capability}")
    numbers, before, after = table(), rules(), rules(capability)
    more = sorted(
        name
        for name in after
        if name in numbers and name not in ENDLESS and "args" not in after[name][0]
        and after[name][0]["action"] == seccomp.ALLOW
        and (name not in before or before[name][0]["action"] != seccomp.ALLOW)
    )  # fmt: skip
    assert more
    seen = outcomes(box, more, CapAdd=[capability])
    without = outcomes(box, more, CapAdd=[capability], SecurityOpt=UNCONFINED)
    for name in more:
        if not (seen[name] == errno.ENOSYS and numbers[name] >= NEWER_THAN_LIBSECCOMP):
            assert seen[name] == without[name], name


def test_a_capability_of_the_default_set_that_is_dropped_takes_its_calls(box):
    assert outcomes(box, ["chroot"]) == {"chroot": errno.EFAULT}
    assert outcomes(box, ["chroot"], CapDrop=["SYS_CHROOT"]) == {"chroot": errno.EPERM}


NEW = {
    "time": 0x80, "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000,
    "user": 0x10000000, "pid": 0x20000000, "network": 0x40000000,
}  # fmt: skip


def test_arguments(box):
    numbers = table()
    # The lowest byte is the signal at the end, so clone(2) knows no time namespaces.
    clone = [f"{numbers['clone']}:{flag | 17}" for kind, flag in NEW.items() if kind != "time"]
    assert set(attempt(box, clone)) == {errno.EPERM}
    assert attempt(box, [f"{numbers['clone']}:17", f"{numbers['clone3']}!"]) == [0, errno.ENOSYS]
    lifted = attempt(box, clone, CapAdd=["SYS_ADMIN"])
    assert set(lifted) == {0}
    families = [f"{numbers['socket']}:{family}:2" for family in (1, 2, 10, 16)]
    assert attempt(box, families)[:3] == [0, 0, 0]
    vsock = [f"{numbers['socket']}:40:1"]
    assert attempt(box, vsock) == [errno.EPERM]
    assert attempt(box, vsock, SecurityOpt=UNCONFINED) != [errno.EPERM]
    personality = [f"{numbers['personality']}:{value}" for value in (0, 8, 0x20000, 0x20008)]
    assert attempt(box, personality) == [0] * 4
    odd = [f"{numbers['personality']}:{value}" for value in (1, 0x40000, 0x400000)]
    assert attempt(box, odd) == [errno.EPERM] * 3
    assert attempt(box, odd, SecurityOpt=UNCONFINED) == [0] * 3


def test_numbers_that_nobody_knows_and_other_tables(box):
    x32 = 0x40000000 + table()["getpid"]
    assert attempt(box, ["9999", str(x32)]) == [errno.ENOSYS, -1]
    assert attempt(box, ["9999"], SecurityOpt=UNCONFINED) == [errno.ENOSYS]


def test_the_filter_slows_nobody_down(box):
    """Mitigations are as for a process without one (SPEC_ALLOW, or a kernel from 5.16 on)."""
    names = ("Speculation_Store_Bypass", "SpeculationIndirectBranch")
    here = status(Path("/proc/self/status").read_text())
    inside = status(box.sh("cat /proc/self/status"))
    assert inside["Seccomp"] == "2"
    assert [inside.get(name) for name in names] == [here.get(name) for name in names]
