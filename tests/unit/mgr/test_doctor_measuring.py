"""What doctor tells of a host on which is measured, on made-up ones."""

import pytest

from runengine.config import defaults
from runengine.mgr.doctor import measuring
from runengine.mgr.doctor.host import OK, Host
from runengine.paths import Paths

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"


@pytest.fixture
def told(tmp_path):
    def look(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        paths = Paths("/r", "/s")
        host = Host(paths, None, defaults(paths), root=str(tmp_path))  # type: ignore[arg-type]
        found = [finding for check in measuring.CHECKS for finding in check(host)]
        assert {finding.status for finding in found} == {OK}
        return {finding.name: finding.seen for finding in found}

    return look


def test_a_machine_that_measures(told):
    assert told(
        {
            f"{NODE}/online": "0-2",
            f"{NODE}/has_memory": "0,2",
            f"{NODE}/node0/cpulist": "0-1",
            f"{NODE}/node1/cpulist": "2",
            f"{NODE}/node2/cpulist": "",
            f"{CPU}/online": "0-2",
            f"{CPU}/cpu0/cpufreq/scaling_governor": "performance",
            f"{CPU}/cpu2/cpufreq/scaling_governor": "powersave",
            f"{CPU}/intel_pstate/no_turbo": "1",
            f"{CPU}/smt/active": "1",
            f"{CPU}/isolated": "1-2",
            f"{CPU}/vulnerabilities/spec_store_bypass": "Mitigation: ... via prctl and seccomp",
        }
    ) == {
        "NUMA": "node 0: CPUs 0-1; node 1: CPUs 2, no memory; node 2: no CPUs",
        "clock speed": "governor performance, powersave; boost off",
        "cores": "two CPUs share a core; isolated: 1-2",
        "store bypass": "Mitigation: ... via prctl and seccomp: slows down whoever has a filter,"
        " unless the runtime asks it not to (runc 1.2)",
    }


def test_another(told):
    found = told(
        {
            f"{CPU}/online": "0",
            f"{CPU}/cpu0/cpufreq/scaling_governor": "schedutil",
            f"{CPU}/cpufreq/boost": "1",
            f"{CPU}/smt/active": "0",
            f"{CPU}/isolated": "",
            f"{CPU}/vulnerabilities/spec_store_bypass": "Not affected",
        }
    )
    assert found == {
        "NUMA": "this kernel has no nodes: no --numa-node",
        "clock speed": "governor schedutil; boost on",
        "cores": "each CPU is a core; none isolated",
        "store bypass": "Not affected",
    }


def test_a_guest_that_tells_nothing(told):
    assert told({}) == {
        "NUMA": "this kernel has no nodes: no --numa-node",
        "clock speed": "not this system's to set",
        "cores": "none isolated",
    }
