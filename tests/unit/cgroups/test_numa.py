"""A container kept to NUMA nodes: what that comes to on hosts with several, made of files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cgroups import numa
from runengine.cgroups.features import Features
from runengine.cgroups.machine import Machine, parse_list, show_list
from runengine.errors import InvalidParameter, Unsupported
from runengine.model import host_config

ABLE, UNKNOWN = Features(), Machine()


@pytest.fixture
def nodes(tmp_path):
    """Two usual nodes, one with CPUs alone (2), one with memory alone (3), and 4 is offline."""
    folder = tmp_path / "node"
    cpus = {0: "0-3,8-11", 1: "4-7,12-15", 2: "16", 3: ""}
    for node, listed in cpus.items():
        (folder / f"node{node}").mkdir(parents=True)
        (folder / f"node{node}/cpulist").write_text(listed + "\n")
    for name, listed in (("online", "0-3"), ("possible", "0-4"), ("has_memory", "0-1,3")):
        (folder / name).write_text(listed + "\n")
    return numa.read(str(tmp_path))


def host(nodes, cpus="", mems=""):
    return {**host_config(), "NumaNode": nodes, "CpusetCpus": cpus, "CpusetMems": mems}


def bound(nodes, asked, cpus="", mems="", able=ABLE, found=UNKNOWN):
    result = numa.bind(host(asked, cpus, mems), able, found, nodes)
    return result["CpusetCpus"], result["CpusetMems"]


def test_what_is_read(nodes):
    assert nodes.cpus[1] == {4, 5, 6, 7, 12, 13, 14, 15}
    assert (nodes.cpus[3], nodes.with_memory) == (frozenset(), {0, 1, 3})
    assert (nodes.possible, set(nodes.cpus)) == ({0, 1, 2, 3, 4}, {0, 1, 2, 3})


def test_a_kernel_without_nodes(tmp_path):
    assert numa.read(str(tmp_path)) is None
    with pytest.raises(Unsupported, match="this kernel has no NUMA nodes"):
        bound(None, "0")


def test_who_asks_for_none_gets_none():
    before = host_config()
    assert numa.bind(before, ABLE, UNKNOWN, None) is before


@pytest.mark.parametrize(
    ("asked", "cpus", "mems"),
    [
        ("0", "0-3,8-11", "0"),
        ("1", "4-7,12-15", "1"),
        ("0-1", "0-15", "0-1"),
        ("1,0", "0-15", "0-1"),
    ],
)
def test_cpus_and_memory_of_the_nodes(nodes, asked, cpus, mems):
    assert bound(nodes, asked) == (cpus, mems)


def test_a_part_of_the_nodes(nodes):
    assert bound(nodes, "0-1", "4,0", "1") == ("4,0", "1")
    with pytest.raises(InvalidParameter, match=r"--cpuset-cpus 3-4 goes beyond --numa-node 0,"):
        bound(nodes, "0", "3-4")
    with pytest.raises(InvalidParameter, match=r"--cpuset-mems 1 goes beyond --numa-node 0,"):
        bound(nodes, "0", "", "1")


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("9", r"invalid --numa-node 9: the node does not exist \(this host's nodes: 0-3\)"),
        ("0,4", "invalid --numa-node 4: the node is offline"),
        ("2", r"the node has no memory \(use --cpuset-cpus 16 with --cpuset-mems\)"),
        ("3", r"the node has no online CPU \(use --cpuset-cpus with --cpuset-mems 3\)"),
        ("first", "invalid --numa-node 'first'"),
        ("1-0", "invalid --numa-node '1-0'"),
    ],
)
def test_nodes_that_cannot_be(nodes, asked, text):
    with pytest.raises(InvalidParameter, match=text):
        bound(nodes, asked)


def test_what_the_root_group_may_not_use_is_left_out(nodes):
    found = Machine(None, frozenset(range(6)), frozenset({0, 1}))
    assert bound(nodes, "1", found=found) == ("4-5", "1")
    with pytest.raises(InvalidParameter, match="lets nobody use its CPUs 4-7,12-15"):
        bound(nodes, "1", found=Machine(None, frozenset({0}), frozenset({0, 1})))
    with pytest.raises(InvalidParameter, match="lets nobody use its memory"):
        bound(nodes, "1", found=Machine(None, None, frozenset({0})))


def test_without_cpusets_nothing_could_hold_it(nodes):
    with pytest.raises(Unsupported, match="no cpuset controller"):
        bound(nodes, "0", able=ABLE._replace(cpuset_cpus=False))


NODES = st.dictionaries(st.integers(0, 20), st.frozensets(st.integers(0, 200)), min_size=1)


@given(NODES, st.data())
def test_it_is_on_all_that_was_asked_for_and_nothing_else(cpus, data):
    """However the nodes are made and named: their very CPUs, and a part of them stays a part."""
    chosen = data.draw(st.frozensets(st.sampled_from(sorted(cpus)), min_size=1))
    nodes = numa.Nodes(frozenset(cpus), frozenset(cpus), cpus)
    if not all(cpus[node] for node in chosen):
        with pytest.raises(InvalidParameter):
            bound(nodes, show_list(chosen))
        return
    found_cpus, found_mems = bound(nodes, show_list(chosen))
    whole = frozenset().union(*(cpus[node] for node in chosen))
    assert (parse_list(found_cpus), parse_list(found_mems)) == (whole, chosen)
    part = data.draw(st.frozensets(st.sampled_from(sorted(whole)), min_size=1))
    assert bound(nodes, show_list(chosen), show_list(part))[0] == show_list(part)
