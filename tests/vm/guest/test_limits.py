"""Limits under a unified hierarchy, with both drivers: what systemd keeps, what updates change."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from runengine import Engine
from runengine.errors import Unavailable
from runengine.paths import Paths
from tests.vm.guest.installed import run, systemctl, wait_until

pytestmark = pytest.mark.vm

MIB = 1 << 20
DRIVERS = ("cgroupfs", "systemd")
LOOK = """\
import json, sys
from runengine import Engine
from runengine.paths import Paths
with Engine.open(Paths(*sys.argv[1:3])) as engine:
    print(json.dumps(engine.containers.stats("one", one_shot=True)))
"""


def begin(cli, driver, *flags, command=("sleep", "1000")):
    """A running container named ``one``."""
    words = ["run", "-d", "--name", "one", "--network", "none", *flags, "busybox", *command]
    return cli.ok("--cgroup-manager", driver, *words)


def directory(cli):
    """The container's cgroup."""
    shown = json.loads(cli.ok("inspect", "--format", "{{json .Runengine.Cgroup}}", "one"))
    return Path(shown["unified"])


def control(cli, name):
    return (directory(cli) / name).read_text().strip()


def unit(container):
    return f"runengine-{container}.scope"


def prop(container, name):
    return systemctl("show", f"--property={name}", "--value", unit(container))


@pytest.mark.parametrize("driver", DRIVERS)
def test_every_limit_reaches_the_kernel(cli, driver):
    begin(
        cli, driver, "-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m",
        "--pids-limit", "33", "--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0",
    )  # fmt: skip
    assert control(cli, "memory.max") == str(64 * MIB)
    assert control(cli, "memory.swap.max") == str(32 * MIB)
    assert control(cli, "memory.low") == str(32 * MIB)
    assert control(cli, "pids.max") == "33"
    assert control(cli, "cpu.max") == "50000 100000"
    assert control(cli, "cpu.weight") == "20"
    assert control(cli, "cpuset.cpus") == "0"


def test_a_container_is_a_scope_in_its_slice(cli):
    container = begin(cli, "systemd", "--cgroup-parent", "some-jobs.slice", "-m", "64m")
    assert directory(cli) == Path("/sys/fs/cgroup/some.slice/some-jobs.slice", unit(container))
    assert prop(container, "ActiveState") == "active"
    assert prop(container, "Slice") == "some-jobs.slice"
    assert prop(container, "MemoryMax") == str(64 * MIB)
    pid = cli.ok("inspect", "-f", "{{.State.Pid}}", "one")
    assert control(cli, "cgroup.procs").split() == [pid]
    # The monitor records the exit: it must not go with the slice.
    monitor = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    assert "/some.slice" not in Path(f"/proc/{monitor}/cgroup").read_text()
    systemctl("stop", "some-jobs.slice")
    wait_until(lambda: cli.state_of("one") == "exited")
    assert cli.ok("inspect", "-f", "{{.State.ExitCode}}", "one") in ("137", "143")
    cli.ok("rm", "one")
    wait_until(lambda: prop(container, "LoadState") == "not-found")


def test_the_default_slice_and_what_is_no_slice(cli):
    begin(cli, "systemd")
    assert directory(cli).parent == Path("/sys/fs/cgroup/system.slice")
    done = cli.call("--cgroup-manager", "systemd", "create", "--cgroup-parent", "/jobs", "busybox")
    assert (done.code, 'named as "xxx.slice"' in done.err) == (125, True)


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_update_holds_whatever_systemd_does(cli, driver):
    container = begin(cli, driver, "-m", "64m")
    cli.ok("update", "-m", "128m", "--memory-swap", "128m", "--pids-limit", "21",
           "--cpus", "1.5", "--cpu-shares", "2048", "one")  # fmt: skip
    systemctl("daemon-reload")
    if driver == "systemd":
        assert prop(container, "MemoryMax") == str(128 * MIB)
        assert prop(container, "TasksMax") == "21"
    assert control(cli, "memory.max") == str(128 * MIB)
    assert control(cli, "memory.swap.max") == "0"
    assert control(cli, "pids.max") == "21"
    assert control(cli, "cpu.max") == "150000 100000"
    cli.ok("pause", "one")
    cli.ok("update", "--pids-limit", "-1", "one")
    assert control(cli, "pids.max") == "max"
    cli.ok("unpause", "one")
    cli.ok("exec", "one", "true")
    cli.ok("restart", "-t", "0", "one")
    assert control(cli, "memory.max") == str(128 * MIB)


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_would_kill_is_refused_and_nothing_of_it_stays(cli, driver):
    begin(cli, driver, "--pids-limit", "50")
    cli.ok("exec", "one", "sh", "-c", "head -c 30m /dev/zero > /dev/shm/x")
    done = cli.call("update", "-m", "8m", "--memory-swap", "8m", "--pids-limit", "20", "one")
    assert (done.code, "--memory" in done.err) == (1, True)
    assert (control(cli, "memory.max"), control(cli, "pids.max")) == ("max", "50")
    assert cli.state_of("one") == "running"


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_update_that_cannot_be_written_down_is_taken_back(cli, driver, monkeypatch):
    container = begin(cli, driver, "--pids-limit", "50")

    def full(_record):
        raise Unavailable("no space left")

    with Engine.open(Paths(str(cli.root), str(cli.state))) as engine:
        monkeypatch.setattr(engine.store.containers, "set_configuration", full)
        with pytest.raises(Unavailable):
            engine.containers.update("one", {"Memory": 64 * MIB, "PidsLimit": 20, "CpuShares": 7})
    systemctl("daemon-reload")
    if driver == "systemd":
        assert prop(container, "MemoryMax") == "infinity"
        assert prop(container, "TasksMax") == "50"
    assert (control(cli, "memory.max"), control(cli, "pids.max")) == ("max", "50")
    assert control(cli, "cpu.weight") in ("100", "39")  # the kernel's default, or of 1024 shares


@pytest.mark.parametrize("driver", DRIVERS)
def test_options_of_version_1_are_discarded_with_a_word(cli, driver):
    words = ["--name", "one", "--memory-swappiness", "7", "--oom-kill-disable", "-m", "64m",
             "--cpu-rt-runtime", "1000", "--kernel-memory", "64m", "busybox", "true"]  # fmt: skip
    done = cli.call("--cgroup-manager", driver, "create", *words)
    assert done.code == 0
    for flag in ("--memory-swappiness", "--oom-kill-disable", "--cpu-rt-runtime",
                 "--kernel-memory"):  # fmt: skip
        assert f"discard {flag}" in done.err


@pytest.mark.parametrize("driver", DRIVERS)
def test_rates_of_a_device(cli, driver):
    begin(cli, driver, "--device-write-bps", "/dev/vda:1m")
    device = run("stat", "-c", "%Hr:%Lr", "/dev/vda")
    assert control(cli, "io.max") == f"{device} rbps=max wbps=1048576 riops=max wiops=max"
    cli.ok("update", "--device-write-bps", "/dev/vda:2m", "--device-read-iops", "/dev/vda:50",
           "one")  # fmt: skip
    assert control(cli, "io.max") == f"{device} rbps=max wbps=2097152 riops=50 wiops=max"


@pytest.mark.parametrize("driver", DRIVERS)
def test_stats(cli, driver):
    busy = ("sh", "-c", "head -c 4m /dev/zero > /dev/shm/x; while :; do :; done")
    begin(cli, driver, "-m", "64m", "--cpu-period", "100000", "--cpu-quota", "5000", command=busy)

    def look():
        words = [sys.executable, "-c", LOOK, str(cli.root), str(cli.state)]
        return json.loads(run(*words, env=cli.environment))

    wait_until(lambda: look()["cpu_stats"]["throttling_data"]["throttled_periods"] >= 3)
    found = look()
    assert found["memory_stats"]["limit"] == 64 * MIB
    assert found["memory_stats"]["usage"] >= found["memory_stats"]["stats"]["shmem"] >= 4 * MIB
    assert found["pids_stats"]["current"] == 1
    for section in ("cpu_stats", "memory_stats", "blkio_stats"):
        assert set(found[section]["psi"]) <= {"some", "full"}
        assert found[section]["psi"]
    assert cli.ok("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}") == "one 1"


@pytest.mark.parametrize("driver", DRIVERS)
def test_want_of_memory_is_told_apart_and_nothing_is_left(cli, driver):
    hungry = ("sh", "-c", "x=x; while :; do x=$x$x; done")
    container = begin(cli, driver, "-m", "16m", command=hungry)
    assert cli.ok("wait", "one") == "137"
    assert cli.ok("inspect", "-f", "{{.State.OOMKilled}}", "one") == "true"
    where = directory(cli)
    cli.ok("rm", "one")
    assert not where.exists()
    if driver == "systemd":
        wait_until(lambda: prop(container, "LoadState") == "not-found")
