"""What the resolver's process makes of where it was started, and what it writes down."""

import functools
import os

import pytest

from runengine import resolver as package
from runengine.errors import Unavailable
from runengine.paths import Paths
from runengine.resolver import launch, log, process, tables
from runengine.resolver.log import Log
from runengine.resolver.loop import Loop
from tests.unit.resolver.conftest import TABLE


def mounts(*entries):
    return "".join(
        f"{number} 1 0:{number} / {target} rw - {kind} {kind} {options}\n"
        for number, (target, kind, options) in enumerate(entries, 30)
    )


def test_it_leaves_the_session_in_systemds_hierarchies_alone(tmp_path):
    folders = {name: tmp_path / name for name in ("systemd", "unified", "memory")}
    for folder in folders.values():
        folder.mkdir()
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(
        mounts(
            (folders["systemd"], "cgroup", "rw,xattr,name=systemd"),
            (folders["unified"], "cgroup2", "rw"),
            (folders["memory"], "cgroup", "rw,memory"),
            (tmp_path, "tmpfs", "rw"),
        )
    )
    process.leave_session(str(tmp_path / "no-systemd"), str(mountinfo))
    assert not any(list(folder.iterdir()) for folder in folders.values())
    process.leave_session(str(tmp_path), str(mountinfo))
    for name in ("systemd", "unified"):
        procs = folders[name] / "runengine" / "monitors" / "cgroup.procs"
        assert procs.read_text() == str(os.getpid())
    assert not list(folders["memory"].iterdir())


def test_it_stays_where_it_may_not_leave(tmp_path):
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text(mounts(("/proc/nothing", "cgroup2", "rw")))
    process.leave_session(str(tmp_path), str(mountinfo))


def test_the_log_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(log, "LIMIT_BYTES", 2000)
    written = Log(str(tmp_path))
    for number in range(500):
        written.write(f"line {number}")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2 * 2000 + 100
    assert log.last_line(str(tmp_path)) == "line 499"


def test_the_log_says_a_thing_once_and_in_one_short_line(tmp_path):
    written = Log(str(tmp_path))
    for _ in range(100):
        written.write("a server\ndoes not answer " + "x" * 1000)
    written.write("b \udcff")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert "a server does not answer xxx" in first
    assert len(first) < log.MAX_LINE + 50
    assert second.endswith("b ?")


def test_a_log_that_cannot_be_written_is_no_reason_to_stop(tmp_path):
    (tmp_path / "log").mkdir()
    Log(str(tmp_path)).write("nobody reads this")


def test_nothing_is_started_without_a_table(tmp_path):
    """The guard of unit tests would tell of a process."""
    launch.ensure(Paths(str(tmp_path), str(tmp_path)))
    assert not list(tmp_path.iterdir())


def test_without_dnspython_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    tables.write(f"{tmp_path}/dns", TABLE)
    with pytest.raises(Unavailable, match="need the Python package dnspython"):
        launch.ensure(Paths(str(tmp_path), str(tmp_path)))


def test_the_command_line_names_all_that_it_needs():
    command = launch.command("/state/dns")
    assert "/state/dns" in command
    assert os.path.dirname(os.path.dirname(package.__path__[0])) in command


def test_a_bug_in_a_handler_costs_its_turn_only():
    reported: list[str] = []
    loop = Loop(reported.append)
    reader, writer = os.pipe()

    def broken(_):
        os.read(reader, 1)
        raise ValueError("a bug")

    def also_broken():
        raise KeyError("another")

    loop.watch(reader, 1, broken)
    os.write(writer, b"12")  # the second would come again and again
    loop.later(0, also_broken)
    loop.later(0.01, loop.stop)
    loop.run()
    loop.close()
    os.close(reader)
    os.close(writer)
    assert sum(text.startswith("ValueError: a bug (") for text in reported) == 1
    assert any(text.startswith("KeyError: 'another' (") for text in reported)


def test_timers_run_in_order_and_not_when_cancelled():
    ran: list[str] = []
    loop = Loop(ran.append)
    for delay, word in ((0.02, "second"), (0.01, "first"), (0.03, "last")):
        loop.later(delay, functools.partial(ran.append, word))
    loop.later(0.0, lambda: ran.append("cancelled")).cancel()
    loop.later(0.04, loop.stop)
    loop.run()
    loop.close()
    assert ran == ["first", "second", "last"]
