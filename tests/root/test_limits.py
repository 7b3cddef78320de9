"""Limits as the runtime and this kernel take them: by property, and what each flag comes to."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runengine.cgroups import features, layout, machine
from runengine.errors import Conflict, InvalidParameter
from tests.support.capabilities import needs

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]

MIB = 1 << 20
CPUS = sorted(os.sched_getaffinity(0))

REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "Memory": st.integers(8 * MIB, 1 << 40),
        "MemoryReservation": st.integers(4 * MIB, 8 * MIB),
        "MemorySwappiness": st.integers(-1, 100),
        "PidsLimit": st.integers(-1, 1 << 20).filter(lambda limit: not 0 < limit < 20),
        "CpuShares": st.integers(2, 262_144),
        "CpuPeriod": st.integers(1000, 1_000_000),
        "CpuQuota": st.one_of(st.just(-1), st.integers(1000, 1_000_000)),
        "CpusetCpus": st.sampled_from([str(cpu) for cpu in CPUS]),
        "CpusetMems": st.just("0"),
        "BlkioWeight": st.integers(10, 1000),
        "OomScoreAdj": st.integers(0, 1000),
    },
)


@settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(REQUESTS, REQUESTS)
def test_what_the_engine_takes_the_runtime_takes(runner, engine, first, second):
    container = runner.start("sleep", "1000", **first)
    second.pop("OomScoreAdj", None)
    second.pop("MemorySwappiness", None)
    wanted = {key: value for key, value in second.items() if key != "Memory"}
    engine.containers.update(container, {**wanted, **memory_of(second)})
    code, _, _ = runner.exec(container, "true")
    assert code == 0
    engine.containers.remove(container, force=True)


def memory_of(request):
    """A memory limit together with swap, since the stored one may be in its way."""
    if "Memory" not in request:
        return {}
    return {"Memory": request["Memory"], "MemorySwap": -1}


@pytest.mark.skipif(not features.probe().hugetlb, reason="no hugetlb controller to limit with")
def test_huge_pages(runner, engine):
    (size, *_) = sorted(machine.huge_pages())
    limit = {"PageSize": size, "Limit": 1 << 30}
    container = runner.start("sleep", "1000", HugetlbLimits=[limit])
    names = (f"hugetlb.{size}.max", f"hugetlb.{size}.limit_in_bytes")
    v2 = layout.detect().version == 2
    found = control(engine, container, *(("unified", names[0]) if v2 else ("hugetlb", names[1])))
    assert found == [str(1 << 30)]


def control(engine, container, controller, name):
    cgroup = engine.containers.get(container).details["cgroup"]
    with open(f"{cgroup[controller]}/{name}") as file:
        return file.read().split()


@needs("cgroup1")
def test_values_of_version_1(runner, engine):
    container = runner.start(
        "sleep",
        "1000",
        Memory=64 * MIB,
        MemorySwappiness=7,
        OomKillDisable=True,
        CpuPeriod=50_000,
        CpuQuota=25_000,
        BlkioWeight=300,
    )
    for controller, name, value in (
        ("memory", "memory.limit_in_bytes", [str(64 * MIB)]),
        ("memory", "memory.memsw.limit_in_bytes", [str(128 * MIB)]),
        ("memory", "memory.swappiness", ["7"]),
        ("memory", "memory.oom_control", ["oom_kill_disable", "1"]),
        ("cpu", "cpu.cfs_period_us", ["50000"]),
        ("cpu", "cpu.cfs_quota_us", ["25000"]),
    ):
        assert control(engine, container, controller, name)[: len(value)] == value
    weight = "blkio.bfq.weight"
    directory = engine.containers.get(container).details["cgroup"]["blkio"]
    if os.path.exists(f"{directory}/{weight}"):
        assert control(engine, container, "blkio", weight) == ["300"]


@needs("cgroup1")
def test_real_time_is_given_by_the_parents(runner, engine):
    root = layout.detect().mounts["cpu"]
    if not os.path.exists(f"{root}/cpu.rt_runtime_us"):
        pytest.skip("no real-time groups in this kernel")
    container = runner.start("sleep", "1000", CpuRealtimeRuntime=2000, CpuRealtimePeriod=500_000)
    assert control(engine, container, "cpu", "cpu.rt_runtime_us") == ["2000"]
    assert control(engine, container, "cpu", "cpu.rt_period_us") == ["500000"]
    with pytest.raises(Conflict, match="--cpu-rt-runtime 999000"):
        runner.start("sleep", "1000", CpuRealtimeRuntime=999_000)


def test_processors_and_memory_nodes_that_are_not_there(runner):
    with pytest.raises(InvalidParameter, match="Requested CPUs are not available"):
        runner.create("true", CpusetCpus=str(CPUS[-1] + 1000))
    with pytest.raises(InvalidParameter, match="Requested memory nodes are not available"):
        runner.create("true", CpusetMems="1000")


def test_a_parent_of_ones_own(runner, engine):
    parent = f"runengine-test-{os.getpid()}/below"
    container = runner.start("sleep", "1000", CgroupParent=f"/x/../{parent}")
    cgroup = engine.containers.get(container).details["cgroup"]
    try:
        assert {path.rpartition(f"/{parent}/")[2] for path in cgroup.values()} == {container}
        assert control(engine, container, next(iter(cgroup)), "cgroup.procs")
    finally:
        engine.containers.remove(container, force=True)
        layout.remove(layout.cgroup_dirs(f"/{parent.partition('/')[0]}"))


@pytest.mark.parametrize(("mode", "private"), [("private", True), ("host", False)])
def test_the_cgroup_namespace(runner, engine, mode, private):
    container = runner.start("sleep", "1000", CgroupnsMode=mode)
    _, ours, _ = runner.exec(container, "readlink", "/proc/1/ns/cgroup")
    assert (ours.decode().strip() != os.readlink("/proc/self/ns/cgroup")) is private


@pytest.mark.skipif(os.path.isdir("/run/systemd/system"), reason="systemd runs this host")
def test_the_driver_systemd_needs_systemd(cli):
    words = ["create", "--name", "one", "busybox", "true"]
    done = cli.call("--cgroup-manager", "systemd", *words)
    assert (done.code, "needs systemd as the host's init" in done.err) == (125, True)
    done = cli.call("--cgroup-manager", "nosuch", *words)
    assert (done.code, "one of cgroupfs, systemd" in done.err) == (125, True)
    assert cli.names() == []
    cli.ok("--cgroup-manager", "cgroupfs", *words)
    assert "cgroupfs" in cli.ok("info", "-f", "{{.CgroupDriver}}")
