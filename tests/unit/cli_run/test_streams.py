"""The relay against a monitor that is a thread at the other end of a socket pair."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import struct
import termios
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from runengine.cli import streams, terminal
from runengine.monitor import wire
from runengine.monitor.client import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RECORD: dict[str, Any] = {"exit_code": 3, "signal": None}
EXIT: dict[str, Any] = {"event": "exit", "exit": RECORD}


class Peer:
    """The monitor's end: collects what the client sends, and says what a test tells it to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.splitter = wire.Splitter()
        self.stdin = b""
        self.eof = threading.Event()
        self.controls: list[dict[str, Any]] = []

    def read(self) -> bool:
        data = self.sock.recv(1 << 16)
        for stream, payload in self.splitter.feed(data):
            if stream == wire.CONTROL:
                self.controls.append(wire.loads(payload))
            elif payload:
                self.stdin += payload
            else:
                self.eof.set()
        return bool(data)

    def read_until(self, done: Callable[[], bool]) -> None:
        while not done() and self.read():
            pass

    def say(self, stream: int, data: bytes) -> None:
        self.sock.sendall(wire.frame(stream, data))

    def end(self) -> None:
        self.sock.sendall(wire.control(EXIT))


@contextmanager
def session(script: Callable[[Peer], None]) -> Iterator[Connection]:
    ours, theirs = socket.socketpair()
    peer = Peer(theirs)
    failed: list[BaseException] = []

    def run() -> None:
        try:
            script(peer)
        except BaseException as error:  # noqa: BLE001
            failed.append(error)
        finally:
            theirs.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with Connection(ours) as connection:
            yield connection
    finally:
        thread.join(20)
    assert not failed, failed


class Files:
    """Pipes in place of the standard streams."""

    def __init__(self) -> None:
        self.stdin_read, self.stdin_write = os.pipe()
        self.stdout_read, self.stdout_write = os.pipe()
        self.stderr_read, self.stderr_write = os.pipe()

    @property
    def fds(self) -> tuple[int, int, int]:
        return self.stdin_read, self.stdout_write, self.stderr_write

    def close_stdin(self) -> None:
        os.close(self.stdin_write)
        self.stdin_write = -1

    def close(self) -> None:
        for fd in vars(self).values():
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def files() -> Iterator[Files]:
    made = Files()
    yield made
    made.close()


@pytest.fixture
def terminal_pair() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    yield master, slave
    os.close(master)
    os.close(slave)


def relay(connection: Connection, files: Files, **options: Any) -> streams.Outcome:
    options = {"stdin": False, "tty": False, **options}
    return streams.Relay(connection, fds=files.fds, **options).run()


def wait_until_relaying(peer: Peer, files: Files) -> None:
    peer.say(1, b"ready")
    assert os.read(files.stdout_read, 9) == b"ready"


def test_streams_stay_apart_and_exit_comes_last(files):
    def script(peer: Peer) -> None:
        peer.say(1, b"out")
        peer.say(2, b"err")
        peer.end()

    with session(script) as connection:
        outcome = relay(connection, files)
    assert os.read(files.stdout_read, 99) == b"out"
    assert os.read(files.stderr_read, 99) == b"err"
    assert outcome == streams.Outcome(detached=False, exit=RECORD)


def test_output_that_came_with_the_answer_is_not_lost(files):
    def script(peer: Peer) -> None:
        answer = wire.control({"event": "attached"})
        peer.sock.sendall(answer + wire.frame(1, b"early") + wire.control(EXIT))

    with session(script) as connection:
        connection.request({"op": "attach"}, "attached")
        outcome = relay(connection, files)
    assert os.read(files.stdout_read, 99) == b"early"
    assert outcome.exit == RECORD


def test_stdin_is_half_closed_at_its_end(files):
    os.write(files.stdin_write, b"\x10\x11data")
    files.close_stdin()

    def script(peer: Peer) -> None:
        peer.read_until(peer.eof.is_set)
        peer.say(1, peer.stdin)
        peer.end()

    with session(script) as connection:
        relay(connection, files, stdin=True, detach_keys=b"\x10\x11")
    # Without a terminal the detach keys are data.
    assert os.read(files.stdout_read, 99) == b"\x10\x11data"


def test_closed_stdin_is_an_empty_one(files):
    never_open = 1000

    def script(peer: Peer) -> None:
        peer.read_until(peer.eof.is_set)
        assert peer.eof.is_set()
        peer.end()

    with session(script) as connection:
        fds = (never_open, files.stdout_write, files.stderr_write)
        streams.Relay(connection, stdin=True, tty=False, fds=fds).run()


def test_monitor_that_vanishes_ends_the_session_without_a_code(files):
    with session(lambda peer: peer.say(1, b"half")) as connection:
        outcome = relay(connection, files)
    assert outcome == streams.Outcome(detached=False, exit=None)


def test_slow_reader_gets_everything(files):
    total = 3 << 20
    got = bytearray()

    def read_all() -> None:
        while len(got) < total:
            got.extend(os.read(files.stdout_read, 1 << 16))
            time.sleep(0.001)

    def script(peer: Peer) -> None:
        for start in range(0, total, 1 << 18):
            peer.say(1, bytes([start >> 18]) * (1 << 18))
        peer.end()

    reader = threading.Thread(target=read_all)
    reader.start()
    with session(script) as connection:
        relay(connection, files)
    reader.join(20)
    assert bytes(got) == b"".join(bytes([part]) * (1 << 18) for part in range(total >> 18))
    assert not fcntl.fcntl(files.stdout_write, fcntl.F_GETFL) & os.O_NONBLOCK


def test_blocked_output_does_not_block_input_or_signals(files):
    sent: list[int] = []

    def script(peer: Peer) -> None:
        peer.say(1, b"x" * (1 << 20))  # nobody reads it
        os.write(files.stdin_write, b"hello")
        peer.read_until(lambda: peer.stdin == b"hello")
        os.kill(os.getpid(), signal.SIGUSR1)
        while not sent:
            time.sleep(0.005)
        os.set_blocking(files.stdout_read, False)
        peer.end()
        while True:
            try:
                if not os.read(files.stdout_read, 1 << 20):
                    return
            except BlockingIOError:
                if peer.sock.fileno() < 0 or done.is_set():
                    return
                time.sleep(0.002)

    done = threading.Event()
    with session(script) as connection:
        outcome = relay(connection, files, stdin=True, send_signal=sent.append)
        done.set()
    assert sent == [signal.SIGUSR1]
    assert outcome.exit == RECORD


def test_input_waits_for_a_container_that_does_not_read(files):
    total = 4 << 20
    done = threading.Event()

    def feed() -> None:
        rest = memoryview(b"y" * total)
        while rest:
            rest = rest[os.write(files.stdin_write, rest) :]
        files.close_stdin()

    def script(peer: Peer) -> None:
        done.wait(0.2)
        peer.read_until(peer.eof.is_set)
        assert len(peer.stdin) == total
        peer.end()

    feeder = threading.Thread(target=feed)
    feeder.start()
    with session(script) as connection:
        relay(connection, files, stdin=True)
    feeder.join(20)


def test_reader_that_leaves_ends_us(files):
    os.close(files.stdout_read)
    files.stdout_read = -1

    with (
        session(lambda peer: peer.say(1, b"x")) as connection,
        pytest.raises(BrokenPipeError),
    ):
        relay(connection, files)


def test_missing_stderr_reader_does_not(files):
    os.close(files.stderr_read)
    files.stderr_read = -1

    def script(peer: Peer) -> None:
        peer.say(2, b"x")
        peer.say(1, b"y")
        peer.end()

    with session(script) as connection:
        outcome = relay(connection, files)
    assert outcome.exit == RECORD
    assert os.read(files.stdout_read, 9) == b"y"


def test_third_interrupt_ends_the_client(files):
    sent: list[int] = []

    def script(peer: Peer) -> None:
        wait_until_relaying(peer, files)
        for count in range(1, 4):
            os.kill(os.getpid(), signal.SIGINT)
            while len(sent) < count:
                time.sleep(0.005)
        peer.read()

    with session(script) as connection:
        with pytest.raises(SystemExit) as caught:
            relay(connection, files, send_signal=sent.append)
        connection.close()
    assert caught.value.code == 1
    assert b"forcefully" in os.read(files.stderr_read, 99)


def test_without_proxy_an_interrupt_is_ours(files):
    def script(peer: Peer) -> None:
        wait_until_relaying(peer, files)
        os.kill(os.getpid(), signal.SIGINT)
        peer.read()

    with session(script) as connection, pytest.raises(KeyboardInterrupt):
        relay(connection, files)


def test_handlers_are_put_back(files):
    before = [signal.getsignal(number) for number in signal.valid_signals()]
    with session(Peer.end) as connection:
        relay(connection, files, send_signal=[].append)
    assert [signal.getsignal(number) for number in signal.valid_signals()] == before


def test_terminal_is_raw_during_and_restored_after(terminal_pair):
    master, slave = terminal_pair
    before = termios.tcgetattr(slave)
    during: list[Any] = []

    def script(peer: Peer) -> None:
        peer.say(1, b"ready")
        assert os.read(master, 9) == b"ready"
        os.write(master, b"\x03\x10\x10")
        # The first ctrl-p proves to begin no detach sequence, the second one may.
        peer.read_until(lambda: peer.stdin == b"\x03\x10")
        during.append(termios.tcgetattr(slave))
        os.write(master, b"\x11never sent")
        peer.read_until(lambda: peer.controls[-1:] == [{"op": "detach"}])

    with session(script) as connection:
        outcome = streams.Relay(
            connection, stdin=True, tty=True, detach_keys=b"\x10\x11", fds=(slave, slave, slave)
        ).run()
    assert outcome.detached
    assert not during[0][3] & (termios.ICANON | termios.ECHO | termios.ISIG)
    assert not during[0][1] & termios.OPOST
    assert termios.tcgetattr(slave) == before


def test_window_size_follows(terminal_pair, monkeypatch):
    _, slave = terminal_pair
    sizes = iter([(24, 80), (50, 120)])
    monkeypatch.setattr(terminal, "size", lambda: next(sizes))

    def script(peer: Peer) -> None:
        peer.read_until(lambda: len(peer.controls) == 1)
        os.kill(os.getpid(), signal.SIGWINCH)
        peer.read_until(lambda: len(peer.controls) == 2)
        assert [(c["rows"], c["cols"]) for c in peer.controls] == [(24, 80), (50, 120)]
        peer.end()

    with session(script) as connection:
        relay_on_tty = streams.Relay(connection, stdin=True, tty=True, fds=(slave,) * 3)
        relay_on_tty.run((25, 80))


def test_size_of_a_terminal(terminal_pair, monkeypatch):
    master, slave = terminal_pair
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", 33, 99, 0, 0))
    monkeypatch.setattr(terminal, "STDOUT", slave)
    assert terminal.size() == (33, 99)


def test_raw_mode_leaves_other_files_alone(files):
    with terminal.Raw(files.stdin_read), terminal.Raw(None), terminal.Raw(-1):
        pass


def test_ignored_signals_stay_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminal.Signals(proxy=True) as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.take() == []
    finally:
        signal.signal(signal.SIGHUP, before)


def test_window_change_never_reaches_the_container():
    assert signal.SIGWINCH not in terminal.proxied()
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1} <= terminal.proxied()
