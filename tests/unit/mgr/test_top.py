"""``top``: what ps prints, and what stands for ps where there is none (row H-07)."""

import os
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter, TimedOut
from runengine.mgr.container import ps_columns, ps_options, top

LISTING = """\
UID        PID  PPID CMD
root        12     1 sleep 1000
root       121     1 sh -c a  b
root         7     1
"""


def test_only_the_containers_rows_and_the_rest_of_the_line_in_the_last():
    found = top.parse_ps(LISTING, {12, 121, 999})
    assert found["Titles"] == ["UID", "PID", "PPID", "CMD"]
    assert found["Processes"] == [
        ["root", "12", "1", "sleep 1000"],
        ["root", "121", "1", "sh -c a  b"],
    ]


def test_a_command_before_the_pid_takes_the_overflow():
    text = "COMMAND  PID USER\nsleep 121 x  12 root\nsh -c 12    7 root\nps         121 root\n"
    assert top.parse_ps(text, {12, 121})["Processes"] == [
        ["sleep 121 x", "12", "root"],
        ["ps", "121", "root"],
    ]


def test_threads_are_shown_below_their_process():
    text = "PID LWP CMD\n7 - a\n- 7 -\n12 - b\n- 12 -\n- 13 -\n8 - c\n- 8 -\n"
    assert top.parse_ps(text, {12})["Processes"] == [
        ["12", "-", "b"],
        ["-", "12", "-"],
        ["-", "13", "-"],
    ]


@pytest.mark.parametrize("text", ["", "COMMAND\nsleep\n", "Usage:\n ps [options]\n"])
def test_without_a_pid_nothing_can_be_told_apart(text):
    with pytest.raises(InvalidParameter, match="Couldn't find PID field"):
        top.parse_ps(text, {1})


class Ps:
    """Stands for the program; ``refuses`` says which command lines it has no answer to."""

    def __init__(self, monkeypatch, refuses=lambda words: False, missing=False):
        self.calls = []
        self.refuses = refuses
        self.missing = missing
        monkeypatch.setattr(subprocess, "run", self.run)

    def run(self, words, **options):
        assert not options.get("shell")
        self.calls.append(words[1:])
        if self.missing:
            raise FileNotFoundError(2, "No such file", "ps")
        bad = self.refuses(words)
        return subprocess.CompletedProcess(
            words, int(bad), "" if bad else LISTING, "error: unsupported option\n" if bad else ""
        )


def test_ps_is_told_whom_to_look_at(monkeypatch):
    ps = Ps(monkeypatch)
    assert len(top.show(["-ef"], {121, 12})["Processes"]) == 2
    assert ps.calls == [["-ef", "-q12,121"]]


def test_options_that_cannot_be_told_look_at_all(monkeypatch):
    ps = Ps(monkeypatch, refuses=lambda words: words[-1].startswith("-q"))
    assert len(top.show(["auxf"], {12})["Processes"]) == 1
    assert ps.calls == [["auxf", "-q12"], ["auxf"]]


def test_so_do_very_many_processes(monkeypatch):
    ps = Ps(monkeypatch)
    top.show(["-ef"], set(range(1, top.QUICK_LIMIT + 2)))
    assert ps.calls == [["-ef"]]


def test_nothing_found_is_no_refusal(monkeypatch):
    def run(words, **_options):
        return subprocess.CompletedProcess(words, 1, "PID CMD\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert top.show(["-u", "nobody"], {12}) == {"Titles": ["PID", "CMD"], "Processes": []}


def test_what_ps_refuses_is_refused_in_its_words(monkeypatch):
    Ps(monkeypatch, refuses=lambda _: True)
    with pytest.raises(InvalidParameter, match="ps --nosuch: error: unsupported option"):
        top.show(["--nosuch"], {12})


def test_a_ps_that_hangs(monkeypatch):
    def hang(words, timeout, **_):
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(TimedOut, match="ps -ef -q12 did not finish"):
        top.show(["-ef"], {12})


# Without ps


@pytest.fixture
def bare(monkeypatch):
    """A host without ps, and the row of this very process."""
    Ps(monkeypatch, missing=True)

    def row(*words):
        found = top.show(list(words), {os.getpid(), 1 << 22})
        (mine,) = found["Processes"]
        return dict(zip(found["Titles"], mine, strict=True))

    return row


def test_the_default_columns(bare):
    row = bare("-ef")
    assert list(row) == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert (row["PID"], row["PPID"]) == (str(os.getpid()), str(os.getppid()))
    assert "python" in row["CMD"]


@pytest.mark.parametrize(
    ("words", "titles"),
    [
        (["aux"], "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
        (["-e"], "PID TTY TIME CMD"),
        (["-ww", "-eo", "pid,comm"], "PID COMMAND"),
        (["-opid,rss", "-o", "stat"], "PID RSS STAT"),
        (["axo", "pid,args"], "PID COMMAND"),
        (["--format=pid,user"], "PID USER"),
        (["--format", "pid,user"], "PID USER"),
        (["-o", "pid,comm=What it is"], "PID What it is"),
    ],
)
def test_other_columns(bare, words, titles):
    assert " ".join(bare(*words)) == titles


def test_every_column_has_something_in_it(bare):
    names = [name for name in ps_columns._COLUMNS if name != "pid"]
    for name in names:
        (value,) = (text for title, text in bare("-o", f"pid,{name}=X").items() if title == "X")
        assert value, name


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--forest"], "has no ps"),
        (["-eZ"], "has no ps"),
        (["pid"], "has no ps"),
        (["-o"], "must follow"),
        (["--format"], "must follow"),
        (["-o", "pid,nosuch"], "nosuch"),
        (["-o", "comm"], "Couldn't find PID"),
        (["-o", "pid=ID"], "Couldn't find PID"),
        (["-o", ""], "unknown user-defined"),
    ],
)
def test_what_only_ps_can_do_is_refused(bare, words, text):
    with pytest.raises(InvalidParameter, match=text):
        bare(*words)


@given(st.lists(st.text("aefouwxp-=,id ", max_size=8), max_size=4))
def test_options_are_understood_or_refused(words):
    try:
        found = ps_options.columns(words)
    except InvalidParameter:
        return
    assert found


def test_times_as_ps_has_them():
    now = time.mktime((2026, 5, 20, 12, 0, 0, 0, 0, -1))
    assert ps_columns.started(now - 60, now) == "11:59"
    assert ps_columns.started(now - 5 * 86400, now) == "May15"
    assert ps_columns.started(now - 500 * 86400, now) == "2025"
    assert ps_columns._hours(59) == "00:00:59"
    assert ps_columns._hours(2 * 86400 + 3661) == "2-01:01:01"
