"""The client's side of the conversation, against a scripted monitor."""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from runengine import errors
from runengine.linux import locks, pidfd
from runengine.monitor import client, launch, wire
from runengine.monitor.client import Connection
from runengine.monitor.protocol import AttachOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    with Connection(ours) as connection, theirs:
        yield connection, theirs


def test_attach_sends_the_streams(pair: tuple[Connection, socket.socket]) -> None:
    connection, monitor = pair
    monitor.sendall(wire.control({"event": "attached"}))
    connection.attach(AttachOptions(stdin=True, stderr=False))
    request = wire.loads(monitor.recv(4096)[wire.HEADER_SIZE :])
    assert request == {"op": "attach", "stdin": True, "stdout": True, "stderr": False}


def test_output_before_an_answer_is_kept(pair: tuple[Connection, socket.socket]) -> None:
    connection, monitor = pair
    monitor.sendall(
        wire.frame(1, b"early") + wire.control({"event": "ok"}) + wire.frame(2, b"late")
    )
    connection.resize_once(1, 2)
    frames = connection.read_frames() or []
    assert [(frame.stream, frame.data) for frame in frames] == [(1, b"early"), (2, b"late")]
    assert connection.read_frames() == []


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("CommandNotFound", errors.CommandNotFound),
        ("Conflict", errors.Conflict),
        ("NoSuchClass", errors.RuntimeFailed),
    ],
)
def test_errors_are_raised(
    pair: tuple[Connection, socket.socket], kind: str, expected: type[errors.EngineError]
) -> None:
    connection, monitor = pair
    monitor.sendall(
        wire.control({"event": "error", "kind": kind, "brief": "b", "resolution": "do"})
    )
    with pytest.raises(expected, match=r"b \(do\)"):
        connection.status()


def test_monitor_that_goes_away(pair: tuple[Connection, socket.socket]) -> None:
    connection, monitor = pair
    monitor.close()
    with pytest.raises(errors.Unavailable, match="went away"):
        connection.status()
    assert connection.read_frames() is None
    assert connection.wait(0) is None
    assert not connection.take_over()


def test_exit_is_remembered(pair: tuple[Connection, socket.socket]) -> None:
    connection, monitor = pair
    monitor.sendall(wire.frame(1, b"x") + wire.control({"event": "exit", "exit": {"pid": 3}}))
    record = connection.wait(1)
    assert record
    assert record["pid"] == 3
    assert connection.exit == {"pid": 3}


def test_wait_gives_up(pair: tuple[Connection, socket.socket]) -> None:
    assert pair[0].wait(0.01) is None


def test_the_lock_is_on_its_way_with_the_job(
    pair: tuple[Connection, socket.socket], tmp_path: Path
) -> None:
    """Nobody is to find it free before the monitor has looked, whatever becomes of the sender."""
    connection, monitor = pair
    path = str(tmp_path / wire.LOCK_NAME)
    job = "x" * 1_000_000  # more than a socket takes at once
    with locks.locked(path) as fd:
        monitor.sendall(wire.control({"event": "started"}))
        connection.request({"op": "run", "job": job}, "started", lock_fd=fd)
    assert locks.try_lock(path) is None
    data, fds, _, _ = socket.recv_fds(monitor, 1 << 20, 2)
    assert len(fds) == 1
    while len(data) < len(job) + wire.HEADER_SIZE:
        connection.flush()
        data += monitor.recv(1 << 20)
    assert wire.loads(data[wire.HEADER_SIZE :])["job"] == job
    assert locks.try_lock(path) is None
    os.close(fds[0])
    free = locks.try_lock(path)
    assert free is not None
    os.close(free)


def test_a_container_has_one_monitor(
    pair: tuple[Connection, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LOCK_PATIENCE_S", 0)
    job: Any = {"id": "ab" * 32, "state_dir": str(tmp_path)}
    with client._lock_of(job), pytest.raises(errors.Conflict, match="has a monitor already"):
        client.Monitor(0, pair[1]).run(job)


def test_input_that_does_not_fit_waits(pair: tuple[Connection, socket.socket]) -> None:
    connection, monitor = pair
    data = bytes(2_000_000)
    connection.send_stdin(data)
    assert connection.wants_write
    received = bytearray()
    expected = wire.frame(wire.STDIN, data) + wire.frame(wire.STDIN, b"")
    connection.close_stdin()
    while len(received) < len(expected):
        received += monitor.recv(1 << 20)
        if connection.wants_write:
            connection.flush()
    assert received == expected
    assert not connection.wants_write


def test_no_monitor(tmp_path: Path) -> None:
    assert client.connect(str(tmp_path / "gone")) is None
    assert client.connect(str(tmp_path)) is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / wire.SOCKET_NAME))
    assert client.connect(str(tmp_path)) is None


def test_command_line_has_every_folder_it_needs() -> None:
    command = launch.command(launch.BOOT, wire.CONTROL_FD)
    assert command[:3] == [sys.executable, "-I", "-S"]
    assert command[5].endswith("/monitor/boot.py")
    folders = command[7:]
    assert any(sys.modules["runengine"].__path__[0] == f"{folder}/runengine" for folder in folders)


def test_a_stopped_monitor_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ATTENTION_S", 0.01)
    monkeypatch.setattr(pidfd, "is_stopped", lambda pid: pid == 1234)
    ours, theirs = socket.socketpair()
    with theirs, Connection(ours, 1234) as connection:
        for ask in (connection.status, connection.wait):
            with pytest.raises(errors.TimedOut, match="kill -CONT 1234"):
                ask()


def test_a_monitor_is_known_by_its_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one whose queue of clients is full, as nobody takes them, is not waited for."""
    monkeypatch.setattr(client, "ACCEPT_TIMEOUT_S", 0.01)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/{wire.SOCKET_NAME}")
        listener.listen(0)
        first = client.connect(str(tmp_path))
        assert first is not None
        with first, pytest.raises(errors.TimedOut, match="takes no more clients"):
            client.connect(str(tmp_path))
        assert first._monitor_pid == os.getpid()
