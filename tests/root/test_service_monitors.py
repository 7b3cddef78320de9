"""The process that monitors are forked from: killed, stopped, and what its children get."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.service import Service
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox"), pytest.mark.timeout(300)]

NAME = "runengine-mons"
PRIVATE_DIRTY_KB = 2200
"""Exec'd, or forked from the launcher, it is 3,400 and more; on a busy machine 1,500 to 1,700."""


def whole(directory, busybox_tar):
    """A service that is ready for everything."""
    made = Service(directory)
    try:
        made.ok("import", str(busybox_tar), "busybox")
        wait_for(lambda: zygote_of(made))
        wait_for(lambda: made.workers() == made.waiting())
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, busybox_tar):
    yield from whole(tmp_path_factory.mktemp("service"), busybox_tar)


@pytest.fixture
def service(shared):
    """For tests that kill nothing of it."""
    yield shared
    shared.clear()


@pytest.fixture
def mortal(tmp_path, busybox_tar):
    """One of the test's own: what it kills comes back as another process."""
    yield from whole(tmp_path, busybox_tar)


def zygote_of(service: Service) -> int:
    """The launcher's child that has rehearsed; 0 if there is none yet."""
    for pid in service.children():
        directory = Path(f"/proc/{pid}")
        if directory.joinpath("comm").read_text() == f"{NAME}\n" and not (
            service.state / "zygote"
        ).exists():
            return pid
    return 0


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def begin(service: Service, name: str, *options: str) -> int:
    """A container that sleeps; its monitor."""
    service.ok("run", "-d", "--name", name, "--network", "none", *options, "busybox",
               "sleep", "600")  # fmt: skip
    return int(service.init(name)["monitor_pid"])


def end(pid: int, number: int = signal.SIGKILL) -> None:
    fd = os.pidfd_open(pid)
    signal.pidfd_send_signal(fd, number)
    os.close(fd)


def test_monitors_are_its_children_and_small(service):
    monitor = begin(service, "one")
    service.ok("exec", "one", "true")
    assert parent_of(monitor) == zygote_of(service)
    rollup = Path(f"/proc/{monitor}/smaps_rollup").read_text()
    assert int(rollup.split("Private_Dirty:")[1].split()[0]) < PRIVATE_DIRTY_KB


def test_it_holds_nothing_but_its_own(service):
    directory = f"/proc/{zygote_of(service)}/fd"
    found = sorted(os.readlink(f"{directory}/{fd}").split(":")[0] for fd in os.listdir(directory))
    assert found == [*["/dev/null"] * 3, "pipe", "pipe", "socket", "socket"]


def test_each_is_known_by_its_command_line(service):
    monitor = begin(service, "one")
    container = service.ok("inspect", "-f", "{{.Id}}", "one")
    assert command_line(monitor) == f"runengine-mon {container[:12]} {service.state}"
    assert command_line(zygote_of(service)) == f"{NAME} {service.state}"


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


def test_the_launcher_keeps_nothing_of_a_monitor(service):
    begin(service, "first")
    before = service.descriptors()
    begin(service, "one")
    wait_for(lambda: service.descriptors() <= before)


def test_killed_it_is_back_and_its_monitors_go_on(mortal):
    monitor, first = begin(mortal, "one"), zygote_of(mortal)
    end(first)
    wait_for(lambda: zygote_of(mortal) not in (0, first))
    assert mortal.ok("exec", "one", "echo", "here") == "here"
    other = begin(mortal, "two")
    assert parent_of(other) == zygote_of(mortal)
    assert parent_of(monitor) not in (first, mortal.pid)


def test_an_orphan_that_is_killed_is_seen(mortal):
    """The zygote that would have told of it is gone: the launcher watches by itself."""
    monitor, first = begin(mortal, "one", "--restart", "always"), zygote_of(mortal)
    end(first)
    wait_for(lambda: zygote_of(mortal) not in (0, first))
    begun = mortal.init("one")["pid"]
    end(monitor)
    end(begun)
    wait_for(lambda: mortal.state_of("one") == "running")
    wait_for(lambda: mortal.ok("inspect", "-f", "{{.State.Pid}}", "one") not in ("0", str(begun)))


def test_killed_again_and_again_while_containers_start(mortal):
    for number in range(5):
        found = zygote_of(mortal)
        call = mortal.begin("run", "--rm", "--network", "none", "busybox", "echo", str(number))
        if found:
            end(found)
        assert call.wait(60) == 0
    wait_for(lambda: zygote_of(mortal))


def test_stopped_it_costs_a_call_a_while(mortal):
    found = zygote_of(mortal)
    end(found, signal.SIGSTOP)
    try:
        monitor = begin(mortal, "one")
    finally:
        end(found, signal.SIGCONT)
    assert parent_of(monitor) != found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_the_launcher_and_its_monitors_do_not(mortal, number):
    begin(mortal, "one")
    found = os.pidfd_open(zygote_of(mortal))
    if number == signal.SIGKILL:
        mortal.kill()
    else:
        mortal.stop()
    assert ended(found)
    assert mortal.cold("exec", "one", "echo", "here") == "here"
    mortal.begin_again()
    wait_for(lambda: zygote_of(mortal))


def ended(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    there = bool(poll.poll(30_000))
    os.close(fd)
    return there


def test_a_monitor_has_what_its_caller_has(service):
    """And the process that it was forked from keeps its own."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (777, 888))
        os.setgroups([7, 8])
        os.nice(3)
        os.sched_setaffinity(0, {0})

    command = service.command("run", "-d", "--name", "one", "--network", "none", "busybox",
                              "sleep", "600")  # fmt: skip
    subprocess.run(command, env=service.environment, preexec_fn=limited, check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    monitor, zygote = service.init("one")["monitor_pid"], zygote_of(service)
    assert parent_of(monitor) == zygote
    niceness = os.getpriority(os.PRIO_PROCESS, 0) + 3
    assert properties(monitor) == ((777, 888), b"7 8", niceness, {0})
    assert properties(zygote) == properties(service.pid)


def properties(pid: int) -> tuple:
    status = Path(f"/proc/{pid}/status").read_bytes()
    groups = status.partition(b"\nGroups:")[2].partition(b"\n")[0].strip()
    limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    return limit, groups, os.getpriority(os.PRIO_PROCESS, pid), os.sched_getaffinity(pid)


def test_it_sleeps(service):
    begin(service, "one")
    found = zygote_of(service)
    status = Path(f"/proc/{found}/status")
    wait_for(lambda: "sleeping" in status.read_text())
    before = switches(status)
    time.sleep(1)
    assert switches(status) == before


def switches(status: Path) -> list[str]:
    return [line for line in status.read_text().splitlines() if "ctxt_switches" in line]
