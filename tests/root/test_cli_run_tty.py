"""Sessions on a terminal, through a pseudo-terminal of the test's own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import needs
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command_line import CommandLine

pytestmark = [
    pytest.mark.root,
    pytest.mark.ways("cold", "warm"),
    needs("runc", "overlay", "busybox"),
]

PROMPT = b"# "
TIMEOUT_S = 30


class Screen:
    """A terminal with a command on it; the test is the user."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(24, 80)
        self.settings = termios.tcgetattr(self.slave)
        self.seen = b""
        # Its own session with the terminal as the controlling one, as a login has.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *command],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=environment,
        )

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def read_until(self, wanted: bytes) -> bytes:
        """What appeared up to and with ``wanted``."""
        deadline = time.monotonic() + TIMEOUT_S
        while wanted not in self.seen:
            ready, _, _ = select.select([self.master], [], [], deadline - time.monotonic())
            assert ready, f"no {wanted!r} in {self.seen!r}"
            data = os.read(self.master, 4096)
            # A shell asks for the cursor's position and waits a little for the answer.
            if b"\x1b[6n" in data:
                os.write(self.master, b"\x1b[1;1R")
            self.seen += data
        found, _, self.seen = self.seen.partition(wanted)
        return found + wanted

    def ask(self, command: bytes, answer: bytes) -> None:
        """Type a command and wait for its answer and the next prompt."""
        self.type(command + b"\n")
        self.read_until(command.split()[-1])
        self.read_until(answer)
        self.read_until(PROMPT)

    def await_size(self, size: bytes) -> None:
        """Wait until the terminal in the container has it."""
        self.ask(b'until [ "$(stty size)" = "%b" ]; do sleep 0.1; done; echo big' % size, b"big")

    def wait(self) -> int:
        """The command's exit code."""
        return self.process.wait(TIMEOUT_S)

    def is_restored(self) -> bool:
        """Whether the terminal is as it was."""
        return termios.tcgetattr(self.slave) == self.settings

    def hang_up(self) -> None:
        """What happens when the user's window or connection is closed."""
        for fd in (self.slave, self.master):
            if fd >= 0:
                os.close(fd)
        self.master = self.slave = -1

    def close(self) -> None:
        """Leave nothing behind."""
        self.hang_up()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def screens(cli: CommandLine) -> Iterator[list[Screen]]:
    opened: list[Screen] = []
    yield opened
    for screen in opened:
        screen.close()


@pytest.fixture
def begin(cli: CommandLine, screens: list[Screen]):
    def begin_on_screen(*words: str) -> Screen:
        screen = Screen(cli.command(*words), cli.environment)
        screens.append(screen)
        return screen

    return begin_on_screen


def test_a_shell(begin, cli: CommandLine):
    screen = begin("run", "--rm", "-it", "busybox", "sh")
    screen.read_until(PROMPT)
    assert not screen.is_restored()
    screen.ask(b"stty size", b"24 80")
    screen.ask(b"tty", b"/dev/pts/0")
    screen.ask(b"echo $TERM", b"xterm")
    screen.ask(b"ls -l /dev/console | cut -c1", b"c")
    screen.type(b"exit 5\n")
    assert screen.wait() == 5
    assert screen.is_restored()
    assert cli.names() == []


def test_window_size_follows(begin):
    screen = begin("run", "--rm", "-it", "busybox", "sh")
    screen.read_until(PROMPT)
    screen.resize(50, 120)
    screen.await_size(b"50 120")
    screen.type(b"exit\n")
    assert screen.wait() == 0


def test_interrupt_goes_to_the_foreground_process(begin):
    screen = begin("run", "--rm", "-it", "busybox", "sh")
    screen.read_until(PROMPT)
    screen.type(b"sleep 1000; echo code $?\n")
    screen.read_until(b"1000;")
    time.sleep(0.3)
    screen.type(b"\x03")
    screen.read_until(PROMPT)
    screen.type(b"\x04")
    screen.wait()
    assert screen.is_restored()


def test_detach_and_attach_again(begin, cli: CommandLine):
    screen = begin("run", "-it", "--name", "t1", "busybox", "sh")
    screen.read_until(PROMPT)
    screen.type(b"\x10\x11")
    assert screen.wait() == 0
    assert screen.is_restored()
    assert cli.state_of("t1") == "running"
    again = begin("attach", "t1")
    wait_for(lambda: not again.is_restored(), "it has the terminal")
    again.ask(b"echo back", b"back")
    again.type(b"exit 7\n")
    assert again.wait() == 7
    assert again.is_restored()
    third = begin("start", "-ai", "t1")
    third.read_until(PROMPT)
    third.type(b"exit 8\n")
    assert third.wait() == 8


def test_own_detach_keys(begin, cli: CommandLine):
    screen = begin("run", "-it", "--name", "t1", "--detach-keys", "ctrl-a,d", "busybox", "sh")
    screen.read_until(PROMPT)
    screen.type(b"\x01x\x7f")  # not the sequence: goes on to the shell
    screen.ask(b"echo here", b"here")
    screen.type(b"\x01")
    time.sleep(0.2)
    screen.type(b"d")
    assert screen.wait() == 0
    assert cli.state_of("t1") == "running"


def test_exec_on_a_terminal(begin, cli: CommandLine):
    cli.ok("run", "-d", "--name", "e1", "busybox", "sleep", "600")
    screen = begin("exec", "-it", "e1", "sh")
    screen.read_until(PROMPT)
    screen.ask(b"stty size", b"24 80")
    screen.resize(33, 99)
    screen.await_size(b"33 99")
    screen.type(b"exit 4\n")
    assert screen.wait() == 4
    assert screen.is_restored()


def test_detach_from_exec(begin, cli: CommandLine):
    cli.ok("run", "-d", "--name", "e1", "busybox", "sleep", "600")
    screen = begin("exec", "-it", "e1", "sh")
    screen.read_until(PROMPT)
    screen.type(b"\x10\x11")
    assert screen.wait() == 0
    assert screen.is_restored()
    assert cli.ok("top", "e1").splitlines()[-1].split()[-1] == "sh"


def test_terminal_is_restored_when_the_client_is_ended(begin, cli: CommandLine):
    screen = begin("run", "-it", "--sig-proxy=false", "--name", "t1", "busybox", "sh")
    screen.read_until(PROMPT)
    screen.process.send_signal(signal.SIGTERM)
    assert screen.wait() == 128 + signal.SIGTERM
    assert screen.is_restored()
    assert cli.state_of("t1") == "running"


def test_hung_up_terminal_is_a_hangup_inside(begin, cli: CommandLine):
    script = "trap 'echo hup > /t; exit 3' HUP; echo ready; while :; do sleep 0.1; done"
    screen = begin("run", "-it", "--name", "t1", "busybox", "sh", "-c", script)
    screen.read_until(b"ready")
    screen.hang_up()
    assert screen.wait() == 3
    wait_for(lambda: cli.state_of("t1") != "running")
    assert cli.ok("inspect", "--format", "{{.State.ExitCode}}", "t1") == "3"


def test_tty_without_input(cli: CommandLine):
    done = cli.call("run", "--rm", "-t", "busybox", "sh", "-c", "tty; echo err >&2")
    assert done.code == 0
    assert done.out == "/dev/pts/0\r\nerr\r\n"
    assert done.err == ""


@pytest.mark.parametrize("command", ["run", "exec"])
def test_no_terminal_is_said_before_anything_is_made(cli: CommandLine, command: str):  # E-14
    cli.ok("run", "-d", "--name", "e1", "busybox", "sleep", "600")
    words = ["run", "-it", "busybox"] if command == "run" else ["exec", "-it", "e1"]
    done = cli.call(*words, "sh")
    assert "the input device is not a TTY" in done.err
    assert done.code == (125 if command == "run" else done.code)
    assert done.code != 0
    assert cli.names() == ["e1"]
