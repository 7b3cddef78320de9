"""Progress on terminals (a pseudo-terminal here) and elsewhere (a pipe)."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

import pytest

from runengine.cli import progress
from runengine.cli.progress import picture, progress_for


@pytest.fixture
def pipe():
    ends = os.pipe2(os.O_CLOEXEC)
    yield ends
    for fd in ends:
        os.close(fd)


@pytest.fixture
def terminal():
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 60, 0, 0))
    yield main, other
    os.close(main)
    os.close(other)


def read_until(fd: int, end: str) -> str:
    """What the terminal shows, to ``end``; a terminal hands its bytes on when it likes."""
    data = b""
    while not data.endswith(end.encode()):
        data += os.read(fd, 4096)
    return data.decode().replace("\r\n", "\n")


def test_a_pipe_gets_a_line_for_each_change_of_status(pipe):
    with progress_for(pipe[1]) as shown:
        shown.line("latest: Pulling")
        for count in (0, 3, 9):
            shown.layer("sha256:" + "ab" * 32, "Downloading", count, 10)
        shown.layer("sha256:" + "ab" * 32, "Pull complete", 10, 10)
    assert os.read(pipe[0], 4096).decode() == (
        "latest: Pulling\nabababababab: Downloading\nabababababab: Pull complete\n"
    )


def test_quiet_says_nothing(pipe):
    with progress_for(pipe[1], quiet=True) as shown:
        shown.line("x")
        shown.layer("a", "b", 1, 2)
    os.set_blocking(pipe[0], False)
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 1)


def test_a_terminal_gets_bars_redrawn_in_place(terminal, monkeypatch):
    monkeypatch.setattr(progress, "REDRAW_S", 0)
    with progress_for(terminal[1]) as shown:
        shown.layer("a", "Downloading", 0, 100)
        shown.layer("a", "Downloading", 50, 100)
        shown.layer("a", "Pull complete", 100, 100)
        shown.line("Digest: x")
    text = read_until(terminal[0], "Digest: x\r\n")
    assert text == (
        "a: Downloading [>                    ] 0B/100B\n"
        "\x1b[1A\r\x1b[Ja: Downloading [==========>          ] 50B/100B\n"
        "\x1b[1A\r\x1b[Ja: Pull complete\n"
        "\x1b[1A\r\x1b[Ja: Pull complete\n"
        "Digest: x\n"
    )


def test_a_low_terminal_shows_what_is_unfinished(terminal, monkeypatch):
    monkeypatch.setattr(progress, "REDRAW_S", 0)
    shown = progress_for(terminal[1])
    for number in range(6):
        done = number < 2
        shown.layer(f"l{number}", "Pull complete" if done else "Waiting", 5 if done else 0, 5)
    os.write(terminal[1], b"done")
    lines = read_until(terminal[0], "done").rpartition("\x1b[J")[2].splitlines()[:-1]
    assert [line.partition(":")[0] for line in lines] == ["l2", "l3", "l4", "... and 3 more"]


def test_a_line_fits_the_terminal():
    for columns in (20, 40, 80):
        assert len(picture("abababababab", "Downloading", 5, 10, columns)) <= columns


def test_control_characters_of_a_status_do_not_reach_the_terminal():
    assert "\x1b" not in picture("a", "bad \x1b[2J", 0, None, 80)
