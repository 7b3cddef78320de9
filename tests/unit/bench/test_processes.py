"""Looking at processes that come and go meanwhile."""

from __future__ import annotations

import os

from scripts.bench import cpu, memory, processes

NOBODY = 1 << 22
"""Above the highest pid that the kernel gives (proc_sys_kernel(5), pid_max)."""


def test_who_has_ended_weighs_nothing():
    assert memory.smaps(NOBODY) == {}
    assert memory.weigh([NOBODY]) == (0, 0, 0)
    own = memory.weigh([os.getpid(), NOBODY])
    assert own.processes == 1
    assert own.pss > 0


def test_who_has_ended_is_switched_in_no_more():
    assert memory.switches(NOBODY) == 0
    assert memory.switches(os.getpid()) > 0


def test_who_ended_while_all_were_idle_takes_nothing_from_the_others(monkeypatch):
    figures = {1: [100, 103], 2: [500, 0]}
    monkeypatch.setattr(memory, "switches", lambda pid: figures[pid].pop(0))
    monkeypatch.setattr(memory, "IDLE_S", 0)
    standing = {"engine": memory.Standing(monitors=[], service=[1, 2])}
    assert memory.idle(standing) == {"engine": (0, 3)}


def test_a_family_begins_with_its_head():
    assert processes.family(NOBODY) == [NOBODY]
    assert os.getpid() in processes.family(os.getppid())
    assert processes.parent_of(os.getpid()) == os.getppid()


def test_members_of_a_cgroup_that_is_gone_are_none(tmp_path):
    (tmp_path / "cgroup.procs").write_text("12\n7\n")
    assert list(cpu.members(tmp_path)) == [12, 7]
    assert list(cpu.members(tmp_path / "gone")) == []
