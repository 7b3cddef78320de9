"""Resource limits (rows A-17, A-19 to A-47)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cgroups import limits
from runengine.cgroups.features import Features
from runengine.cgroups.machine import Machine
from runengine.errors import InvalidParameter
from tests.support import specs

ALL = Features()
MIB = 1 << 20
DEVICE = "/dev/sda"
HUGE = {"PageSize": "2MB", "Limit": 1 << 30}


BIG = Machine(8 << 30)
TWO_CPUS = Machine(None, frozenset({0, 1}), frozenset({0}), frozenset({"2MB"}))


def check(features=ALL, machine=BIG, **changes):
    options = {key: changes.pop(key) for key in list(changes) if key == "min_memory_bytes"}
    return limits.check(specs.host(**changes), features, machine=machine, **options)


# Row: feature, what is asked for, exact text, what is left of it.
WARNINGS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "A-19": ("memory", {"Memory": 64 * MIB, "MemorySwap": 64 * MIB},
             "Current Kernel does not support memory limit, discard --memory",
             {"Memory": 0, "MemorySwap": 0}),
    "A-20": ("memory_reservation", {"MemoryReservation": 64 * MIB},
             "Current Kernel does not support memory soft limit, discard --memory-reservation",
             {"MemoryReservation": 0}),
    "A-21": ("memory_swap", {"Memory": 64 * MIB, "MemorySwap": 128 * MIB},
             "Current Kernel does not support memory swap, discard --memory-swap",
             {"Memory": 64 * MIB, "MemorySwap": 0}),
    "A-22": ("memory_swappiness", {"MemorySwappiness": 0},
             "Current Kernel does not support memory swappiness , discard --memory-swappiness",
             {"MemorySwappiness": None}),
    "A-23": ("oom_kill_disable", {"OomKillDisable": True},
             "Current Kernel does not support disable oom kill, discard --oom-kill-disable",
             {"OomKillDisable": None}),
    "A-24": ("cpuset_cpus", {"CpusetCpus": "0"},
             "Current Kernel does not support cpuset cpus, discard --cpuset-cpus",
             {"CpusetCpus": ""}),
    "A-25": ("cpuset_mems", {"CpusetMems": "0"},
             "Current Kernel does not support cpuset mems, discard --cpuset-mems",
             {"CpusetMems": ""}),
    "A-26": ("cpu_shares", {"CpuShares": 2},
             "Current Kernel does not support cpu shares, discard --cpu-shares",
             {"CpuShares": 0}),
    "A-27": ("cpu_quota", {"CpuQuota": 5000},
             "Current Kernel does not support cpu quota, discard --cpu-quota", {"CpuQuota": 0}),
    "A-28": ("cpu_period", {"CpuPeriod": 5000},
             "Current Kernel does not support cpu period, discard --cpu-period",
             {"CpuPeriod": 0}),
    "A-29": ("blkio_weight", {"BlkioWeight": 100},
             "Current Kernel does not support blkio weight, discard --blkio-weight",
             {"BlkioWeight": 0}),
    "A-30": ("blkio_weight_device", {"BlkioWeightDevice": [{"Path": DEVICE, "Weight": 100}]},
             "Current Kernel does not support blkio weight device, discard --blkio-weight-device",
             {"BlkioWeightDevice": []}),
    "A-31": ("blkio_read_bps", {"BlkioDeviceReadBps": [{"Path": DEVICE, "Rate": 1}]},
             "Current Kernel does not support blkio device throttle read bps,"
             " discard --device-read-bps", {"BlkioDeviceReadBps": []}),
    "A-32": ("blkio_write_bps", {"BlkioDeviceWriteBps": [{"Path": DEVICE, "Rate": 1}]},
             "Current Kernel does not support blkio device throttle write bps,"
             " discard --device-write-bps", {"BlkioDeviceWriteBps": []}),
    "A-33": ("blkio_read_iops", {"BlkioDeviceReadIOps": [{"Path": DEVICE, "Rate": 1}]},
             "Current Kernel does not support blkio device throttle read iops,"
             " discard --device-read-iops", {"BlkioDeviceReadIOps": []}),
    "A-34": ("blkio_write_iops", {"BlkioDeviceWriteIOps": [{"Path": DEVICE, "Rate": 1}]},
             "Current Kernel does not support blkio device throttle, discard --device-write-iops",
             {"BlkioDeviceWriteIOps": []}),
    "A-35": ("pids", {"PidsLimit": 5},
             "Current Kernel does not support pids cgroup, discard --pids-limit",
             {"PidsLimit": 0}),
    "hugetlb": ("hugetlb", {"HugetlbLimits": [HUGE]},
                "Current Kernel does not support hugetlb cgroup, discard --hugetlb",
                {"HugetlbLimits": []}),
}  # fmt: skip


@pytest.mark.parametrize("row", WARNINGS)
def test_an_option_the_kernel_lacks_is_discarded_with_the_exact_text(row):
    feature, asked, text, left = WARNINGS[row]
    lacking = ALL._replace(**{feature: False})
    found = check(lacking, **asked)
    assert [one for one in found.warnings if one != limits.OOM_ADVICE] == [text]
    assert {key: found.host[key] for key in left} == left


@pytest.mark.parametrize("row", WARNINGS)
def test_no_warning_where_the_kernel_can_or_nothing_was_asked(row):
    feature, asked, _, _ = WARNINGS[row]
    assert check(**{"Memory": 64 * MIB, **asked}).warnings == []
    assert check(ALL._replace(**{feature: False})).warnings == []


def test_everything_missing_at_once_starts_with_nothing_set():
    none = Features(**dict.fromkeys(Features._fields, False))
    asked: dict = {}
    for _, part, _, _ in WARNINGS.values():
        asked.update(part)
    found = check(none, **asked)
    assert len(found.warnings) == len(WARNINGS)
    for _, _, _, left in WARNINGS.values():
        for key, value in left.items():
            assert found.host[key] in (value, 0, None)


def test_a_swap_limit_that_we_added_is_dropped_without_a_word():
    lacking = ALL._replace(memory_swap=False)
    found = check(lacking, Memory=64 * MIB)
    assert (found.warnings, found.host["MemorySwap"]) == ([], 0)


@pytest.mark.parametrize("limit", [0, -1])
def test_no_pids_limit_is_minus_one(limit):
    """systemd gives a scope without a word on it a limit of its own."""
    assert check(PidsLimit=limit).host["PidsLimit"] == -1


def test_swappiness_of_minus_one_asks_for_nothing():
    lacking = ALL._replace(memory_swappiness=False)
    assert check(lacking, MemorySwappiness=-1).warnings == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Memory": 4 * MIB - 1}, "Minimal memory should greater than 4M"),
        ({"Memory": -1}, "Minimal memory"),
        ({"MemoryReservation": 1}, "Minimal memory reservation should greater than 4M"),
        (
            {"Memory": 8 * MIB, "MemoryReservation": 9 * MIB},
            "Minimum memory limit should be larger than memory reservation limit",
        ),
        (
            {"Memory": 8 * MIB, "MemorySwap": 7 * MIB},
            "Minimum memoryswap limit should be larger than memory limit",
        ),
        (
            {"MemorySwap": 8 * MIB},
            "You should always set the Memory limit when using Memoryswap limit",
        ),
        ({"Memory": 8 * MIB, "MemorySwap": -2}, "--memory-swap -2"),
        ({"MemorySwappiness": 101}, "--memory-swappiness 101"),
        ({"MemorySwappiness": -2}, "--memory-swappiness -2"),
        ({"CpuQuota": 1}, r"1ms \(1000\)"),
        ({"CpuQuota": 999}, r"1ms \(1000\)"),
        ({"CpuQuota": -2}, r"1ms \(1000\)"),
        ({"CpuPeriod": 999}, "1ms and 1s"),
        ({"CpuPeriod": 1000001}, "1ms and 1s"),
        ({"CpuPeriod": -1}, "1ms and 1s"),
        ({"OomScoreAdj": 1001}, "--oom-score-adj 1001"),
        ({"OomScoreAdj": -1001}, "--oom-score-adj -1001"),
        ({"ShmSize": -1}, "SHM size can not be less than 0"),
        ({"BlkioWeight": 9}, "10 to 1000"),
        ({"BlkioWeight": 1001}, "10 to 1000"),
        ({"BlkioWeightDevice": [{"Path": DEVICE, "Weight": 9}]}, "/dev/sda"),
        ({"BlkioDeviceReadBps": [{"Path": DEVICE, "Rate": -1}]}, "invalid rate -1"),
        ({"BlkioDeviceWriteIOps": [{"Path": DEVICE, "Rate": 1 << 64}]}, "invalid rate 184467440"),
        ({"HugetlbLimits": [HUGE, HUGE]}, "--hugetlb: 2MB is there twice"),
        ({"HugetlbLimits": [{**HUGE, "PageSize": "3MB"}]}, "--hugetlb 3MB: this host has no such"),
        ({"HugetlbLimits": [{**HUGE, "Limit": -1}]}, "--hugetlb 2MB:-1"),
        ({"HugetlbLimits": [{**HUGE, "Limit": 1 << 63}]}, "--hugetlb 2MB:9223372036854775808"),
        ({"PidsLimit": 4194305}, "--pids-limit 4194305: no kernel has more than 4194304"),
        ({"CpuQuota": 1 << 44}, "--cpu-quota 17592186044416: the most is 17592186044415"),
        ({"NanoCpus": 10**9, "CpuQuota": 5000}, "exclude each other"),
        ({"NanoCpus": 10**9, "CpuPeriod": 5000}, "exclude each other"),
        ({"NanoCpus": 1}, "the least is 0.01"),
        ({"NanoCpus": -1}, "the least is 0.01"),
        ({"NanoCpus": 3 * 10**9}, "this host has 2 CPUs"),
        ({"CpuShares": -1}, "--cpu-shares -1: the range is 2 to 262144"),
        ({"CpuShares": 1}, "--cpu-shares 1"),
        ({"CpuShares": 262145}, "--cpu-shares 262145"),
        ({"CpuRealtimeRuntime": -1}, "--cpu-rt-runtime -1"),
        ({"CpuRealtimePeriod": -1}, "--cpu-rt-period -1"),
        ({"CpuRealtimePeriod": 1000, "CpuRealtimeRuntime": 1001}, "cannot be higher"),
        (
            {"CpusetCpus": "0,2"},
            "Requested CPUs are not available - requested 0,2, available: 0-1",
        ),
        (
            {"CpusetMems": "1"},
            "Requested memory nodes are not available - requested 1, available: 0",
        ),
        ({"CpusetCpus": "a"}, "--cpuset-cpus 'a'"),
        ({"CpusetCpus": "3-1"}, "--cpuset-cpus"),
        ({"CpusetMems": "0-"}, "--cpuset-mems"),
        ({"CpusetCpus": "0,,1"}, "--cpuset-cpus"),
        ({"CpusetCpus": "0-99999999999"}, "--cpuset-cpus"),
    ],
)
@pytest.mark.parametrize("features", [ALL, Features(**dict.fromkeys(Features._fields, False))])
def test_refused_whatever_the_kernel_can(features, changes, words):
    with pytest.raises(InvalidParameter, match=words):
        check(features, TWO_CPUS, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"Memory": 4 * MIB},
        {"Memory": 8 * MIB, "MemoryReservation": 8 * MIB, "MemorySwap": 16 * MIB},
        {"MemorySwappiness": 0},
        {"MemorySwappiness": 100},
        {"MemorySwappiness": -1},
        {"CpuQuota": -1},
        {"CpuQuota": 1000, "CpuPeriod": 1000},
        {"CpuPeriod": 1_000_000},
        {"OomScoreAdj": -1000},
        {"OomScoreAdj": 1000},
        {"BlkioWeight": 10},
        {"BlkioWeight": 1000},
        {"BlkioWeightDevice": [{"Path": DEVICE, "Weight": 0}]},
        {"NanoCpus": 2 * 10**9, "machine": TWO_CPUS},
        {"NanoCpus": 10_000_000},
        {"CpusetCpus": "0-1", "CpusetMems": "0", "machine": TWO_CPUS},
        {"CpuShares": 2},
        {"CpuShares": 262144},
        {"CpuRealtimePeriod": 1000, "CpuRealtimeRuntime": 1000},
        {"CpuRealtimeRuntime": 1000},
        {"Memory": 0, "MemorySwap": -1},
        {"PidsLimit": 4194304},
        {"HugetlbLimits": [HUGE], "machine": TWO_CPUS},
        {"HugetlbLimits": [{**HUGE, "Limit": 0}]},
        {"CpuQuota": (1 << 44) - 1},
        {"BlkioDeviceReadIOps": [{"Path": DEVICE, "Rate": (1 << 64) - 1}]},
    ],
)
def test_edges_that_pass(changes):
    assert check(**changes).warnings == []


def test_the_floor_is_a_setting():
    check(Memory=5 * MIB)
    with pytest.raises(InvalidParameter, match="greater than 6M"):
        check(Memory=5 * MIB, min_memory_bytes=6 * MIB)


def test_swap_defaults_to_twice_the_memory_before_the_checks():
    assert check(Memory=64 * MIB).host["MemorySwap"] == 128 * MIB
    assert check(Memory=64 * MIB, MemorySwap=-1).host["MemorySwap"] == -1
    most = (1 << 63) - 1
    assert check(Memory=most).host["MemorySwap"] == most  # what the runtime can read


@pytest.mark.parametrize(("total", "advised"), [(None, True), (1 << 30, True), (4 << 30, False)])
def test_little_swap_is_advised_against_on_small_hosts(total, advised):
    found = check(machine=Machine(total), Memory=64 * MIB, MemorySwap=65 * MIB)
    assert (found.warnings == [limits.SWAP_ADVICE]) is advised
    assert found.host["MemorySwap"] == 65 * MIB


def test_no_oom_killer_and_no_limit_is_advised_against():
    assert check(OomKillDisable=True).warnings == [limits.OOM_ADVICE]
    assert check(OomKillDisable=True, Memory=64 * MIB).warnings == []
    lacking = ALL._replace(oom_kill_disable=False)
    assert limits.OOM_ADVICE not in check(lacking, OomKillDisable=True).warnings


def test_the_configuration_given_is_left_as_it_is():
    host = specs.host(Memory=64 * MIB)
    limits.check(host, ALL._replace(memory=False))
    assert (host["Memory"], host["MemorySwap"]) == (64 * MIB, 0)


@given(st.text("0123456789-, ", max_size=20))
def test_cpu_lists(text):
    try:
        numbers = limits.check_list(text, "--x")
    except InvalidParameter:
        return
    assert all(0 <= number < 1 << 16 for number in numbers)
    assert bool(numbers) is bool(text)
