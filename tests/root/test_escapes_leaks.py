"""Nothing of the engine's and of its caller's is in a container or an exec, cold and warm."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import hostile, needs
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command_line import CommandLine

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]
both = pytest.mark.ways("cold", "warm")

SLEEP = ("busybox", "sleep", "1000")
DESCRIPTORS = "ls -l /proc/$$/fd; exit"  # of the shell, which waits
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, signal.SIGTSTP)
GLIBC_SIGNALS = 1 << 31 | 1 << 32
"""32 and 33 are glibc's own: its posix_spawn(3) has them ignored in every child."""


@pytest.fixture
def running(cli: CommandLine) -> str:
    cli.ok("run", "-d", "--name", "one", *SLEEP)
    return "one"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[list[int]]:
    """Descriptors that the caller lets its children have: a directory, a file, /."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    fds = [os.open(path, os.O_RDONLY) for path in (tmp_path, secret, "/")]
    yield fds
    for fd in fds:
        os.close(fd)


def numbers(listing: str) -> set[str]:
    return set(re.findall(r" (\d+) -> ", listing))


@both
def test_descriptors(cli: CommandLine, running: str, held: list[int], tmp_path: Path):
    here = subprocess.run(
        ["busybox", "sh", "-c", DESCRIPTORS], pass_fds=held, stdout=-1, text=True
    )
    assert numbers(here.stdout) == {"0", "1", "2", *map(str, held)}
    of_init = cli.call("run", "--rm", "busybox", "sh", "-c", DESCRIPTORS, pass_fds=held)
    of_exec = cli.call("exec", running, "sh", "-c", DESCRIPTORS, pass_fds=held)
    for done in (of_init, of_exec):
        assert (done.code, numbers(done.out)) == (0, {"0", "1", "2"})
        assert str(tmp_path) not in done.out
    terminal = cli.call("run", "--rm", "-t", "busybox", "sh", "-c", DESCRIPTORS, pass_fds=held)
    assert set(re.findall(r" -> (\S+)", terminal.out)) == {"/dev/pts/0"}


@both
def test_the_callers_terminal(cli: CommandLine, running: str):
    """Whoever has it can type into the caller's shell (TIOCSTI)."""
    leader, follower = os.openpty()
    try:
        name = os.ttyname(follower)
        for words in (("run", "--rm", "-i", "busybox"), ("exec", "-i", running)):
            begun = cli.begin(
                *words, "sh", "-c", f"{DESCRIPTORS} 3",
                stdin=follower, stderr=follower, stdout=subprocess.PIPE,
            )  # fmt: skip
            listing = begun.communicate(timeout=60)[0].decode()
            assert begun.returncode == 3
            assert numbers(listing) == {"0", "1", "2"}
            assert "/dev/pts" not in listing
        here = subprocess.run(
            ["busybox", "sh", "-c", DESCRIPTORS], stdin=follower, stdout=-1, text=True
        )
        assert f" -> {name}" in here.stdout
    finally:
        os.close(leader)
        os.close(follower)


@both
def test_environment(cli: CommandLine, running: str):
    environment = {**cli.environment, "SECRET": "1", "LISTEN_FDS": "1", "NOTIFY_SOCKET": "/x"}
    for words in (("run", "--rm", "busybox"), ("exec", running)):
        out = cli.call(*words, "cat", "/proc/self/environ", env=environment).out
        names = {item.partition("=")[0] for item in out.split("\0") if item}
        assert names == {"PATH", "HOSTNAME", "HOME"}
    asked = cli.call("exec", "-e", "SECRET", running, "env", env=environment)
    assert "SECRET=1" in asked.out


@both
def test_directory_umask_and_names_of_the_engine(cli: CommandLine, running: str, tmp_path: Path):
    script = "pwd; readlink /proc/self/cwd; touch /tmp/x; stat -c %a /tmp/x"
    for words in (("run", "--rm", "busybox"), ("exec", running)):
        done = cli.call(*words, "sh", "-c", script, cwd=tmp_path, umask=0o077)
        assert done.out.split() == ["/", "/", "644"]
    script = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
    for words in (("run", "--rm", "busybox"), ("exec", running)):
        out = cli.ok(*words, "sh", "-c", script)
        assert str(cli.root) not in out
        assert str(cli.state) not in out


def ignore_and_block() -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGTERM})


def signals(text: str) -> dict[str, int]:
    fields = (line.partition(":")[::2] for line in text.splitlines())
    return {name: int(value, 16) & ~GLIBC_SIGNALS for name, value in fields}


@both
def test_signals_that_the_caller_ignores_or_blocks(cli: CommandLine, running: str):
    script = ("grep", "-E", "Sig(Ign|Blk)", "/proc/self/status")
    here = subprocess.run(
        ["busybox", *script], preexec_fn=ignore_and_block, stdout=-1, text=True
    )
    assert all(signals(here.stdout).values())
    for words in (("run", "--rm", "busybox"), ("exec", running)):
        done = cli.call(*words, *script, preexec_fn=ignore_and_block)
        assert signals(done.out) == {"SigIgn": 0, "SigBlk": 0}


@both
@pytest.mark.parametrize("number", [3, 7])
def test_no_descriptor_is_a_working_directory(cli: CommandLine, running: str, number: int):
    path = f"/proc/self/fd/{number}"  # CVE-2024-21626
    for words in (("run", "--rm", "-w", path, "busybox"), ("exec", "-w", path, running)):
        done = cli.call(*words, "ls", "..")
        assert (done.code, done.out) == (125, "")
        assert "has open" in done.err
    assert cli.names() == [running]


@pytest.mark.parametrize("target", ["/proc/self/fd/7", "../../proc/self/cwd", "/dev/fd/8"])
def test_links_of_the_image_to_descriptors(
    cli: CommandLine, busybox_tar: Path, tmp_path: Path, target: str
):
    def link(top: Path) -> None:
        (top / "wd").symlink_to(target)
        (top / "good").symlink_to("/tmp/../var")

    with hostile.image(cli, busybox_tar, tmp_path, link) as image:
        done = cli.call("run", "--rm", "-w", "/wd", image, "ls", "..")
        assert (done.code, done.out) == (125, "")
        assert "/wd leads to" in done.err
        assert cli.ok("run", "--rm", "-w", "/good", image, "pwd") == "/var"


@both
def test_a_link_made_inside_leads_an_exec_nowhere(cli: CommandLine, running: str):
    """The engine cannot see it: the link may be there for a moment only. The runtime refuses."""
    script = "ln -s /proc/self/fd /fds; for n in 3 4 5 6 7 8 9 10 11; do ln -s /fds/$n /w$n; done"
    cli.ok("exec", running, "sh", "-c", script)
    for number in range(3, 12):
        done = cli.call("exec", "-w", f"/w{number}", running, "ls", "..")
        assert done.code != 0
        assert done.out == ""
    assert cli.ok("exec", "-w", "/fds/../cwd", running, "ls", "/").split()


# What a runtime that is not static needs to run at all.
LIBRARIES = [
    word
    for path in ("/lib", "/lib64", "/usr/lib")
    if os.path.isdir(path)
    for word in ("-v", f"{path}:{path}:ro")
]
CATCH = r"""
for p in /proc/[0-9]*; do
    grep -qa "^$1" $p/cmdline 2>/dev/null && exec 9<$p/exe && found=${p##*/} && break
done
[ -n "$found" ] || exit 1
readlink /proc/$$/fd/9
kill -9 $found
while grep -qs 'State:.[^Z]' /proc/$found/status; do sleep 0.02; done
( : >>/proc/$$/fd/9 ) 2>&1 && echo writable
"""


def test_the_runtime_cannot_be_written_to(cli: CommandLine):
    """CVE-2019-5736: a program that is /proc/self/exe is the runtime itself, run inside."""
    runtime = shutil.which("runc")
    assert runtime
    before = os.stat(runtime)
    script = r"mkfifo /fifo; printf '#!/proc/self/exe --log=/fifo\n' >/trap; chmod 755 /trap"
    cli.ok("run", "-d", "--name", "one", *LIBRARIES, *SLEEP)
    cli.ok("exec", "one", "sh", "-c", script)
    caught = catch(cli, "one", "/proc/self/exe", "/trap")
    assert "writable" not in caught or "memfd" in caught  # memfd: a sealed copy
    after = os.stat(runtime)
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_what_is_caught_like_that_and_can_be_written_to(cli: CommandLine, tmp_path: Path):
    """So the way to catch it works: the same with a program of the host's that is mounted."""
    shutil.copy("/bin/sleep", tmp_path / "victim")
    victim = ("-v", f"{tmp_path}/victim:/bin/victim")
    cli.ok("run", "-d", "--name", "one", *LIBRARIES, *victim, *SLEEP)
    assert "writable" in catch(cli, "one", "/bin/victim", "/bin/victim", "1000")


def catch(cli: CommandLine, container: str, marks: str, *command: str) -> str:
    """Run a program, hold its file open from another process, and open that to write."""
    attempt = cli.begin("exec", container, *command, stdout=subprocess.DEVNULL)
    try:
        found: list[str] = []

        def look() -> bool:
            done = cli.call("exec", container, "sh", "-c", CATCH, "sh", marks)
            found[:] = [done.out] if done.out else []
            return bool(found)

        wait_for(look, f"something runs as {marks}")
        return found[0]
    finally:
        attempt.wait(60)
