"""Commands on containers that exist, with one target and with several."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support import needs

if TYPE_CHECKING:
    from tests.support.box import Box

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


def begin(box: Box, *names: str, script: str = "exec sleep 600") -> None:
    for name in names:
        box.ok("run", "-d", "--name", name, "busybox", "sh", "-c", script)


def status(box: Box, *names: str) -> list[str]:
    return box.ok("inspect", "--format", "{{.State.Status}}", *names).split()


def exit_code(box: Box, name: str) -> int:
    return int(box.ok("inspect", "--format", "{{.State.ExitCode}}", name))


def test_several_targets_in_one_command(box: Box):  # 0-5
    begin(box, "a1", "b1", "c1")
    assert box.ok("pause", "a1", "b1") == "a1\nb1"
    assert status(box, "a1", "b1", "c1") == ["paused", "paused", "running"]
    assert box.ok("unpause", "a1", "b1") == "a1\nb1"
    assert box.ok("kill", "a1", "b1", "c1") == "a1\nb1\nc1"
    assert box.ok("wait", "a1", "b1", "c1") == "137\n137\n137"
    assert box.ok("start", "a1", "b1") == "a1\nb1"
    assert box.ok("restart", "-t", "0", "a1", "b1", "c1") == "a1\nb1\nc1"
    assert status(box, "a1", "b1", "c1") == ["running"] * 3
    assert box.ok("rm", "-f", "a1", "b1", "c1") == "a1\nb1\nc1"
    assert box.names() == []


def test_one_bad_target_does_not_stop_the_others(box: Box):
    begin(box, "a1", "b1")
    for command in ("kill", "rm"):
        done = box.call(command, "a1", "nosuch", "b1")
        assert (done.code, done.out) == (1, "a1\nb1\n")
        assert done.err == "Error: No such container: nosuch\n"


def test_prefixes_and_ids(box: Box):
    identifier = box.ok("run", "-d", "busybox", "sleep", "600")
    assert box.ok("stop", "-t", "0", identifier[:5]) == identifier[:5]
    assert box.ok("rm", identifier) == identifier


def test_stop_uses_the_containers_signal(box: Box):  # E-33
    script = "trap 'exit 33' USR1; echo ready; while :; do sleep 0.05; done"
    box.ok("run", "-d", "--name", "a1", "--stop-signal", "USR1", "busybox", "sh", "-c", script)
    _until_ready(box, "a1")
    box.ok("stop", "a1")
    assert exit_code(box, "a1") == 33
    assert box.ok("stop", "a1") == "a1"  # stopped already: fine


def _until_ready(box: Box, *names: str) -> None:
    deadline = time.monotonic() + 20
    for name in names:
        while "ready" not in box.ok("logs", name):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_stop_with_a_signal_and_a_time_limit(box: Box):
    begin(box, "a1", "b1", script=STUBBORN)
    _until_ready(box, "a1", "b1")
    box.ok("stop", "-s", "KILL", "a1")
    box.ok("stop", "--time", "0", "b1")
    assert [exit_code(box, name) for name in ("a1", "b1")] == [137, 137]


def test_stubborn_containers_are_stopped_side_by_side(box: Box):
    names = [f"s{number}" for number in range(6)]
    begin(box, *names, script=STUBBORN)
    _until_ready(box, *names)
    started = time.monotonic()
    assert box.ok("stop", "-t", "5", *names).split() == names
    # One after the other would take half a minute.
    assert time.monotonic() - started < 20


def test_kill_with_a_signal(box: Box):
    begin(box, "a1", script="trap 'exit 5' USR2; echo ready; while :; do sleep 0.05; done")
    _until_ready(box, "a1")
    assert box.ok("kill", "-s", "SIGUSR2", "a1") == "a1"
    assert box.ok("wait", "a1") == "5"
    done = box.call("kill", "a1")
    assert done.code == 1
    assert "is not running" in done.err
    for bad in ("0", "65", "123SIGTERM", "nosuch"):  # E-37
        assert f"Invalid signal: {bad}" in box.call("kill", "-s", bad, "a1").err


def test_wrong_states(box: Box):
    begin(box, "a1")
    box.ok("create", "--name", "c1", "busybox")
    assert box.ok("start", "a1") == "a1"  # E-22
    box.ok("pause", "a1")
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
        done = box.call(*words)
        assert done.code != 0, words
        assert complaint in done.err, done
        assert len(done.err.splitlines()) == 1, done


def test_rename(box: Box):
    begin(box, "old1")
    assert box.ok("rename", "old1", "new1") == ""
    assert box.names() == ["new1"]
    assert box.call("rename", "old1", "x1").code == 1


def test_start_attached_gives_the_exit_code(box: Box):
    box.ok("create", "--name", "a1", "busybox", "sh", "-c", "echo out; exit 6")
    done = box.call("start", "-a", "a1")
    assert (done.code, done.out) == (6, "out\n")
    box.ok("create", "-i", "--name", "b1", "busybox", "cat")
    assert box.ok("start", "-ai", "b1", stdin=b"in") == "in"
    done = box.call("start", "-a", "a1", "b1")
    assert done.code == 1
    assert "you cannot start and attach multiple containers at once" in done.err


def test_writable_layer_and_log_survive_a_restart(box: Box):  # E-30
    script = "cat /f 2>/dev/null; echo kept >> /f"
    box.ok("run", "--name", "a1", "busybox", "sh", "-c", script)
    assert box.ok("start", "-a", "a1") == "kept"
    assert "kept" in box.ok("logs", "a1")


def test_attach_sees_what_comes_after(box: Box):
    script = "while ! test -e /go; do sleep 0.05; done; echo out; echo err >&2; exit 4"
    begin(box, "a1", script=script)
    process = box.begin("attach", "--no-stdin", "a1", stdout=-1, stderr=-1)
    time.sleep(0.5)
    box.ok("exec", "a1", "touch", "/go")
    assert process.communicate(timeout=30) == (b"out\n", b"err\n")
    assert process.returncode == 4


def test_removed_twice(box: Box):  # E-46
    begin(box, "a1")
    box.ok("rm", "-f", "a1")
    done = box.call("rm", "-f", "a1")
    assert "No such container: a1" in done.err


def test_exec(box: Box):
    begin(box, "a1")
    assert box.ok("exec", "a1", "echo", "-n", "x") == "x"
    assert box.ok("exec", "-i", "a1", "cat", stdin=b"in") == "in"
    assert box.ok("exec", "-w", "/tmp", "-e", "A=b", "-u", "nobody", "a1", "sh", "-c",
                  "pwd; echo $A; id -un") == "/tmp\nb\nnobody"  # fmt: skip
    for command, code in ((["false"], 1), (["nosuch"], 127), (["/tmp"], 126)):
        assert box.call("exec", "a1", *command).code == code
    assert box.ok("exec", "-d", "a1", "sh", "-c", "echo y > /y") == ""
    deadline = time.monotonic() + 20
    while box.call("exec", "a1", "test", "-s", "/y").code:
        assert time.monotonic() < deadline
    done = box.call("exec", "a1", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert done == (3, "out\n", "err\n")


def test_exec_in_a_container_that_ends(box: Box):
    begin(box, "a1")
    process = box.begin("exec", "a1", "sh", "-c", "echo ready; sleep 600", stdout=-1, stderr=-1)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    box.ok("kill", "a1")
    process.communicate(timeout=30)
    assert process.returncode == 137


def test_remove_links_is_not_mistaken_for_remove(box: Box):
    begin(box, "a1")
    assert box.call("rm", "-f", "-l", "a1").code == 1
    assert box.names() == ["a1"]


@pytest.mark.parametrize("command", [["kill"], ["rm", "-f"]])
def test_a_patient_stop_holds_nobody_up(box: Box, command: list[str]):
    begin(box, "a1", script=STUBBORN)
    _until_ready(box, "a1")
    stop = box.begin("stop", "-t", "100", "a1", stdout=-1, stderr=-1)
    time.sleep(0.5)
    assert stop.poll() is None
    assert box.ok(*command, "a1") == "a1"
    stop.communicate(timeout=30)
    assert "a1" not in box.ok("ps", "--format", "{{.Names}}").split()
