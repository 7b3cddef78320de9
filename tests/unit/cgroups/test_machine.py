"""What the host has: as its cgroups say, or sysfs where they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cgroups import machine
from runengine.cgroups.layout import Layout


def write(directory, files):
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text)
    return str(directory)


@pytest.fixture
def sysfs(tmp_path):
    write(tmp_path / "sys/cpu", {"online": "0-7\n"})
    write(tmp_path / "sys/node", {"online": "0-1\n"})
    return str(tmp_path / "sys")


def test_v1_says_what_the_root_group_may_use(tmp_path, sysfs):
    files = {"cpuset.effective_cpus": "0-1,4\n", "cpuset.cpus": "0-7\n", "cpuset.mems": "1\n"}
    cpuset = write(tmp_path / "cpuset", files)
    found = machine.probe(Layout(1, {"cpuset": cpuset}, frozenset({"cpuset"})), sysfs)
    assert (found.cpus, found.memory_nodes) == (frozenset({0, 1, 4}), frozenset({1}))
    assert (found.memory_bytes or 0) > 1 << 20


def test_v2_too(tmp_path, sysfs):
    files = {"cpuset.cpus.effective": "2\n", "cpuset.mems.effective": "0\n"}
    root = write(tmp_path / "cg", files)
    found = machine.probe(Layout(2, {"unified": root}, frozenset()), sysfs)
    assert (found.cpus, found.memory_nodes) == (frozenset({2}), frozenset({0}))


def test_without_the_controller_it_is_what_is_online(tmp_path, sysfs):
    for layout in (
        Layout(1, {}, frozenset()),
        Layout(2, {"unified": str(tmp_path)}, frozenset()),
    ):
        found = machine.probe(layout, sysfs)
        assert (found.cpus, found.memory_nodes) == (frozenset(range(8)), frozenset({0, 1}))


def test_what_nothing_tells_is_unknown(tmp_path):
    found = machine.probe(Layout(1, {}, frozenset()), str(tmp_path))
    assert (found.cpus, found.memory_nodes) == (None, None)


def test_this_host_is_read():
    found = machine.probe()
    assert found.cpus
    assert found.memory_bytes


@given(st.frozensets(st.integers(0, 300), max_size=40))
def test_lists_survive_being_shown_and_read(numbers):
    assert machine.parse_list(machine.show_list(numbers)) == numbers
    assert ",," not in machine.show_list(numbers)


def test_huge_pages_are_spelled_as_the_runtime_does(tmp_path):
    for size in (64, 2048, 1 << 20, 1 << 24):
        (tmp_path / f"hugepages-{size}kB").mkdir()
    (tmp_path / "other").mkdir()
    assert machine.huge_pages(str(tmp_path)) == {"64KB", "2MB", "1GB", "16GB"}
    assert machine.huge_pages(str(tmp_path / "missing")) == frozenset()
