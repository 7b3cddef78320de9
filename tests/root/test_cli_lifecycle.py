"""Commands on containers that exist, with one target and with several."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support import needs
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from tests.support.command_line import CommandLine

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]
both = pytest.mark.ways("cold", "warm")

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def begin(cli: CommandLine, *names: str, script: str = "exec sleep 600") -> None:
    for name in names:
        cli.ok("run", "-d", "--name", name, "busybox", "sh", "-c", script)


def status(cli: CommandLine, *names: str) -> list[str]:
    return cli.ok("inspect", "--format", "{{.State.Status}}", *names).split()


def exit_code(cli: CommandLine, name: str) -> int:
    return int(cli.ok("inspect", "--format", "{{.State.ExitCode}}", name))


@both
def test_several_targets_in_one_command(cli: CommandLine):  # 0-5
    begin(cli, "a1", "b1", "c1")
    assert cli.ok("pause", "a1", "b1") == "a1\nb1"
    assert status(cli, "a1", "b1", "c1") == ["paused", "paused", "running"]
    assert cli.ok("unpause", "a1", "b1") == "a1\nb1"
    assert cli.ok("kill", "a1", "b1", "c1") == "a1\nb1\nc1"
    assert cli.ok("wait", "a1", "b1", "c1") == "137\n137\n137"
    assert cli.ok("start", "a1", "b1") == "a1\nb1"
    assert cli.ok("restart", "-t", "0", "a1", "b1", "c1") == "a1\nb1\nc1"
    assert status(cli, "a1", "b1", "c1") == ["running"] * 3
    assert cli.ok("rm", "-f", "a1", "b1", "c1") == "a1\nb1\nc1"
    assert cli.names() == []


def test_one_bad_target_does_not_stop_the_others(cli: CommandLine):
    begin(cli, "a1", "b1")
    for command in ("kill", "rm"):
        done = cli.call(command, "a1", "nosuch", "b1")
        assert (done.code, done.out) == (1, "a1\nb1\n")
        assert done.err == "Error: No such container: nosuch\n"


def test_prefixes_and_ids(cli: CommandLine):
    identifier = cli.ok("run", "-d", "busybox", "sleep", "600")
    assert cli.ok("stop", "-t", "0", identifier[:5]) == identifier[:5]
    assert cli.ok("rm", identifier) == identifier


def test_stop_uses_the_containers_signal(cli: CommandLine):  # E-33
    script = "trap 'exit 33' USR1; echo ready; while :; do sleep 0.05; done"
    cli.ok("run", "-d", "--name", "a1", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    _until_ready(cli, "a1")
    cli.ok("stop", "a1")
    assert exit_code(cli, "a1") == 33
    assert cli.ok("stop", "a1") == "a1"  # stopped already: fine


def _until_ready(cli: CommandLine, *names: str) -> None:
    for name in names:
        wait_for(lambda name=name: "ready" in cli.ok("logs", name))


def test_stop_with_a_signal_and_a_time_limit(cli: CommandLine):
    begin(cli, "a1", "b1", script=STUBBORN)
    _until_ready(cli, "a1", "b1")
    cli.ok("stop", "-s", "KILL", "a1")
    cli.ok("stop", "--time", "0", "b1")
    assert [exit_code(cli, name) for name in ("a1", "b1")] == [137, 137]


def test_stubborn_containers_are_stopped_side_by_side(cli: CommandLine):
    names = [f"s{number}" for number in range(6)]
    begin(cli, *names, script=STUBBORN)
    _until_ready(cli, *names)
    started = time.monotonic()
    assert cli.ok("stop", "-t", "5", *names).split() == names
    # One after the other would take half a minute.
    assert time.monotonic() - started < 20


def test_kill_with_a_signal(cli: CommandLine):
    begin(cli, "a1", script="trap 'exit 5' USR2; echo ready; while :; do sleep 0.05; done")
    _until_ready(cli, "a1")
    assert cli.ok("kill", "-s", "SIGUSR2", "a1") == "a1"
    assert cli.ok("wait", "a1") == "5"
    done = cli.call("kill", "a1")
    assert done.code == 1
    assert "is not running" in done.err
    for bad in ("0", "65", "123SIGTERM", "nosuch"):  # E-37
        assert f"Invalid signal: {bad}" in cli.call("kill", "-s", bad, "a1").err


def test_wrong_states(cli: CommandLine):
    begin(cli, "a1")
    cli.ok("create", "--name", "c1", "busybox")
    assert cli.ok("start", "a1") == "a1"  # E-22
    cli.ok("pause", "a1")
    for words, complaint in (
        (["pause", "a1"], "is not running"),
        (["pause", "c1"], "is not running"),
        (["unpause", "c1"], "is not paused"),
        (["start", "a1"], "unpause"),  # E-23
        (["rm", "a1"], "without flag force"),  # E-42
        (["attach", "c1"], "stopped container"),
        (["attach", "a1"], "paused container"),
        (["exec", "a1", "true"], "paused"),
        (["exec", "c1", "true"], "not running"),
        (["rename", "a1", "c1"], "already"),
        (["rename", "a1", "!"], "Invalid container name"),
    ):
        done = cli.call(*words)
        assert done.code != 0, words
        assert complaint in done.err, done
        assert len(done.err.splitlines()) == 1, done


def test_rename(cli: CommandLine):
    begin(cli, "old1")
    assert cli.ok("rename", "old1", "new1") == ""
    assert cli.names() == ["new1"]
    assert cli.call("rename", "old1", "x1").code == 1


def test_start_attached_gives_the_exit_code(cli: CommandLine):
    cli.ok("create", "--name", "a1", "busybox", "sh", "-c", "echo out; exit 6")
    done = cli.call("start", "-a", "a1")
    assert (done.code, done.out) == (6, "out\n")
    cli.ok("create", "-i", "--name", "b1", "busybox", "cat")
    assert cli.ok("start", "-ai", "b1", stdin=b"in") == "in"
    done = cli.call("start", "-a", "a1", "b1")
    assert done.code == 1
    assert "you cannot start and attach multiple containers at once" in done.err


def test_writable_layer_and_log_survive_a_restart(cli: CommandLine):  # E-30
    script = "cat /f 2>/dev/null; echo kept >> /f"
    cli.ok("run", "--name", "a1", "busybox", "sh", "-c", script)
    assert cli.ok("start", "-a", "a1") == "kept"
    assert "kept" in cli.ok("logs", "a1")


def test_attach_sees_what_comes_after(cli: CommandLine):
    loop = "while ! test -e /go; do echo tick; sleep 0.05; done"
    begin(cli, "a1", script=f"{loop}; echo out; echo err >&2; exit 4")
    process = cli.begin("attach", "--no-stdin", "a1", stdout=-1, stderr=-1, bufsize=0)
    assert process.stdout is not None
    assert process.stdout.read(5) == b"tick\n"
    # The container may end before the program in it that let it go on has.
    assert cli.call("exec", "a1", "touch", "/go").code in (0, 137)
    out, err = process.communicate(timeout=30)
    assert (out.replace(b"tick\n", b""), err) == (b"out\n", b"err\n")
    assert process.returncode == 4


def test_removed_twice(cli: CommandLine):  # E-46
    begin(cli, "a1")
    cli.ok("rm", "-f", "a1")
    done = cli.call("rm", "-f", "a1")
    assert "No such container: a1" in done.err


@both
def test_exec(cli: CommandLine):
    begin(cli, "a1")
    assert cli.ok("exec", "a1", "echo", "-n", "x") == "x"
    assert cli.ok("exec", "-i", "a1", "cat", stdin=b"in") == "in"
    assert cli.ok("exec", "-w", "/tmp", "-e", "A=b", "-u", "nobody", "a1", "sh", "-c",
                  "pwd; echo $A; id -un") == "/tmp\nb\nnobody"  # fmt: skip
    for command, code in ((["false"], 1), (["nosuch"], 127), (["/tmp"], 126)):
        assert cli.call("exec", "a1", *command).code == code
    assert cli.ok("exec", "-d", "a1", "sh", "-c", "echo y > /y") == ""
    deadline = time.monotonic() + 20
    while cli.call("exec", "a1", "test", "-s", "/y").code:
        assert time.monotonic() < deadline
    done = cli.call("exec", "a1", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert done == (3, "out\n", "err\n")


@both
def test_exec_in_a_container_that_ends(cli: CommandLine):
    begin(cli, "a1")
    process = cli.begin("exec", "a1", "sh", "-c", "echo ready; sleep 600", stdout=-1, stderr=-1)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    cli.ok("kill", "a1")
    process.communicate(timeout=30)
    assert process.returncode == 137


def test_remove_links_is_not_mistaken_for_remove(cli: CommandLine):
    begin(cli, "a1")
    assert cli.call("rm", "-f", "-l", "a1").code == 1
    assert cli.names() == ["a1"]


@pytest.mark.parametrize("command", [["kill"], ["rm", "-f"]])
def test_a_patient_stop_holds_nobody_up(cli: CommandLine, command: list[str]):
    begin(cli, "a1", script=STUBBORN)
    _until_ready(cli, "a1")
    stop = cli.begin("stop", "-t", "100", "a1", stdout=-1, stderr=-1)
    time.sleep(0.5)
    assert stop.poll() is None
    assert cli.ok(*command, "a1") == "a1"
    stop.communicate(timeout=30)
    assert "a1" not in cli.ok("ps", "--format", "{{.Names}}").split()
