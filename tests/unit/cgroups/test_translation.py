"""From flags to the runtime's resources, by property: whatever is asked for, on any kernel."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runengine.cgroups import limits
from runengine.cgroups.features import Features
from runengine.cgroups.machine import Machine
from runengine.errors import InvalidParameter
from runengine.oci_spec import runtime
from runengine.oci_spec.opts import resources
from tests.support import specs

MIB = 1 << 20
MACHINE = Machine(8 << 30, frozenset(range(4)), frozenset({0}))
DEVICES = {"/dev/sda": (8, 0), "/dev/nvme0n1": (259, 300_000)}

BYTES = st.one_of(st.just(0), st.integers(-2, 16 * MIB), st.integers(4 * MIB, 1 << 40))
RATES = st.lists(
    st.fixed_dictionaries({"Path": st.sampled_from(sorted(DEVICES)),
                           "Rate": st.integers(-1, 1 << 34)}), max_size=2)  # fmt: skip
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "Memory": BYTES,
        "MemoryReservation": BYTES,
        "MemorySwap": BYTES,
        "MemorySwappiness": st.one_of(st.none(), st.integers(-2, 101)),
        "OomKillDisable": st.one_of(st.none(), st.booleans()),
        "PidsLimit": st.one_of(st.none(), st.integers(-2, 1 << 20)),
        "NanoCpus": st.one_of(st.just(0), st.integers(-1, 5 * 10**9)),
        "CpuShares": st.integers(-1, 300_000),
        "CpuPeriod": st.one_of(st.just(0), st.integers(-1, 1_100_000)),
        "CpuQuota": st.one_of(st.just(0), st.integers(-2, 2_000_000)),
        "CpuRealtimePeriod": st.one_of(st.just(0), st.integers(-1, 2_000_000)),
        "CpuRealtimeRuntime": st.one_of(st.just(0), st.integers(-1, 2_000_000)),
        "CpusetCpus": st.sampled_from(["", "0", "0-3", "1,3", "4", "0-", "x"]),
        "CpusetMems": st.sampled_from(["", "0", "1"]),
        "BlkioWeight": st.integers(-1, 1001),
        "BlkioWeightDevice": st.lists(st.just({"Path": "/dev/sda", "Weight": 100}), max_size=1),
        "BlkioDeviceReadBps": RATES,
        "BlkioDeviceWriteIOps": RATES,
    },
)
FEATURES = st.builds(Features, **dict.fromkeys(Features._fields, st.booleans()))


def translated(request: dict[str, Any], features: Features) -> dict[str, Any] | None:
    """The runtime's resources, or None for a request that is refused."""
    try:
        host = limits.check(specs.host(**request), features, machine=MACHINE).host
    except InvalidParameter:
        return None
    facts = specs.facts(block_devices=DEVICES)
    spec: dict[str, Any] = {"linux": {"resources": {}}}
    resources.set_resources(spec, specs.config(), host, facts)
    found: dict[str, Any] = spec["linux"]["resources"]
    return found


@given(REQUESTS, FEATURES)
def test_what_passes_is_valid_and_what_the_kernel_can(request, features):
    found = translated(request, features)
    if found is None:
        return
    runtime.Resources.model_validate(found)
    memory, cpu, block = (found.get(name, {}) for name in ("memory", "cpu", "blockIO"))
    if not features.memory:
        assert "limit" not in memory
        assert memory.get("swap", 0) <= 0
    if "swap" in memory and memory["swap"] > 0:
        assert memory["swap"] >= memory["limit"]
    assert 2 <= cpu.get("shares", 2) <= 262_144
    assert features.cpu_quota or "quota" not in cpu
    assert features.cpuset_cpus or "cpus" not in cpu
    assert features.blkio_weight or "weight" not in block
    # Without the controller not even the engine's own limit; with it no limit is said as well.
    assert ("pids" in found) is features.pids
    assert found.get("pids", {}).get("limit") != 0


@given(REQUESTS)
def test_a_missing_feature_refuses_nothing_and_allows_nothing(request):
    """What is wrong is wrong on every kernel; what is right starts on every kernel."""
    everything = Features()
    nothing = Features(**dict.fromkeys(Features._fields, False))
    assert (translated(request, everything) is None) == (translated(request, nothing) is None)


@given(REQUESTS, FEATURES)
def test_an_update_tells_the_runtime_what_a_start_would(request, features):
    try:
        host = limits.check(specs.host(**request), features, machine=MACHINE).host
    except InvalidParameter:
        return
    started, changed = translated(request, features), resources.changes(host, 4096)
    assert started is not None
    assert changed.get("memory", {}) == started.get("memory", {})
    assert changed.get("cpu", {}) == started.get("cpu", {})
    assert changed.get("pids") == started.get("pids")
    lifted = resources.lifted(host, 4096)
    assert lifted["memory"] == {"limit": -1, "swap": -1, **changed.get("memory", {})}
    assert all(lifted["cpu"].values())


@given(st.integers(0, 1 << 20), st.integers(1, 1000))
def test_checking_again_changes_nothing(memory_mib, shares):
    """An update checks the stored configuration anew."""
    request = {"Memory": (memory_mib + 4) * MIB, "CpuShares": shares + 1}
    once = limits.check(specs.host(**request), Features(), machine=MACHINE).host
    again = limits.check(once, Features(), machine=MACHINE)
    assert again.host == once
