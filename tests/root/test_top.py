"""``top`` on real containers: host pids, the container's own processes, with ps and without."""

import pytest

from runengine.errors import Conflict, InvalidParameter
from runengine.mgr.container import top
from tests.support.capabilities import needs
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.root, pytest.mark.needs("runc", "overlay", "busybox")]

SAME = ("pid,ppid,user,uid,gid,group,comm,nlwp,ni,stat,s,vsz,pgid,sid,tty,start_time,egroup,"
        "euser,ucmd,thcount,tname,cmd")  # fmt: skip
"""Columns in which a sleeping process has nothing new between two looks."""


def pid(engine, container):
    return str(engine.containers.inspect(container)["State"]["Pid"])


@needs("ps")
def test_without_ps_the_columns_say_the_same(runner, engine, monkeypatch):
    container = runner.start("sh", "-c", "sleep 1000 & exec sleep 1001")
    wait_for(lambda: len(engine.containers.top(container)["Processes"]) == 2)
    by_ps = engine.containers.top(container, ["-ww", "-o", SAME])
    monkeypatch.setattr(top, "_ps", missing)
    assert engine.containers.top(container, ["-ww", "-o", SAME]) == by_ps
    assert len(engine.containers.top(container)["Processes"]) == 2


def missing(_arguments):
    raise FileNotFoundError(2, "No such file or directory", "ps")


@needs("ps")
@pytest.mark.parametrize(
    "words", [[], ["aux"], ["-eo", "pid,comm", "--sort=-pid"], ["auxf"], ["-e -o pid,args"]]
)
def test_options_of_every_kind_show_the_container_only(runner, engine, words):
    runner.start("sleep", "1000")
    container = runner.start("sleep", "1001")
    found = engine.containers.top(container, words)
    (row,) = found["Processes"]
    assert row[found["Titles"].index("PID")] == pid(engine, container)


def test_processes_of_an_exec_and_below_are_shown(runner, engine):
    container = runner.start("sleep", "1000")
    runner.exec(container, "sh", "-c", "sleep 77 & sleep 0.01")
    shown = engine.containers.top(container, ["-o", "pid,args"])["Processes"]
    assert sorted(row[1] for row in shown) == ["sleep 1000", "sleep 77"]


def test_a_paused_container_is_shown_a_stopped_one_is_not(runner, engine):
    container = runner.start("sleep", "1000", name="box")
    engine.containers.pause(container)
    assert len(engine.containers.top("box")["Processes"]) == 1
    engine.containers.kill(container)
    with pytest.raises(Conflict, match="container box is not running or paused, cannot execute"):
        engine.containers.top("box")


def test_the_command(cli):
    cli.ok("run", "-d", "--name", "one", "busybox", "sleep", "1000")
    header, line = cli.ok("top", "one", "-o", "pid,args").splitlines()
    assert header.split() == ["PID", "COMMAND"]
    assert line.split() == [cli.ok("inspect", "-f", "{{.State.Pid}}", "one"), "sleep", "1000"]
    assert "Couldn't find PID field" in cli.call("top", "one", "-o", "args").err
    assert cli.call("top", "nobody").err == "Error: No such container: nobody\n"


@needs("ps")
def test_nothing_of_the_options_reaches_a_shell(runner, engine, tmp_path):
    container = runner.start("sleep", "1000")
    for words in (["-ef;", "touch", f"{tmp_path}/x"], [f"-ef $(touch {tmp_path}/x)"]):
        with pytest.raises(InvalidParameter):
            engine.containers.top(container, words)
    assert not (tmp_path / "x").exists()
