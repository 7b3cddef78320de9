"""Limits under a unified hierarchy, with both drivers: what systemd keeps, what updates change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runengine import Engine
from runengine.errors import EngineError, InvalidParameter, Unavailable
from runengine.model import container_config, host_config
from tests.support.documents import changed
from tests.support.engines import IMAGE, Runner, shared_roots
from tests.vm.guest.installed import run, systemctl, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["shared_roots"]

pytestmark = pytest.mark.vm

MIB = 1 << 20
DISK = "/dev/vda"


class Box(Runner):
    """Containers of one driver's."""

    def begin(self, *command: str, **host) -> str:
        """A running one."""
        return self.start(*(command or ("sleep", "1000")), **host)

    def directory(self, container: str) -> Path:
        """Its cgroup."""
        return Path(self.engine.containers.get(container).details["cgroup"]["unified"])

    def control(self, container: str, name: str) -> str:
        """A control file of it."""
        return (self.directory(container) / name).read_text().strip()

    def state(self, container: str):
        """Its State."""
        return self.engine.containers.inspect(container)["State"]


@pytest.fixture
def boxes(shared_roots) -> Iterator:
    """Makes a Box for a driver; whatever is in them goes."""
    opened = []

    def box(driver: str) -> Box:
        opened.append(Engine.open(shared_roots, cgroup_driver=driver))
        return Box(opened[-1])

    yield box
    for engine in opened:
        for entry in engine.containers.list(all=True):
            engine.containers.remove(entry["Id"], force=True)
        engine.close()


def unit(container: str) -> str:
    return f"runengine-{container}.scope"


def prop(container: str, name: str) -> str:
    return systemctl("show", f"--property={name}", "--value", unit(container))


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_every_limit_reaches_the_kernel_and_updates_stay(boxes, driver):
    box = boxes(driver)
    container = box.begin(
        Memory=64 * MIB, MemorySwap=160 * MIB, MemoryReservation=32 * MIB, PidsLimit=33,
        NanoCpus=500_000_000, CpuShares=512, CpusetCpus="0",
        BlkioDeviceWriteBps=[{"Path": DISK, "Rate": MIB}],
    )  # fmt: skip
    device = run("stat", "-c", "%Hr:%Lr", DISK)
    for name, value in (
        ("memory.max", str(64 * MIB)),
        ("memory.swap.max", str(96 * MIB)),
        ("memory.low", str(32 * MIB)),
        ("pids.max", "33"),
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "20"),
        ("cpuset.cpus", "0"),
        ("io.max", f"{device} rbps=max wbps={MIB} riops=max wiops=max"),
    ):
        assert box.control(container, name) == value
    box.engine.containers.update(
        container,
        {"Memory": 128 * MIB, "MemorySwap": 256 * MIB, "PidsLimit": 21, "NanoCpus": 750_000_000,
         "BlkioDeviceReadIOps": [{"Path": DISK, "Rate": 50}]},
    )  # fmt: skip
    systemctl("daemon-reload")
    if driver == "systemd":
        assert prop(container, "MemoryMax") == str(128 * MIB)
        assert prop(container, "TasksMax") == "21"
    for name, value in (
        ("memory.max", str(128 * MIB)),
        ("memory.swap.max", str(128 * MIB)),
        ("pids.max", "21"),
        ("cpu.max", "75000 100000"),
        ("io.max", f"{device} rbps=max wbps={MIB} riops=50 wiops=max"),
    ):
        assert box.control(container, name) == value
    box.engine.containers.pause(container)
    box.engine.containers.update(container, {"PidsLimit": -1})
    assert box.control(container, "pids.max") == "max"
    box.engine.containers.unpause(container)
    box.engine.containers.restart(container, timeout_s=0)
    assert box.control(container, "memory.max") == str(128 * MIB)
    assert box.control(container, "pids.max") == "max"


def test_a_container_is_a_scope_in_its_slice(boxes):
    box = boxes("systemd")
    # One that ends when it is told to: systemd's patience is 90 seconds.
    script = "trap 'exit 143' TERM; while :; do sleep 0.5; done"
    container = box.begin("sh", "-c", script, CgroupParent="some-jobs.slice", Memory=64 * MIB)
    expected = Path("/sys/fs/cgroup/some.slice/some-jobs.slice", unit(container))
    assert box.directory(container) == expected
    assert prop(container, "ActiveState") == "active"
    assert prop(container, "Slice") == "some-jobs.slice"
    assert prop(container, "MemoryMax") == str(64 * MIB)
    pid = box.state(container)["Pid"]
    assert box.control(container, "cgroup.procs").split()[0] == str(pid)
    # The monitor records the exit: it must not go with the slice.
    monitor = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    assert "/some.slice" not in Path(f"/proc/{monitor}/cgroup").read_text()
    systemctl("stop", "some-jobs.slice")
    wait_until(lambda: box.state(container)["Status"] == "exited")
    assert box.state(container)["ExitCode"] == 143
    box.engine.containers.start(container)
    assert prop(container, "ActiveState") == "active"
    box.engine.containers.remove(container, force=True)
    wait_until(lambda: prop(container, "LoadState") == "not-found")


def test_the_default_slice_and_what_is_no_slice(boxes):
    box = boxes("systemd")
    container = box.create("true")
    assert box.directory(container).parent == Path("/sys/fs/cgroup/system.slice")
    with pytest.raises(InvalidParameter, match="valid slice named as"):
        box.create("true", CgroupParent="/jobs")


def test_what_would_kill_is_refused_and_the_old_limits_hold(boxes):
    box = boxes("cgroupfs")
    container = box.begin(PidsLimit=30)
    box.exec(container, "sh", "-c", "head -c 30m /dev/zero > /dev/shm/x")
    wanted = {"Memory": 8 * MIB, "MemorySwap": 8 * MIB, "PidsLimit": 20}
    with pytest.raises(EngineError, match=r"--memory 8388608: .* cannot be reclaimed"):
        box.engine.containers.update(container, wanted)
    assert box.control(container, "memory.max") == "max"
    assert box.control(container, "pids.max") == "30"
    code, _, told = box.exec(container, "sh", "-c", "for n in $(seq 40); do sleep 99 & done")
    assert (code, b"fork" in told) == (2, True)
    assert box.state(container)["Status"] == "running"


def test_a_driver_stays_and_what_cannot_be_written_down_is_taken_back(boxes, monkeypatch):
    container = boxes("systemd").begin(PidsLimit=20)
    box = boxes("cgroupfs")
    box.engine.containers.update(container, {"PidsLimit": 50})
    assert prop(container, "TasksMax") == "50"
    box.engine.containers.restart(container, timeout_s=0)
    assert prop(container, "TasksMax") == "50"

    def full(_record):
        raise Unavailable("no space left")

    monkeypatch.setattr(box.engine.store.containers, "set_configuration", full)
    with pytest.raises(Unavailable):
        box.engine.containers.update(
            container, {"Memory": 64 * MIB, "PidsLimit": 20, "CpuShares": 7}
        )
    systemctl("daemon-reload")
    assert prop(container, "MemoryMax") == "infinity"
    assert prop(container, "TasksMax") == "50"
    assert box.control(container, "memory.max") == "max"
    assert box.control(container, "pids.max") == "50"
    # The kernel's default, or what systemd makes of the runtime's.
    assert box.control(container, "cpu.weight") in ("100", "39")


def test_options_of_version_1_are_discarded_with_a_word(boxes):
    box = boxes("cgroupfs")
    wanted = {"MemorySwappiness": 7, "OomKillDisable": True, "Memory": 64 * MIB,
              "CpuRealtimeRuntime": 1000}  # fmt: skip
    made = box.engine.containers.create(
        "v1", container_config(IMAGE), changed(host_config(), wanted)
    )
    discarded = {text.rpartition("discard ")[2] for text in made.warnings}
    assert discarded == {"--memory-swappiness", "--oom-kill-disable", "--cpu-rt-runtime"}


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_what_is_used_and_how_it_ends_for_want_of_memory(boxes, driver):
    box = boxes(driver)
    script = """
    head -c 4m /dev/zero > /dev/shm/x
    while [ ! -e /go ]; do :; done
    x=x; while :; do x=$x$x; done
    """
    container = box.begin("sh", "-c", script, Memory=32 * MIB, CpuQuota=5000, CpuPeriod=100_000)

    def look():
        return box.engine.containers.stats(container, one_shot=True)

    wait_until(lambda: look()["cpu_stats"]["throttling_data"]["throttled_periods"] >= 3)
    wait_until(lambda: look()["memory_stats"]["stats"]["shmem"] >= 4 * MIB)
    wait_until(lambda: look()["pids_stats"]["current"] == 1)  # without the head
    found = look()
    assert found["memory_stats"]["limit"] == 32 * MIB
    assert found["memory_stats"]["usage"] >= 4 * MIB
    for section in ("cpu_stats", "memory_stats", "blkio_stats"):
        assert "some" in found[section]["psi"]
    box.engine.containers.update(container, {"CpuQuota": -1})
    Path(f"/proc/{box.state(container)['Pid']}/root/go").touch()
    assert box.engine.containers.wait(container).exit_code == 137
    assert box.state(container)["OOMKilled"]
    where = box.directory(container)
    box.engine.containers.remove(container)
    assert not where.exists()
    if driver == "systemd":
        wait_until(lambda: prop(container, "LoadState") == "not-found")
