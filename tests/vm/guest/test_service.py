"""The installed service under systemd: what comes and goes with it, and what does not."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.vm_carry import MARK
from tests.vm.guest.installed import (
    COMMAND,
    COUNTER,
    NEWER,
    UNITS,
    UNTIL_GO,
    inside,
    install,
    is_active,
    ok,
    parent,
    prove_counted,
    run,
    service_pid,
    start,
    start_together,
    state,
    states,
    systemctl,
    wait_until,
)

pytestmark = pytest.mark.vm
COUNTERS = tuple(f"counter-{number}" for number in range(1, 3))


def kill_service() -> None:
    old = service_pid()
    systemctl("kill", "--signal=KILL", "runengine.service")
    # Restart=on-failure brings it back.
    wait_until(lambda: is_active("runengine.service") and service_pid() not in (0, old))


def test_install(service):
    for unit in UNITS:
        assert is_active(unit)
        assert systemctl("is-enabled", unit) == "enabled"
    run("systemd-analyze", "verify", *UNITS)
    assert ok("run", "--rm", "busybox", "echo", "hello") == "hello"


def test_only_root_reaches_the_socket(service):
    socket = Path("/run/runengine/launcher.sock")
    assert (socket.owner(), oct(socket.stat().st_mode & 0o777)) == ("root", "0o600")


def test_monitors_are_forked_by_the_service_and_leave_it(clean):
    start("one", "sleep 1000", "--stop-signal=KILL")
    monitor = parent(state("one")["Pid"])
    group = systemctl("show", "--property=ControlGroup", "--value", "runengine.service")
    members = Path(f"/sys/fs/cgroup{group}/cgroup.procs").read_text().split()
    assert str(service_pid()) in members
    assert str(monitor) not in members
    # One that had to be an interpreter of its own would show that.
    assert Path(f"/proc/{monitor}/cmdline").read_text().startswith("runengine-mon ")


def test_containers_go_on_when_the_service_is_killed(clean):
    """Nothing said is lost, no process is another one, and the ends are known.

    An upgrade restarts the service: below. That it is stopped for a while is below as well, and
    among the tests of networks: a start of it is dear.
    """
    talker = ("talker", "while read -r word; do echo got $word; done", "-i")
    ending = ("ending", f"{UNTIL_GO} 9")
    start_together(*((name, COUNTER) for name in COUNTERS), talker, ending)
    before = {name: entry["State"]["Pid"] for name, entry in states(*COUNTERS).items()}
    inside(state("ending")["Pid"], "/go").touch()
    kill_service()
    after = {name: entry["State"]["Pid"] for name, entry in states(*COUNTERS).items()}
    assert after == before
    assert ok("wait", "ending") == "9"
    talk("talker")
    ok("stop", *COUNTERS)
    for name, entry in states(*COUNTERS).items():
        assert entry["State"]["ExitCode"] == 7, name
        prove_counted(name)


def talk(name: str) -> None:
    """Attach, say a word and hear it."""
    with subprocess.Popen([COMMAND, "attach", "--sig-proxy=false", name],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:  # fmt: skip
        assert client.stdin
        assert client.stdout
        client.stdin.write(b"word\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"got word\n"
        client.kill()


def test_without_the_service_exits_are_written_down_and_policies_hold(clean):
    start_together(
        ("ending", f"{UNTIL_GO} 9"),
        ("failing", f"{UNTIL_GO} 3", "--restart=on-failure:1"),
    )
    pids = [state(name)["Pid"] for name in ("ending", "failing")]
    systemctl("stop", "runengine.socket", "runengine.service")
    for pid in pids:
        inside(pid, "/go").touch()
    wait_until(lambda: state("ending")["Status"] == "exited")
    assert state("ending")["ExitCode"] == 9
    wait_until(lambda: states("failing")["failing"]["RestartCount"] == 1
               and state("failing")["Status"] == "exited")  # fmt: skip
    assert state("failing")["ExitCode"] == 3
    assert not is_active("runengine.service")
    # A call starts the service through its socket.
    systemctl("start", "runengine.socket")
    assert not is_active("runengine.service")
    assert ok("run", "--rm", "busybox", "echo", "hello") == "hello"
    wait_until(lambda: is_active("runengine.service"))


def test_policies_hold(clean):
    start("failing", "exit 3", "--restart=on-failure:2")
    start("lasting", "sleep 1000", "--restart=unless-stopped")
    first = state("lasting")["Pid"]
    ok("kill", "--signal=SIGHUP", "lasting")
    # PID 1 of a container is deaf to what it has no handler for: end it from outside.
    run("kill", f"-{signal.SIGKILL.value}", str(first))
    wait_until(lambda: state("lasting")["Pid"] not in (0, first))
    wait_until(lambda: state("failing")["Status"] == "exited")
    assert states("failing")["failing"]["RestartCount"] == 2


def test_an_upgrade_touches_no_container(clean):
    """Another version's service takes over from this one's."""
    start(COUNTERS[0], COUNTER)
    pid, launcher = state(COUNTERS[0])["Pid"], service_pid()
    install(NEWER)
    assert service_pid() not in (0, launcher)
    assert state(COUNTERS[0])["Pid"] == pid
    assert run("grep", "-rl", MARK, "/opt/runengine", "--include=__init__.py")
    ok("stop", COUNTERS[0])
    prove_counted(COUNTERS[0])


def test_the_journal_has_no_complaints(service):
    words = ["journalctl", "-b", "--no-pager", "-o", "cat", *(f"--unit={unit}" for unit in UNITS)]
    assert "Traceback" not in run(*words)
    assert run(*words, "--priority=err") in ("", "-- No entries --")
