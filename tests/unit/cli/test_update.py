"""``update``: flags to settings, and what it says."""

from typing import Any

import pytest

from runengine.errors import Conflict
from tests.support.cli import FakeEngine, call


class Containers:
    def __init__(self, warnings=()):
        self.calls = []
        self.warnings = warnings

    def update(self, name, resources, **others):
        self.calls.append((name, resources, {key: one for key, one in others.items() if one}))
        return list(self.warnings)


def asked(*words):
    containers = Containers()
    result = call("update", *words, "box", containers=containers)
    assert result.exit_code == 0, result.stderr
    ((name, resources, others),) = containers.calls
    assert name == "box"
    return resources, others


@pytest.mark.parametrize(
    ("words", "resources"),
    [
        (["-m", "1g", "--memory-swap", "-1"], {"Memory": 1 << 30, "MemorySwap": -1}),
        (["--memory-reservation", "8m"], {"MemoryReservation": 8 << 20}),
        (["--cpus", "1.5"], {"NanoCpus": 1_500_000_000}),
        (["-c", "7", "--cpu-quota", "-1"], {"CpuShares": 7, "CpuQuota": -1}),
        (["--cpu-period", "5000"], {"CpuPeriod": 5000}),
        (["--cpu-rt-period=9", "--cpu-rt-runtime=8"],
         {"CpuRealtimePeriod": 9, "CpuRealtimeRuntime": 8}),
        (["--cpuset-cpus", "0", "--cpuset-mems", "0"], {"CpusetCpus": "0", "CpusetMems": "0"}),
        (["--pids-limit", "-1", "--blkio-weight", "10"], {"PidsLimit": -1, "BlkioWeight": 10}),
        (["--device-read-bps", "/dev/sda:1k", "--device-read-bps", "/dev/sdb:2"],
         {"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1024},
                                 {"Path": "/dev/sdb", "Rate": 2}]}),
        (["--kernel-memory", "1m"], {"KernelMemory": 1 << 20}),
    ],
)  # fmt: skip
def test_limits(words, resources):
    assert asked(*words) == ({**NO_RATES, **resources}, {})


NO_RATES: dict[str, list[Any]] = {
    f"BlkioDevice{name}": [] for name in ("ReadBps", "ReadIOps", "WriteBps", "WriteIOps")
}


def test_what_is_no_limit():
    words = ["--restart", "on-failure:3", "-e", "A=1", "-e", "B", "-l", "x=1", "--annotation=k=v"]
    assert asked(*words) == (
        NO_RATES,
        {
            "restart_policy": {"Name": "on-failure", "MaximumRetryCount": 3},
            "env": ("A=1", "B"),
            "labels": ("x=1",),
            "annotations": {"k": "v"},
        },
    )


def test_without_flags_there_is_nothing_to_do():
    containers = Containers()
    result = call("update", "box", containers=containers)
    assert (result.exit_code, containers.calls) == (1, [])
    assert "you must provide one or more flags" in result.stderr


@pytest.mark.parametrize(
    "words",
    [["-m", "x"], ["--cpus", "x"], ["--restart", "sometimes"], ["--pids-limit", "1.5"],
     ["--device-read-bps", "sda:1"], ["--annotation", "=v"]],
)  # fmt: skip
def test_bad_values_reach_nobody(words):
    containers = Containers()
    assert call("update", *words, "box", containers=containers).exit_code in (1, 125)
    assert containers.calls == []


def test_several_containers_each_with_its_warnings_and_errors():
    class Some(Containers):
        def update(self, name, resources, **others):
            if name == "bad":
                raise Conflict("cannot update container bad: --memory: in use")
            return [f"{name} is warned"]

    engine = FakeEngine(containers=Some())
    result = call("update", "-m", "64m", "one", "bad", "two", engine=engine)
    assert result.exit_code == 1
    assert result.stdout == "one\ntwo\n"
    assert sorted(result.stderr.splitlines()) == [
        "Error: cannot update container bad: --memory: in use",
        "WARNING: one is warned",
        "WARNING: two is warned",
    ]
