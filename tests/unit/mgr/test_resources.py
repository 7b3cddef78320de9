"""What an update makes of a container's limits before anything is done (rows E-49 to E-53)."""

import itertools
import os

import pytest

from runengine.cgroups import features, limits, machine, numa
from runengine.errors import Conflict, InvalidParameter, NotFound
from runengine.mgr.container import live_env, resources, update
from runengine.mgr.container.update import Changes

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _able(monkeypatch):
    """A host that can do everything."""
    monkeypatch.setattr(features, "probe", features.Features)
    monkeypatch.setattr(machine, "probe", lambda: machine.Machine(8 << 30, frozenset({0, 1})))


@pytest.fixture
def merge(context, add):
    names = (f"box{number}" for number in itertools.count())

    def merge_one(before, wanted):
        record = add(next(names), host=before)
        return resources.merge(context, record, resources.given(wanted))

    return merge_one


def test_zero_and_empty_leave_things_alone():  # E-49
    nothing = {"Memory": 0, "CpusetCpus": "", "BlkioDeviceReadBps": [], "PidsLimit": None}
    assert resources.given(nothing) == {}
    assert resources.given({"PidsLimit": 0}) == {"PidsLimit": 0}


@pytest.mark.parametrize("key", ["MemorySwappiness", "OomKillDisable", "Privileged", "Nonsense"])
def test_what_no_update_can_change_is_refused(key):
    with pytest.raises(InvalidParameter, match=f"{key} cannot be changed"):
        resources.given({key: 1})


def test_new_limits_go_over_the_old_ones(merge):
    found = merge({"Memory": 64 * MIB, "MemorySwap": -1, "CpuShares": 5}, {"Memory": 32 * MIB})
    assert found.warnings == []
    assert (found.host["Memory"], found.host["MemorySwap"]) == (32 * MIB, -1)
    assert found.host["CpuShares"] == 5


def test_memory_above_the_stored_swap_asks_for_both(merge):  # E-51
    before = {"Memory": 64 * MIB, "MemorySwap": 128 * MIB}
    with pytest.raises(Conflict, match="update the memoryswap at the same time"):
        merge(before, {"Memory": 129 * MIB})
    assert merge(before, {"Memory": 128 * MIB}).host["Memory"] == 128 * MIB
    found = merge(before, {"Memory": 256 * MIB, "MemorySwap": 512 * MIB}).host
    assert (found["Memory"], found["MemorySwap"]) == (256 * MIB, 512 * MIB)


def test_a_first_memory_limit_brings_its_swap_limit(merge):
    assert merge({}, {"Memory": 64 * MIB}).host["MemorySwap"] == 128 * MIB


def test_swap_alone_needs_a_memory_limit_before(merge):
    with pytest.raises(InvalidParameter, match="always set the Memory limit"):
        merge({}, {"MemorySwap": 64 * MIB})
    before = {"Memory": 64 * MIB, "MemorySwap": 128 * MIB}
    assert merge(before, {"MemorySwap": -1}).host["MemorySwap"] == -1


@pytest.mark.parametrize(
    ("before", "wanted", "words"),
    [
        ({"CpuQuota": 5000}, {"NanoCpus": 10**9}, "CPU Quota has already been set"),
        ({"CpuPeriod": 5000}, {"NanoCpus": 10**9}, "CPU Period has already been set"),
        ({"NanoCpus": 10**9}, {"CpuQuota": 5000}, "NanoCPUs has already been set"),
        ({"NanoCpus": 10**9}, {"CpuPeriod": 5000}, "NanoCPUs has already been set"),
    ],
)
def test_cpus_and_quota_do_not_change_over(merge, before, wanted, words):
    with pytest.raises(Conflict, match=words):
        merge(before, wanted)


@pytest.mark.parametrize("quota", [1, 999, -2])
def test_quota_under_a_millisecond(merge, quota):  # E-52
    with pytest.raises(InvalidParameter, match="1ms"):
        merge({}, {"CpuQuota": quota})


def test_kernel_memory_is_warned_away(merge):  # E-53
    found = merge({}, {"KernelMemory": 64 * MIB, "CpuShares": 7})
    assert found.warnings == [limits.KERNEL_MEMORY_WARNING]
    assert found.host["CpuShares"] == 7
    assert "KernelMemory" not in found.host


def test_what_the_kernel_lacks_is_discarded_and_said(merge, monkeypatch):
    lacking = features.Features(blkio_weight=False)
    monkeypatch.setattr(features, "probe", lambda: lacking)
    found = merge({"CpuShares": 5}, {"BlkioWeight": 100, "CpuShares": 7})
    assert found.warnings == [
        "Current Kernel does not support blkio weight, discard --blkio-weight"
    ]
    assert (found.host["BlkioWeight"], found.host["CpuShares"]) == (0, 7)


def test_advice_is_given_when_it_is_asked_about(merge, monkeypatch):
    monkeypatch.setattr(machine, "probe", lambda: machine.Machine(1 << 30))
    before = {"Memory": 64 * MIB, "MemorySwap": 64 * MIB}
    assert merge(before, {"CpuShares": 7}).warnings == []
    assert merge(before, {"Memory": 63 * MIB}).warnings == [limits.SWAP_ADVICE]


def test_nothing_asked_of_nobody_is_not_done(context):
    with pytest.raises(NotFound, match="No such container: nobody"):
        update.update(context, "nobody", Changes({"Memory": 0}))


def test_env_and_labels(add):  # E-54, E-55
    record = add("box", labels={"a": "1", "b": "2"})
    record = record._replace(config={**record.config, "Env": ["A=1", "B=2"]})
    changes = Changes(env=["A=x=y", "B", "C="], labels=["a=3", "b", "c=4", "d="])
    after = update._changed(record, changes)
    assert after.config["Env"] == ["A=x=y", "C="]
    assert after.config["Labels"] == {"a": "3", "c": "4"}
    assert record.config["Env"] == ["A=1", "B=2"]
    assert record.config["Labels"] == {"a": "1", "b": "2"}  # E-57: the old one is untouched


@pytest.mark.parametrize("changes", [Changes(env=["=x"]), Changes(labels=["=x"])])
def test_a_bad_pair_changes_nothing(add, changes):
    with pytest.raises(InvalidParameter):
        update._changed(add("box"), changes)


def test_the_shells_lines_are_quoted():  # E-54
    env = ["PATH=/bin", 'Q=a"b$c\\d`e', "EMPTY=", "dot.ted=x", "x;rm -rf=y", "N=1\n2"]
    assert live_env.text(env) == (
        'export PATH="/bin:$PATH"\nexport Q="a\\"b\\$c\\\\d\\`e"\nexport N="1\n2"\n'
    )


def test_the_file_replaces_a_link_and_stays_in_the_root(tmp_path):
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "real").mkdir()
    (root / "etc/profile.d").symlink_to("/real")
    (root / "real" / live_env.NAME).symlink_to(outside / "target")
    fd = os.open(root, os.O_PATH)
    live_env.write_below(fd, "export A=1\n")
    assert (root / "real" / live_env.NAME).read_text() == "export A=1\n"
    assert not (root / "real" / live_env.NAME).is_symlink()
    assert list((root / "real").iterdir()) == [root / "real" / live_env.NAME]
    (root / "etc/profile.d").unlink()
    (root / "etc/profile.d").symlink_to("../../outside")
    with pytest.raises(FileNotFoundError):
        live_env.write_below(fd, "x")
    assert list(outside.iterdir()) == []
    os.close(fd)


def test_other_nodes_leave_nothing_of_the_old_ones(merge, monkeypatch):
    both = frozenset({0, 1})
    nodes = numa.Nodes(both, both, {0: frozenset({0}), 1: frozenset({1})})
    monkeypatch.setattr(numa, "read", lambda: nodes)
    before = {"NumaNode": "0", "CpusetCpus": "0", "CpusetMems": "0"}
    found = merge(before, {"NumaNode": "1"}).host
    assert (found["NumaNode"], found["CpusetCpus"], found["CpusetMems"]) == ("1", "1", "1")
    with pytest.raises(InvalidParameter, match="goes beyond --numa-node 0"):
        merge(before, {"CpusetCpus": "1"})
    assert merge({}, {"NumaNode": "0-1", "CpusetCpus": "1"}).host["CpusetMems"] == "0-1"
