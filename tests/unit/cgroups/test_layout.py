"""Where cgroups are and what they count (row AA-13), on fake hierarchies."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cgroups import counters, features, layout
from runengine.cgroups.counters import Counters
from runengine.cgroups.layout import Layout
from runengine.errors import InvalidParameter
from runengine.linux.mount import parse_mountinfo

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/net\\040x rw - cgroup cgroup rw,net_cls,xattr
34 31 0:31 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:32 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
36 31 0:33 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory,release_agent=/x
37 31 0:33 / /elsewhere/memory rw - cgroup cgroup rw,memory
"""


def write(directory, files):
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


def test_v1_has_a_folder_per_controller(tmp_path):
    found = layout.read(str(tmp_path), HYBRID)
    assert found.version == 1
    assert found.mounts == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "net_cls": "/sys/fs/cgroup/net x",
        "systemd": "/sys/fs/cgroup/systemd",
        "unified": "/sys/fs/cgroup/unified",
        "memory": "/sys/fs/cgroup/memory",
    }
    assert "unified" not in found.controllers
    assert layout.cgroup_dirs("/a/b", found)["memory"] == "/sys/fs/cgroup/memory/a/b"


def test_v2_has_one(tmp_path):
    root = write(tmp_path, {"cgroup.controllers": "cpu memory io pids\n"})
    found = layout.read(root, "")
    assert found == Layout(2, {"unified": root}, frozenset({"cpu", "memory", "io", "pids"}))
    assert layout.cgroup_dirs("/a/b", found) == {"unified": f"{root}/a/b"}


@pytest.mark.parametrize(
    ("parent", "path"),
    [
        ("", "/runengine/id"),
        ("jobs", "/jobs/id"),
        ("/jobs/a/", "/jobs/a/id"),
        ("../../..", "/id"),
        ("/../../etc", "/etc/id"),
        ("a//b/./c", "/a/b/c/id"),
        ("//double", "/double/id"),
    ],
)
def test_the_path_is_cleaned_and_stays_below_the_root(parent, path):  # AA-13
    assert layout.container_path(parent, "runengine", "id") == path


@given(st.text(max_size=60))
def test_no_parent_leaves_the_root(parent):  # AA-13
    try:
        path = layout.container_path(parent, "runengine", "id")
    except InvalidParameter:
        return
    assert path.startswith("/")
    assert not path.startswith("//")
    assert ".." not in path.split("/")
    assert path.endswith("/id")


@pytest.mark.parametrize("parent", ["a\0b", "a\nb", "a" * 256])
def test_bad_parents(parent):
    with pytest.raises(InvalidParameter, match="--cgroup-parent"):
        layout.container_path(parent, "runengine", "id")


def test_processes_of_the_cgroup_and_below(tmp_path):
    top = write(tmp_path / "c", {"cgroup.procs": "30\n4\n"})
    write(tmp_path / "c" / "child", {"cgroup.procs": "7\n"})
    assert layout.procs({"unified": top}) == [4, 7, 30]
    assert layout.procs({"cpu": "/nowhere", "pids": top}) == [4, 7, 30]
    assert layout.procs({"unified": "/nowhere"}) == []


def test_removal_takes_children_first_and_names_what_is_left(tmp_path):
    gone = tmp_path / "gone"
    (gone / "a" / "b").mkdir(parents=True)
    kept = tmp_path / "kept"
    write(kept, {"file": ""})
    dirs = {"cpu": str(gone), "cpuacct": str(gone), "memory": str(kept), "x": "/nowhere"}
    assert layout.remove(dirs, attempts=1) == [str(kept)]
    assert not gone.exists()


V1_FILES = {
    "memory": ["memory.limit_in_bytes", "memory.soft_limit_in_bytes", "memory.swappiness"],
    "cpu": ["cpu.shares", "cpu.cfs_quota_us"],
    "blkio": ["blkio.bfq.io_service_bytes", "blkio.throttle.read_bps_device"],
    "pids": [],
}


def test_v1_features_are_files(tmp_path):
    mounts = {
        name: write(tmp_path / name, dict.fromkeys(files, "")) for name, files in V1_FILES.items()
    }
    found = features.probe(Layout(1, mounts, frozenset(mounts)))
    there = {name for name, value in found._asdict().items() if value}
    assert there == {
        *("memory", "memory_reservation", "memory_swappiness", "cpu_shares", "cpu_quota"),
        *("blkio_weight", "blkio_weight_device", "blkio_read_bps", "pids"),
    }


V2_FILES = ["memory.stat", "memory.swap.max", "cpu.stat", "cpu.max", "cpu.weight", "io.stat"]


def v2(tmp_path, controllers, files, handed_down=None):
    root = write(tmp_path, {"cgroup.controllers": controllers})
    child = tmp_path / "child.slice"
    write(child, dict.fromkeys(files, ""))
    write(child, {"cgroup.controllers": handed_down or controllers})
    return features.probe(layout.read(root, ""))


def test_v2_lacks_what_only_v1_has(tmp_path):
    found = v2(tmp_path, "cpuset cpu io memory pids hugetlb", [*V2_FILES, "io.max", "io.weight"])
    missing = {name for name, value in found._asdict().items() if not value}
    assert missing == {"memory_swappiness", "oom_kill_disable", "cpu_realtime"}


def test_v2_features_are_controllers_and_files(tmp_path):
    found = v2(tmp_path, "cpu io memory", V2_FILES)
    assert found.memory
    assert found.cpu_quota
    assert not found.cpuset_cpus
    assert not found.pids
    assert not found.hugetlb
    assert not found.blkio_weight
    assert not found.blkio_read_bps


def test_v2_controllers_that_nobody_uses_yet_are_there_all_the_same(tmp_path):
    """systemd hands a controller down only once a unit needs it; cpu.stat is always there."""
    found = v2(tmp_path, "cpu io memory", ["cpu.stat", "memory.stat"], handed_down="memory")
    assert found.cpu_quota
    assert found.cpu_shares
    assert found.blkio_read_bps
    assert not found.memory_swap


def test_v2_without_a_cgroup_to_look_at_trusts_the_controllers(tmp_path):
    root = write(tmp_path, {"cgroup.controllers": "io memory"})
    found = features.probe(layout.read(root, ""))
    assert found.blkio_weight
    assert found.memory_swap
    assert not found.cpu_shares


def test_info_warns_in_dockers_words():
    words = features.Features(memory_swap=False).summary()
    assert [word for word, there in words.items() if not there] == ["swap limit"]


def test_counters_of_v2(tmp_path):
    directory = write(
        tmp_path,
        {
            "cpu.stat": "usage_usec 1500\nuser_usec 1\n",
            "memory.current": "4096\n",
            "memory.peak": "8192\n",
            "memory.max": "max\n",
            "memory.events": "low 0\noom 2\noom_kill 1\n",
            "pids.current": "3\n",
            "pids.max": "100\n",
            "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n\n",
        },
    )
    assert counters.read({"unified": directory}) == Counters(
        1_500_000, 4096, 8192, None, 1, 3, 100, 11, 22
    )


def test_counters_of_v1(tmp_path):
    dirs = {
        "cpuacct": write(tmp_path / "cpuacct", {"cpuacct.usage": "1500\n"}),
        "memory": write(
            tmp_path / "memory",
            {
                "memory.usage_in_bytes": "4096\n",
                "memory.max_usage_in_bytes": "8192\n",
                "memory.limit_in_bytes": "9223372036854771712\n",
                "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            },
        ),
        "pids": write(tmp_path / "pids", {"pids.current": "3\n", "pids.max": "max\n"}),
        "blkio": write(
            tmp_path / "blkio",
            {
                "blkio.throttle.io_service_bytes_recursive": (
                    "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\n8:16 Read 1\nTotal 31\n"
                )
            },
        ),
    }
    assert counters.read(dirs) == Counters(1500, 4096, 8192, None, 2, 3, None, 11, 20)
    assert counters.read({**dirs, "unified": "/nowhere"}) == counters.read(dirs)
    limit = tmp_path / "memory" / "memory.limit_in_bytes"
    limit.write_text("1048576\n")
    assert counters.read(dirs).memory_limit_bytes == 1048576


@pytest.mark.parametrize("dirs", [{"unified": "/nowhere"}, {"memory": "/nowhere"}, {}])
def test_counters_of_a_cgroup_that_is_gone_are_unknown_not_zero(dirs):
    assert counters.read(dirs) == Counters()


def test_the_real_host_is_read():
    found = layout.detect()
    assert found.version in (1, 2)
    assert all(os.path.isabs(path) for path in found.mounts.values())
    assert list(parse_mountinfo(HYBRID))
