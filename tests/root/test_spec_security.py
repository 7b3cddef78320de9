"""Seccomp, privileged containers and execs as seen from inside, with real runc."""

from __future__ import annotations

import errno
import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from runengine.linux import devices
from runengine.model import exec_config
from runengine.oci_spec import ulimits, users
from runengine.oci_spec.exec import build_process
from tests.support import needs
from tests.support.box import HERE, Box, capabilities, status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("runc", "busybox")]

PROBE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char *rest;
        long number = strtol(argv[i], &rest, 0), first = 0;
        if (*rest == ':') first = strtol(rest + 1, &rest, 0);
        errno = 0;
        long result = syscall(number, first, 0, 0, 0, 0, 0);
        printf("%s=%d\n", argv[i], result < 0 ? errno : 0);
    }
    return 0;
}
"""
PROGRAM_32 = r"""
static int call(int number, int first) {
    int result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first));
    return result;
}
void _start(void) { for (;;) call(1, 42); }
"""


@pytest.fixture
def box(tmp_path: Path, busybox_tar: Path) -> Iterator[Box]:
    made = Box(tmp_path, busybox_tar)
    yield made
    made.clear()


MSEAL, KEYCTL, UNSHARE, SOCKET, CLONE3, PERSONALITY, MOUNT_SETATTR = (
    *(462, 250, 272, 41, 435, 135, 442),
)


def probe(box: Box, *calls: str, **changes: Any) -> list[int]:
    """errno of each system call, 0 where it went through."""
    if HERE.machine != "x86_64":
        pytest.skip("the numbers are those of x86-64")
    path = box.compile("probe", PROBE)
    out = box.run(path, *calls, **changes).stdout
    return [int(line.partition("=")[2]) for line in out.splitlines()]


@needs("gcc")
def test_system_calls_as_seen_from_inside(box):  # AA-02
    calls = ["9999", str(KEYCTL), f"{UNSHARE}:0x20000", f"{SOCKET}:40"]
    calls += [str(CLONE3), f"{PERSONALITY}:0xffffffff", f"{PERSONALITY}:1", str(MOUNT_SETATTR)]
    e = errno
    assert probe(box, *calls) == [
        *(e.ENOSYS, e.EPERM, e.EPERM, e.EPERM),
        *(e.ENOSYS, 0, e.EPERM, e.EPERM),
    ]
    # Allowed, but an older libseccomp has not heard of it; refused it must never be.
    assert probe(box, str(MSEAL))[0] in (0, e.ENOSYS)


@needs("gcc")
def test_a_capability_opens_its_calls(box):
    calls = [f"{UNSHARE}:0x20000", str(CLONE3), str(KEYCTL)]
    assert probe(box, *calls, CapAdd=["SYS_ADMIN"]) == [0, errno.EINVAL, errno.EPERM]


@needs("gcc")
def test_unconfined_and_privileged_have_no_filter(box):
    for changes in ({"SecurityOpt": ["seccomp=unconfined"]}, {"Privileged": True}):
        assert probe(box, f"{PERSONALITY}:1", **changes) == [0]


@needs("gcc")
def test_a_users_profile(box):
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV}],
    }
    text = json.dumps(profile)
    assert probe(box, "83:0", SecurityOpt=[f"seccomp={text}"]) == [errno.EXDEV]


@needs("gcc")
def test_a_32_bit_program_is_stopped_unless_allowed(box):
    if HERE.machine != "x86_64":
        pytest.skip("x86-64 only")
    flags = ("-m32", "-nostdlib", "-ffreestanding", "-fno-pie", "-no-pie")
    path = box.compile("old", PROGRAM_32, *flags)
    if subprocess.run([box.rootfs / path[1:]]).returncode != 42:
        pytest.skip("this kernel runs no 32-bit programs")
    assert box.run(path).returncode == 128 + 31
    assert box.run(path, SecurityOpt=["seccomp-arch=x86"]).returncode == 42
    assert box.run(path, image_architecture="386").returncode == 42



def test_privileged(box):  # AA-08
    given = devices.host_devices()
    out = box.sh(
        "cat /proc/self/status; grep ' /sys' /proc/mounts; ls /dev",
        Privileged=True,
        host_devices=given,
    )
    assert capabilities(out) == set(HERE.bounding)
    assert status(out)["Seccomp"] == "0"
    assert re.search(r"/sys sysfs rw", out)
    assert {entry.path[5:] for entry in given if entry.path.count("/") == 2} <= set(out.split())


def test_an_exec_has_the_containers_protections(box):  # F-04
    options = ["no-new-privileges"]
    spec = box.spec("/bin/sleep", "60", SecurityOpt=options, CapDrop=["MKNOD"], OomScoreAdj=99,
                    Ulimits=[ulimits.parse("nofile=50")])  # fmt: skip
    box.start(spec)
    script = "cat /proc/self/status; ulimit -n; cat /proc/self/oom_score_adj"
    process = build_process(
        spec, exec_config(["/bin/sh", "-c", script]), users.User(0, 0, (0,), "/root"), HERE
    )
    (box.base / "process.json").write_text(json.dumps(process))
    done = box.runc("exec", "--process", str(box.base / "process.json"), box.name)
    assert done.returncode == 0, done.stderr
    assert capabilities(done.stdout) == set(spec["process"]["capabilities"]["bounding"])
    assert "CAP_MKNOD" not in capabilities(done.stdout)
    assert (status(done.stdout)["Seccomp"], status(done.stdout)["NoNewPrivs"]) == ("2", "1")
    assert done.stdout.split()[-2:] == ["50", "99"]
