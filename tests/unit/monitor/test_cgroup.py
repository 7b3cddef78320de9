"""Counters and members of made-up cgroups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runengine.monitor import cgroup

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, **files: str) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name.replace("__", ".")).write_text(text)
    return str(directory)


def test_v2_counters(tmp_path: Path) -> None:
    directory = write(
        tmp_path / "c",
        cgroup__controllers="cpu memory\n",
        cpu__stat="usage_usec 1500\nuser_usec 1000\n",
        memory__peak="4096\n",
        memory__events="low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
    )
    account = cgroup.Account({"unified": directory})
    assert (account.cpu_ns, account.memory_peak_bytes, account.oom_kills) == (1500000, 4096, 2)


def test_v1_counters_on_a_hybrid_host(tmp_path: Path) -> None:
    directories = {
        "unified": write(tmp_path / "u", cgroup__controllers="\n"),
        "cpuacct": write(tmp_path / "a", cpuacct__usage="77\n"),
        "memory": write(
            tmp_path / "m",
            memory__max_usage_in_bytes="512\n",
            memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        ),
    }
    account = cgroup.Account(directories)
    assert (account.cpu_ns, account.memory_peak_bytes, account.oom_kills) == (77, 512, 1)


def test_counters_that_are_not_there_are_unknown(tmp_path: Path) -> None:
    for directories in ({}, {"unified": str(tmp_path)}, {"memory": str(tmp_path / "gone")}):
        account = cgroup.Account(directories)
        assert (account.cpu_ns, account.memory_peak_bytes, account.oom_kills) == (None, None, None)


def test_members_of_nested_groups(tmp_path: Path) -> None:
    write(tmp_path / "c", cgroup__procs="11\n")
    write(tmp_path / "c" / "inner" / "most", cgroup__procs="12\n13\n")
    gone = str(tmp_path / "gone")
    assert cgroup.members({"cpu": gone, "pids": str(tmp_path / "c")}) == [11, 12, 13]
    assert cgroup.members({"cpu": gone}) == []


def test_monitor_never_kills_itself(tmp_path: Path) -> None:
    directory = write(tmp_path / "c", cgroup__procs=f"{os.getpid()}\n")
    assert not cgroup.kill({"pids": directory})


def test_remove_goes_from_below(tmp_path: Path) -> None:
    (tmp_path / "c" / "inner" / "most").mkdir(parents=True)
    cgroup.remove({"a": str(tmp_path / "c"), "b": str(tmp_path / "gone")})
    assert not (tmp_path / "c").exists()


def test_leaving_the_session_only_under_systemd(tmp_path: Path) -> None:
    dirs = {"systemd": str(tmp_path / "s" / "id"), "memory": str(tmp_path / "m" / "id")}
    cgroup.leave_session(dirs, systemd=str(tmp_path / "gone"))
    assert not list(tmp_path.iterdir())
    cgroup.leave_session(dirs, systemd=str(tmp_path))
    procs = tmp_path / "s" / cgroup.MONITORS / "cgroup.procs"
    assert procs.read_text() == str(os.getpid())
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("directory", "home"),
    [
        ("/cg/unified/runengine/id", "/cg/unified/runengine/monitors"),
        ("/cg/jobs/a/id", "/cg/jobs/a/monitors"),
        ("/cg/system.slice/runengine-id.scope", "/cg/runengine/monitors"),
        ("/cg/a.slice/a-b.slice/runengine-id.scope", "/cg/runengine/monitors"),
    ],
)
def test_monitors_are_beside_their_containers_but_in_no_slice(directory, home):
    assert cgroup._monitors(directory) == home


@pytest.mark.parametrize(
    ("controller", "name", "value"),
    [("freezer", "freezer.state", "THAWED"), ("unified", "cgroup.freeze", "0")],
)
def test_thawing_reaches_the_groups_of_the_containers_own_making(
    tmp_path: Path, controller: str, name: str, value: str
) -> None:
    files = [tmp_path / name, tmp_path / "own" / name, tmp_path / "own/inner" / name]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("FROZEN")
    cgroup.thaw({controller: str(tmp_path)})
    assert [file.read_text() for file in files] == [value] * 3
    cgroup.thaw({controller: str(tmp_path / "gone")})
