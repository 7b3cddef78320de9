"""Whether the kernel did what was asked, by files as it would write them."""

import os

import pytest

from runengine.mgr.container import confined, placement
from runengine.mgr.container.placement import Placement
from runengine.model import HostConfig, host_config

MAPS = """\
00400000 bind:1 file=/bin/bench mapped=9 mapmax=3 N0=9 kernelpagesize_kB=4
00600000 bind:1 heap anon=7 dirty=7 active=0 N1=7 kernelpagesize_kB=4
7f000000 bind:1 anon=3 dirty=3 N0=1 N1=2 kernelpagesize_kB=4
7fff0000 bind:1 stack anon=2 dirty=2 N1=2 kernelpagesize_kB=4
"""
ASKED: HostConfig = {**host_config(), "NumaNode": "1", "CpusetCpus": "4-7", "CpusetMems": "1"}
AS_ASKED = Placement("4-7", "1", "4-7", "1", "bind:1", {1: 11})


def test_what_the_kernel_tells_of_memory():
    assert placement._policy(MAPS) == "bind:1"
    assert placement._own_pages(MAPS) == {0: 1, 1: 11}  # a file's pages are of whoever read it
    assert (placement._policy(""), placement._own_pages("")) == ("", {})


def test_nothing_is_told_of_what_is_as_asked():
    assert placement.deviations(ASKED, AS_ASKED, policy="bind:1") == []
    assert placement.deviations(host_config(), AS_ASKED) == []
    unknown = Placement("4-7", "1", "", "", "", {})
    assert placement.deviations(ASKED, unknown, policy="bind:1") == []


def test_a_program_may_keep_to_fewer():
    assert placement.deviations(ASKED, AS_ASKED._replace(cpus="5")) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cgroup_cpus": "4-5"}, "--cpuset-cpus 4-7: its control group has 4-5"),
        ({"cpus": "0-7"}, "--cpuset-cpus 4-7: its first process is on 0-7"),
        ({"cgroup_mems": "0-1"}, "--cpuset-mems 1: its control group has 0-1"),
        ({"mems": "0"}, "--cpuset-mems 1: its first process is on 0"),
        ({"policy": "default"}, "memory policy bind:1: the kernel has default for it"),
        ({"own_pages": {0: 1, 1: 9}}, "--cpuset-mems 1: memory of it is on node 0"),
    ],
)
def test_each_deviation_is_told(change, text):
    assert placement.deviations(ASKED, AS_ASKED._replace(**change), policy="bind:1") == [text]


def test_control_groups_of_both_versions(tmp_path):
    (tmp_path / "cpuset.effective_cpus").write_text("0-1\n")
    (tmp_path / "cpuset.effective_mems").write_text("0\n")
    (tmp_path / "cpuset.cpus.effective").write_text("2\n")
    for cgroup, cpus in (({"cpuset": str(tmp_path)}, "0-1"), ({"unified": str(tmp_path)}, "2")):
        found = placement.read(os.getpid(), cgroup)
        assert found.cgroup_cpus == cpus
        assert found.cpus
    assert placement.read(os.getpid(), {}).cgroup_mems == ""


def test_a_process_that_is_gone():
    assert placement.document(host_config(), 0, {}) is None


STATUS = b"""Name:\tx
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t3
Speculation_Store_Bypass:\tthread force mitigated
SpeculationIndirectBranch:\tconditional enabled
"""


def test_mitigations_in_the_kernels_words(tmp_path):
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "cpu.stat").write_text("nr_throttled 7\nthrottled_usec 9\n")
    host = tmp_path / "host"
    host.mkdir()
    (host / "spectre_v1").write_text("Mitigation: barriers\n")
    found = confined.mitigations(STATUS, {"unified": str(tmp_path)}, str(host))
    assert found == {
        "SpeculativeStoreBypass": "thread force mitigated",
        "SpeculativeIndirectBranch": "conditional enabled",
        "Seccomp": "filter",
        "SeccompFilters": 3,
        "NoNewPrivileges": True,
        "CpuQuota": {
            "QuotaUs": 50000, "PeriodUs": 100000, "ThrottledPeriods": 7, "ThrottledNs": 9000,
        },
        "Host": {"spectre_v1": "Mitigation: barriers"},
    }  # fmt: skip


def test_without_limits_and_on_kernels_that_tell_less(tmp_path):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "cpu.cfs_quota_us").write_text("-1\n")
    for cgroup in ({"unified": str(tmp_path)}, {"cpu": str(tmp_path)}, {}):
        found = confined.mitigations(b"Name:\tx\n", cgroup, str(tmp_path / "none"))
        assert (found["CpuQuota"], found["Seccomp"], found["Host"]) == (None, "", {})
