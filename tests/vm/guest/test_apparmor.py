"""The default AppArmor profile, the operator's own, and none; denials show in the kernel's log."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from runengine.oci_spec import apparmor
from tests.vm.guest.installed import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command_line import CommandLine

pytestmark = pytest.mark.vm

CURRENT = ("cat", "/proc/self/attr/current")
CONFINED = f"{apparmor.PROFILE_NAME} (enforce)"
UNCONFINED = ("--security-opt", "apparmor=unconfined")
MINE = "runengine-test-mine"


def parser(*words: str, text: str = "") -> None:
    subprocess.run(["apparmor_parser", "--skip-cache", *words], input=text, text=True, check=True)


@pytest.fixture
def mine() -> Iterator[str]:
    """A profile of the operator's: the default one without files in /var."""
    text = apparmor.profile(MINE).replace("  file,\n", "  file,\n  deny /var/** w,\n")
    parser("--replace", text=text)
    yield MINE
    parser("--remove", text=text)


def log() -> str:
    return subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout


def denials(operation: str) -> int:
    """How often the kernel has said so."""
    marks = ('apparmor="DENIED"', f'operation="{operation}"', f'profile="{apparmor.PROFILE_NAME}"')
    return sum(all(mark in line for mark in marks) for line in log().splitlines())


def test_who_is_confined(cli: CommandLine):
    cli.ok("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    shown = cli.ok("exec", "one", "sh", "-c", "cat /proc/1/attr/current /proc/self/attr/current")
    assert shown.splitlines() == [CONFINED] * 2
    for flags in (("--privileged",), UNCONFINED):
        assert cli.ok("run", "--rm", *flags, "busybox", *CURRENT) == "unconfined"


def test_mounts_are_denied_and_logged(cli: CommandLine):
    words = ("--cap-add", "SYS_ADMIN", "busybox", "mount", "-t", "tmpfs", "x", "/tmp")
    before = denials("mount")
    done = cli.call("run", "--rm", *words)
    assert done.code != 0
    assert "denied" in done.err
    wait_until(lambda: denials("mount") > before)
    cli.ok("run", "--rm", *UNCONFINED, *words)


def test_settings_of_the_host_are_denied_without_their_read_only_mounts(cli: CommandLine):
    flags = ("--security-opt", "systempaths=unconfined")
    script = "( : >>/proc/sys/kernel/core_pattern ) && echo through; cat /proc/sys/kernel/pid_max"
    done = cli.call("run", "--rm", *flags, "busybox", "sh", "-c", script)
    assert "Permission denied" in done.err
    assert "through" not in done.out
    assert done.out.strip().isdigit()
    through = cli.ok("run", "--rm", *flags, *UNCONFINED, "busybox", "sh", "-c", script)
    assert through.startswith("through")


def test_signals_reach_in_and_not_out(cli: CommandLine):
    words = ("--pid", "host", "busybox", "kill", "-CONT", str(os.getpid()))
    done = cli.call("run", "--rm", *words)
    assert done.code != 0
    cli.ok("run", "--rm", *UNCONFINED, *words)
    script = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    cli.ok("run", "-d", "--name", "one", "busybox", "sh", "-c", script)
    cli.ok("stop", "one")
    assert cli.ok("inspect", "--format", "{{.State.ExitCode}}", "one") == "7"


def test_a_profile_of_the_operators(cli: CommandLine, mine: str):
    flags = ("--security-opt", f"apparmor={mine}")
    assert cli.ok("run", "--rm", *flags, "busybox", *CURRENT) == f"{mine} (enforce)"
    touch = ("busybox", "touch", "/var/x")
    assert cli.call("run", "--rm", *flags, *touch).code != 0
    cli.ok("run", "--rm", *touch)


def test_a_profile_that_is_not_there(cli: CommandLine):
    done = cli.call("run", "--rm", "--security-opt", "apparmor=nosuch", "busybox", "true")
    assert done.code == 125
    assert "nosuch" in done.err
    assert cli.names() == []


def test_the_default_one_is_kept_loaded(cli: CommandLine):
    assert cli.ok("run", "--rm", "busybox", *CURRENT) == CONFINED
    parser("--remove", text=apparmor.profile())
    assert cli.ok("run", "--rm", "busybox", *CURRENT) == CONFINED
