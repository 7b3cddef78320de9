"""Real-time budgets of cgroup v1: what parents are given so that a container gets its own."""

import pytest

from runengine.cgroups import realtime
from runengine.errors import Conflict

SECOND_US = 1_000_000


def group(path, runtime_us=0, period_us=SECOND_US):
    path.mkdir(parents=True, exist_ok=True)
    (path / "cpu.rt_runtime_us").write_text(str(runtime_us))
    (path / "cpu.rt_period_us").write_text(str(period_us))


@pytest.fixture
def hierarchy(tmp_path):
    """/engine/{old,new}, as a kernel would make them."""
    group(tmp_path, 950_000)
    for name in ("engine", "engine/old", "engine/new"):
        group(tmp_path / name)
    return tmp_path


def runtime_us(path):
    return int((path / "cpu.rt_runtime_us").read_text())


def make_room(hierarchy, runtime_us, period_us=0):
    leaf = hierarchy / "engine/new"
    realtime.make_room(str(leaf), str(hierarchy), runtime_us, period_us)


def test_the_parent_gets_what_the_child_needs(hierarchy):
    make_room(hierarchy, 10_000)
    assert runtime_us(hierarchy / "engine/new") == 10_000
    assert 10_000 <= runtime_us(hierarchy / "engine") <= 10_001
    assert runtime_us(hierarchy) == 950_000


def test_what_others_have_is_left_to_them(hierarchy):
    group(hierarchy / "engine/old", 30_000)
    group(hierarchy / "engine", 30_000)
    make_room(hierarchy, 5_000, 500_000)
    assert 40_000 <= runtime_us(hierarchy / "engine") <= 40_001
    assert (hierarchy / "engine/new/cpu.rt_period_us").read_text() == "500000"


def test_a_parent_with_enough_stays_as_it_is(hierarchy):
    group(hierarchy / "engine", 90_000)
    make_room(hierarchy, 10_000)
    assert runtime_us(hierarchy / "engine") == 90_000


def test_a_kernel_that_refuses_is_named(hierarchy, monkeypatch):
    def refuse(path, number):
        raise OSError(22, "Invalid argument", path)

    monkeypatch.setattr(realtime, "_write", refuse)
    with pytest.raises(Conflict, match="--cpu-rt-runtime 10000: this host has not so much"):
        make_room(hierarchy, 10_000)
