"""The front: which launcher it asks, what it takes for an answer, what it makes of an end."""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from runengine import front

HERE = "/run/runengine/launcher.sock"


@pytest.mark.parametrize(
    ("words", "state", "expected"),
    [
        ("ps", "", HERE),
        ("", "", HERE),
        ("ps", "/s", "/s/launcher.sock"),
        ("--state /t ps", "/s", "/t/launcher.sock"),
        ("--state=/t ps", "/s", "/t/launcher.sock"),
        ("--state /t --state /u ps", "", "/u/launcher.sock"),
        ("--root /r ps --state /t", "", HERE),
        ("--root=/r -D ps", "", HERE),
        ("--root serve ps", "", HERE),
        ("--config /c -l debug --log-level=info --state /t ps", "", "/t/launcher.sock"),
        ("--cgroup-manager systemd --state /t ps", "", "/t/launcher.sock"),
        ("--state", "", HERE),
        ("run --state /t image", "", HERE),
    ],
)
def test_the_launcher_of_a_command_line(words, state, expected):
    environment = {b"RUNENGINE_STATE": state.encode()} if state else {}
    assert front.launcher_socket(words.split(), environment) == expected


@pytest.mark.parametrize(
    "words",
    ["serve", "--root /r serve --metrics x", "import /dev/fd/3", "load -i /proc/self/fd/9"],
)
def test_what_only_the_callers_own_process_can_do(words):
    assert front.launcher_socket(words.split(), {}) is None


def test_what_the_journal_gets_is_written_by_the_caller_itself():
    for fd in (1, 2):
        status = os.fstat(fd)
        stream = b"%d:%d" % (status.st_dev, status.st_ino)
        assert front.speaks_to_journal({b"JOURNAL_STREAM": stream})
    status = os.stat("/")
    for other in (b"", b"nonsense", b"%d:%d" % (status.st_dev, status.st_ino)):
        assert not front.speaks_to_journal({b"JOURNAL_STREAM": other})
    assert not front.speaks_to_journal({})


@contextmanager
def launcher(path, *answers):
    """Somebody who listens there and answers each connection so."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve():
            for answer in answers:
                sock, _ = listener.accept()
                with sock:
                    sock.recv(1 << 20)
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.fixture
def as_root(monkeypatch):
    """Whoever listens counts as root's."""
    monkeypatch.setattr(front, "_is_roots", lambda _: True)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"T",
        b"TN",
        b"N",
        b"nonsense",
        b"R\0\0\0\1\1",
        b"TR",
        b"TR\0\0\0",
        b"TR\0\0\0\0",
        b"TR\x7f\xff\xff\xff",
        b"TR\xff\xff\xff\xff",
        b"TR" + b"x" * 4000,
    ],
)
@pytest.mark.usefixtures("as_root")
def test_an_answer_that_is_none_leaves_the_call_to_us(tmp_path, answer):
    """It returns, and leaves descriptors and signals as they were."""
    path = tmp_path / "launcher.sock"
    before = sorted(os.listdir("/proc/self/fd")), signal.getsignal(signal.SIGTERM)
    with launcher(path, answer):
        front.call(str(path), ["ps"], {})
    assert (sorted(os.listdir("/proc/self/fd")), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, [front.ANSWER_TIMEOUT_S, front.BUSY_TIMEOUT_S]),
        ({front.SWITCH: b"require"}, [front.REQUIRED_TIMEOUT_S] * 2),
    ],
)
def test_a_worker_that_is_slow_is_waited_for(monkeypatch, environment, expected):
    """A cold call would make the host slower still."""
    answers, patience = [b"T", b"N"], []
    slow: Any = SimpleNamespace(
        recv=lambda _size, _flags: answers.pop(0),
        setsockopt=lambda _level, _option, value: patience.append(value),
        close=lambda: None,
    )
    monkeypatch.setattr("_socket.socket", lambda *_: slow)
    monkeypatch.setattr(front, "_connect", lambda _sock, _path, s: patience.append(s))
    monkeypatch.setattr(front, "_send", lambda *_: None)
    front.call("launcher.sock", ["ps"], environment)
    assert patience == [expected[0], front.timeval(expected[1])]
    assert answers == []


def test_nobody_there(tmp_path):
    front.call(str(tmp_path / "launcher.sock"), ["ps"], {})
    (tmp_path / "launcher.sock").write_text("a file")
    front.call(str(tmp_path / "launcher.sock"), ["ps"], {})
    front.call(f"/nowhere/{'long/' * 50}launcher.sock", ["ps"], {})


@pytest.mark.usefixtures("as_root")
def test_a_path_longer_than_a_sockets_address(tmp_path):
    directory = tmp_path / ("d" * 90) / ("e" * 90)
    directory.mkdir(parents=True)
    at = os.open(directory, os.O_PATH)
    try:
        with launcher(f"/proc/self/fd/{at}/launcher.sock", b"TN"):
            front.call(f"{directory}/launcher.sock", ["ps"], {})
    finally:
        os.close(at)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(0, b"E\0"), (3 << 8, b"E\3"), (255 << 8, b"E\xff"), (9, b"S\x09"), (0x8B, b"S\x0b")],
)
def test_how_a_wait_status_is_told(status, expected):
    assert front.describe(status) == expected
