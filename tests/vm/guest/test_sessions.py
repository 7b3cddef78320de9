"""Containers and monitors outlive the session, scope or service that started them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest.installed import BED, NAP, parent, state

if TYPE_CHECKING:
    from tests.support.command_line import CommandLine

pytestmark = pytest.mark.vm
SCRIPT = f"trap 'echo bye; exit 7' TERM; echo hello; {BED}; while :; do {NAP}; done"


def systemctl(*words: str, check: bool = True) -> str:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done
    return done.stdout.strip()


def cold(cli: CommandLine) -> dict[str, str]:
    """The environment in which a command does its work by itself, in the caller's session."""
    return {**cli.environment, "RUNENGINE_LAUNCHER": "off"}


def run_line(cli: CommandLine, name: str, *flags: str) -> list[str]:
    return cli.command("run", *flags, "--name", name, "busybox", "sh", "-c", SCRIPT)


def variables(cli: CommandLine) -> list[str]:
    return [f"--setenv={name}={value}" for name, value in cold(cli).items()
            if name.startswith("RUNENGINE_")]  # fmt: skip


def monitors_pid(name: str) -> int:
    """The parent of the container's init."""
    return parent(state(name)["Pid"])


def wait_until(condition) -> None:
    while not condition():
        time.sleep(0.2)


def prove_it_lives(cli, name: str, old: int) -> None:
    """The container runs, its monitor is the same, and the end is told in full."""
    assert state(name)["Status"] == "running"
    assert monitors_pid(name) == old
    assert Path(f"/proc/{old}/comm").read_text().startswith("runengine-mon")
    cli.ok("stop", name)
    assert state(name)["ExitCode"] == 7
    assert cli.ok("logs", name) == "hello\nbye"


def test_out_of_a_scope(cli):
    subprocess.run(["systemd-run", "--scope", "--quiet", "--unit=caller",
                    *run_line(cli, "scoped", "-d")], env=cold(cli), check=True)  # fmt: skip
    monitor = monitors_pid("scoped")
    assert "caller" not in Path(f"/proc/{monitor}/cgroup").read_text()
    # With nothing left in it, systemd has dropped the scope; if not, this would kill what is.
    systemctl("kill", "--signal=KILL", "caller.scope", check=False)
    systemctl("stop", "caller.scope", check=False)
    prove_it_lives(cli, "scoped", monitor)


def test_out_of_a_service_that_ends(cli):
    subprocess.run(["systemd-run", "--wait", "--quiet", "--unit=starter", *variables(cli),
                    *run_line(cli, "served", "-d")], check=True)  # fmt: skip
    prove_it_lives(cli, "served", monitors_pid("served"))


def test_an_attached_caller_is_killed_with_its_scope(cli):
    command = ["systemd-run", "--scope", "--quiet", "--unit=watcher", *run_line(cli, "watched")]
    with subprocess.Popen(command, env=cold(cli), stdout=subprocess.PIPE) as caller:
        assert caller.stdout
        assert caller.stdout.readline() == b"hello\n"
        monitor = monitors_pid("watched")
        systemctl("kill", "--signal=KILL", "watcher.scope")
        assert caller.wait(60) == -9
    prove_it_lives(cli, "watched", monitor)


def test_out_of_a_login(cli, tmp_path):
    """A session as sshd or login make it, by PAM, ended with all that is in it."""
    done = tmp_path / "done"
    line = tmp_path / "line"
    line.write_text(json.dumps(run_line(cli, "logged-in", "-d")))
    script = (
        "import json, os, subprocess, sys, time\n"
        "subprocess.run(json.load(open(sys.argv[1])), check=True)\n"
        "open(sys.argv[2], 'w').write(open('/proc/self/cgroup').read())\n"
        "time.sleep(1000)\n"
    )
    subprocess.run(["systemd-run", "--quiet", "--unit=login", "--property=PAMName=login",
                    # Without a systemd of the user's own, which takes long to start.
                    "--setenv=XDG_SESSION_CLASS=background-light",
                    "--property=User=root", *variables(cli),
                    sys.executable, "-c", script, line, done], check=True)  # fmt: skip
    wait_until(lambda: done.exists() and done.read_text())
    session = done.read_text().rpartition("/session-")[2].partition(".scope")[0]
    monitor = monitors_pid("logged-in")
    subprocess.run(["loginctl", "terminate-session", session], check=True)
    wait_until(lambda: systemctl("is-active", "login.service", check=False) != "active")
    prove_it_lives(cli, "logged-in", monitor)


def test_groups_are_beside_each_other_and_systemd_leaves_them_alone(cli):
    cli.ok("run", "-d", "--name", "one", "--memory", "64m", "--pids-limit", "50",
           "busybox", "sleep", "1000")  # fmt: skip
    pid = state("one")["Pid"]
    inside = Path(f"/proc/{pid}/cgroup").read_text().strip()
    monitor = Path(f"/proc/{parent(pid)}/cgroup").read_text().strip()
    assert inside.rpartition("/")[0] == monitor.rpartition("/")[0]
    assert ".slice" not in monitor
    group = Path("/sys/fs/cgroup" + inside[3:])
    systemctl("daemon-reload")
    subprocess.run(["systemd-run", "--wait", "--quiet", "--property=CPUWeight=50", "true"],
                   check=True)  # fmt: skip
    assert (group / "memory.max").read_text() == f"{64 << 20}\n"
    assert (group / "pids.max").read_text() == "50\n"
    assert f"{pid}\n" in (group / "cgroup.procs").read_text()
