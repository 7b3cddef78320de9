"""Streams, signals, arguments and environment of a command, cold and warm: no difference."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support import needs

pytestmark = [
    pytest.mark.root,
    pytest.mark.ways("cold", "warm"),
    needs("runc", "overlay", "busybox"),
]

BOTH_STREAMS = ("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
WAIT_S = 30


def shell(cli, redirections, *arguments):
    """Run a command with a shell's redirections, its own streams readable where they are left."""
    script = f'exec "$@" {redirections}'
    command = ["sh", "-c", script, "sh", *cli.command(*arguments)]
    done = subprocess.run(
        command, env=cli.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("redirections", "out", "err"),
    [
        ("<&-", "out\n", "err\n"),
        (">&-", "", "err\n"),
        ("2>&-", "out\n", ""),
        ("<&- >&- 2>&-", "", ""),
    ],
)
def test_closed_streams_take_nothing_else_away(cli, redirections, out, err):
    assert shell(cli, redirections, *BOTH_STREAMS) == (3, out, err)
    assert cli.names() == []


FULL = "No space left on device"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("ps",), 1, f"Error: {FULL}\n"),
        (("images", "-q"), 1, f"Error: {FULL}\n"),
        (("--help",), 1, f"Error: {FULL}\n"),
        (("run", "--rm", "busybox", "echo", "x"), 125,
         f"runengine: cannot write the output: {FULL}\n"),
    ],
)  # fmt: skip
def test_a_full_disk_behind_stdout_is_told(cli, arguments, code, message):
    assert shell(cli, ">/dev/full", *arguments) == (code, "", message)
    assert shell(cli, ">/dev/full 2>/dev/full", *arguments) == (code, "", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("inspect", "--type", "container", "nobody"), 1),
        (("ps", "--nonsense"), 125),
        (("run", "--rm", "busybox", "sh", "-c", "echo x >&2"), 125),
        (("run", "--rm", "busybox", "nothing"), 127),
    ],
)
def test_a_complaint_that_nobody_can_read_leaves_the_exit_code(cli, arguments, code):
    assert shell(cli, "2>/dev/full", *arguments)[0] == code


def test_megabytes_of_environment_and_arguments(cli):
    large = "x" * 120_000
    environment = {**cli.environment, **{f"LARGE{n}": large for n in range(10)}}
    words = ["w"] * 50_000
    script = 'echo "${#LARGE7} ${LARGE8-unset} $#"'
    done = cli.call(
        "run", "--rm", "-e", "LARGE7", "busybox", "sh", "-c", script, "sh", *words, env=environment
    )
    assert done == (0, f"{len(large)} unset {len(words)}\n", "")


def begin_waiting(cli, count=1, **options):
    """Calls of ``wait`` that sleep in the monitor's answer, signals as in a terminal."""
    cli.ok("run", "-d", "--name", "one", "busybox", "sleep", "600")
    waiting = [cli.begin("wait", "one", restore_signals=True, **options) for _ in range(count)]
    time.sleep(1)
    return waiting


def test_a_command_dies_of_the_signal_that_it_gets(cli):
    numbers = [
        signal.Signals[f"SIG{name}"]
        for name in ("HUP", "INT", "QUIT", "USR1", "ALRM", "TERM", "KILL")
    ]
    waiting = begin_waiting(cli, len(numbers), preexec_fn=default_signals)
    for command, number in zip(waiting, numbers, strict=True):
        command.send_signal(number)
    assert [command.wait(WAIT_S) for command in waiting] == [-number for number in numbers]


def default_signals():
    """As a shell with job control starts a command."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def ignore_hangup():
    """As nohup(1) does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_what_the_caller_ignores_stays_ignored_by_the_command_not_by_the_container(cli):
    script = "trap 'echo HUP' HUP; echo begun; read line; echo end"
    command = cli.command("run", "--rm", "-i", "--name", "one", "busybox", "sh", "-c", script)
    with subprocess.Popen(
        command, env=cli.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        preexec_fn=ignore_hangup,
    ) as running:  # fmt: skip
        assert running.stdin
        assert running.stdout
        assert running.stdout.readline() == b"begun\n"
        running.send_signal(signal.SIGHUP)
        cli.ok("kill", "--signal", "HUP", "one")
        assert running.stdout.readline() == b"HUP\n"
        running.stdin.write(b"\n")
        running.stdin.close()
        assert running.stdout.read() == b"end\n"
        assert running.wait(WAIT_S) == 0


def test_a_stopped_command_goes_on(cli):
    (waiting,) = begin_waiting(cli, stdout=subprocess.PIPE)
    waiting.send_signal(signal.SIGTSTP)
    state = Path(f"/proc/{waiting.pid}/stat")
    deadline = time.monotonic() + WAIT_S
    while state.read_text().split()[2] != "T":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cli.ok("kill", "one")
    waiting.send_signal(signal.SIGCONT)
    assert waiting.communicate(timeout=WAIT_S)[0] == b"137\n"
    assert waiting.returncode == 0


def test_what_a_process_hands_to_its_children(cli, tmp_path):
    """Limits, niceness, CPUs, and a directory that is gone."""
    cpu = min(os.sched_getaffinity(0))
    script = (
        "mkdir gone && cd gone && rmdir ../gone &&"
        f' ulimit -S -s 4321 && exec nice -n 5 taskset -c {cpu} "$@"'
    )
    look = (
        "ulimit -s; cut -d' ' -f19 /proc/self/stat;"
        " grep Cpus_allowed_list /proc/self/status"
    )
    command = cli.command("run", "--rm", "busybox", "sh", "-c", look)
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command], env=cli.environment, capture_output=True, text=True,
        cwd=tmp_path, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    niceness = os.getpriority(os.PRIO_PROCESS, 0) + 5
    assert done.stdout.splitlines() == ["4321", str(niceness), f"Cpus_allowed_list:\t{cpu}"]
