"""``run``, ``create`` and ``exec`` as users run them, on the real runtime."""

from __future__ import annotations

import os
import re
import shlex
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import needs
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from tests.support.command_line import CommandLine

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]
both = pytest.mark.ways("cold", "warm")

LOOP = "echo ready; while :; do sleep 0.05; done"


def run(cli: CommandLine, *words: str) -> str:
    return cli.ok("run", "--rm", *words)


# Exit codes


@both
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 42"], 42),
        (["nosuch"], 127),
        (["/no/such"], 127),
        (["/etc/passwd"], 126),
        (["/tmp"], 126),
    ],
)
def test_exit_codes(cli: CommandLine, command: list[str], code: int):
    done = cli.call("run", "--rm", "busybox", *command)
    assert done.code == code
    assert len(done.err.splitlines()) == (1 if code in (126, 127) else 0)
    assert cli.names() == []


@pytest.mark.parametrize(("number", "code"), [(9, 137), (15, 143), (6, 134)])
def test_death_by_signal(cli: CommandLine, number: int, code: int):
    # As a child of an init, so that the signal is not the one that init ignores.
    done = cli.call("run", "--rm", "--init", "busybox", "sh", "-c", f"kill -{number} $$")
    assert done.code == code


def test_failed_start_keeps_code_and_reason(cli: CommandLine):  # E-26
    assert cli.call("run", "--name", "f1", "busybox", "nosuch").code == 127
    state = cli.ok("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", "f1")
    assert state == "created 127"
    assert "nosuch" in cli.ok("inspect", "--format", "{{.State.Error}}", "f1")


@both
def test_failed_detached_start_still_tells_the_id(cli: CommandLine):
    done = cli.call("run", "-d", "busybox", "nosuch")
    assert done.code == 127
    assert cli.ok("ps", "-aq", "--no-trunc") == done.out.strip()
    done = cli.call("run", "-d", "--rm", "busybox", "nosuch")
    assert (done.code, done.out) == (127, "")
    assert len(cli.names()) == 1


# Streams


@both
def test_streams_stay_apart(cli: CommandLine):
    done = cli.call("run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == ("out\n", "err\n")


@both
def test_stdin_is_read_to_its_end(cli: CommandLine):
    data = os.urandom(3 << 20).hex().encode()
    done = cli.call("run", "--rm", "-i", "busybox", "cat", stdin=data)
    assert done.out.encode() == data


@both
def test_stdin_only_with_interactive(cli: CommandLine):
    assert cli.call("run", "--rm", "busybox", "cat", stdin=b"x").out == ""


def test_attach_chooses_streams(cli: CommandLine):
    script = "echo out; echo err >&2"
    done = cli.call("run", "--rm", "-a", "stderr", "busybox", "sh", "-c", script)
    assert (done.out, done.err) == ("", "err\n")


@both
def test_large_output_comes_whole(cli: CommandLine):
    done = cli.call("run", "--rm", "busybox", "sh", "-c", "yes 0123456 | head -c 20000000")
    assert len(done.out) == 20_000_000


@both
def test_closed_standard_streams(cli: CommandLine):
    quoted = shlex.join(cli.command("run", "--rm", "-i", "busybox", "cat"))
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        assert os.system(f"{_exports(cli)} {quoted} </dev/null {closed} 2>/dev/null") == 0


def _exports(cli: CommandLine) -> str:
    words = ("RUNENGINE_ROOT", "RUNENGINE_STATE", "RUNENGINE_CONFIG", "PYTHONPATH")
    return " ".join(f"{word}={cli.environment[word]}" for word in words)


@both
def test_full_disk_on_stdout_is_an_error(cli: CommandLine):
    with open("/dev/full", "wb") as full:
        process = cli.begin("run", "--rm", "busybox", "echo", "x", stdout=full, stderr=-1)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 125
    assert b"No space left" in err
    wait_for(cli.is_empty)


@pytest.mark.parametrize("words", [["images"], ["ps", "-a"], ["version"], ["info"]])
def test_full_disk_on_stdout_of_a_listing(cli: CommandLine, words: list[str]):
    with open("/dev/full", "wb") as full:
        process = cli.begin(*words, stdout=full, stderr=-1)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, b"Error: No space left on device\n")


@both
def test_reader_that_leaves(cli: CommandLine):
    process = cli.begin("run", "--name", "y1", "busybox", "yes", stdout=-1, stderr=-1)
    assert process.stdout
    assert process.stdout.read(2) == b"y\n"
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr
    assert process.stderr.read() == b""
    process.stderr.close()
    assert cli.state_of("y1") == "running"


# Signals


def _begin_loop(cli: CommandLine, script: str, *words: str) -> subprocess.Popen[bytes]:
    process = cli.begin("run", *words, "busybox", "sh", "-c", script, stdout=-1, stderr=-1)
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    return process


@both
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_go_on_to_the_process(cli: CommandLine, number: signal.Signals):
    name = number.name.removeprefix("SIG")
    with _begin_loop(cli, f"trap 'echo got; exit 9' {name}; {LOOP}", "--rm") as process:
        process.send_signal(number)
        assert process.communicate(timeout=30)[0] == b"got\n"
    assert process.returncode == 9


@both
def test_third_interrupt_leaves_the_container_alone(cli: CommandLine):
    with _begin_loop(cli, f"trap '' INT; {LOOP}", "--rm", "--name", "i1") as process:
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        assert b"forcefully" in process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert cli.state_of("i1") == "running"


@both
def test_without_signal_proxy(cli: CommandLine):
    with _begin_loop(cli, LOOP, "--sig-proxy=false", "--name", "i1") as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert cli.state_of("i1") == "running"


@both
def test_killed_client_harms_nobody(cli: CommandLine):
    with _begin_loop(cli, "echo ready; exec sleep 600", "--rm", "--name", "k1") as process:
        process.kill()
    assert cli.state_of("k1") == "running"
    cli.ok("kill", "k1")
    wait_for(cli.is_empty)


@both
@pytest.mark.parametrize("delay_s", [0.02, 0.05, 0.08, 0.1, 0.12, 0.15, 0.2])
def test_client_killed_at_any_time(cli: CommandLine, delay_s: float):
    process = cli.begin("run", "--rm", "--name", "k2", "busybox", "sleep", "0.3")
    time.sleep(delay_s)
    process.kill()
    process.wait()

    # What is left runs to its end, or never began and can be removed; nothing in between. A
    # worker of the service dies a moment after its caller.
    def is_over() -> bool:
        for name in cli.names("status=created"):
            cli.call("rm", name)
        return cli.names() == []

    wait_for(is_over)


@pytest.mark.parametrize(
    ("flags", "script", "expected"),
    [
        (["-e", "A=b c=d"], "echo $A", "b c=d"),
        (["-w", "/new/dir"], "pwd", "/new/dir"),
        (["-u", "nobody"], "id -un", "nobody"),
        (["-u", "5:6"], "id -u; id -g", "5\n6"),
        (["-u", "nobody", "--group-add", "wheel"], "id -Gn", "nogroup wheel"),
        (["--hostname", "box"], "hostname; cat /etc/hostname", "box\nbox"),
        (["--read-only"], "touch /x 2>/dev/null || echo no", "no"),
        (["--tmpfs", "/t:size=64k"], "df -k /t | awk 'END {print $2}'", "64"),
        (["--shm-size", "2m"], "df -k /dev/shm | awk 'END {print $2}'", "2048"),
        (["--ulimit", "nofile=77:88"], "ulimit -Sn; ulimit -Hn", "77\n88"),
        (["--cap-drop", "ALL"], "awk '/CapEff/ {print $2}' /proc/self/status", "0" * 16),
        (["--device", "/dev/full:/dev/mine:r"], "test -c /dev/mine; echo $?", "0"),
        (["--add-host", "a.b:10.1.2.3"], "awk '/a.b/ {print $1}' /etc/hosts", "10.1.2.3"),
        (["--dns", "10.9.8.7"], "grep nameserver /etc/resolv.conf", "nameserver 10.9.8.7"),
        (["--uts", "host"], "hostname", os.uname().nodename),
        (["--network", "none"], "ls /sys/class/net", "lo"),
        (["--pid", "host"], "test $$ -ne 1; echo $?", "0"),
        (["--init"], "grep -c sh /proc/1/comm", "0"),
        (["--sysctl", "kernel.msgmax=9000"], "cat /proc/sys/kernel/msgmax", "9000"),
        (
            ["--security-opt", "no-new-privileges"],
            "awk '/NoNewPrivs/ {print $2}' /proc/self/status",
            "1",
        ),
        (["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj", "500"),
        (["--privileged"], "test -e /dev/full; mount -t tmpfs x /tmp; echo $?", "0"),
    ],
)
def test_flags(cli: CommandLine, flags: list[str], script: str, expected: str):
    done = cli.call("run", "--rm", *flags, "busybox", "sh", "-c", script)
    assert (done.out.strip(), done.err) == (expected, "")


def test_entrypoint(cli: CommandLine):
    assert run(cli, "--entrypoint", "echo", "busybox", "a", "b") == "a b"


def test_options_behind_the_image_are_the_commands(cli: CommandLine):
    assert run(cli, "busybox", "echo", "--rm", "-it", "--name") == "--rm -it --name"


@both
def test_environment_of_the_caller(cli: CommandLine, tmp_path: Path):  # E-03 E-04
    file = tmp_path / "env"
    file.write_text("FROM_FILE=1\nMINE\nABSENT\nBOTH=file\n")
    done = cli.call(
        "run", "--rm", "--env-file", str(file), "-e", "BOTH=flag", "-e", "PATH", "-e", "GONE",
        "busybox", "/bin/env",
        env={**cli.environment, "MINE": "yes"},
    )  # fmt: skip
    lines = done.out.splitlines()
    assert {"FROM_FILE=1", "MINE=yes", "BOTH=flag", f"PATH={os.environ['PATH']}"} <= set(lines)
    assert not [line for line in lines if line.startswith(("ABSENT", "GONE"))]


def test_binds(cli: CommandLine, tmp_path: Path):
    (tmp_path / "f").write_text("data")
    bind = f"{tmp_path}:/mnt"
    assert run(cli, "-v", bind, "busybox", "sh", "-c", "cat /mnt/f; echo x > /mnt/g") == "data"
    assert (tmp_path / "g").read_text() == "x\n"
    script = "touch /mnt/h 2>/dev/null || echo no"
    assert run(cli, "-v", f"{bind}:ro", "busybox", "sh", "-c", script) == "no"
    mount = f"type=bind,src={tmp_path},dst=/mnt,readonly"
    assert run(cli, "--mount", mount, "busybox", "sh", "-c", script) == "no"
    tmpfs = "type=tmpfs,dst=/mnt,tmpfs-size=64k"
    assert run(cli, "--mount", tmpfs, "busybox", "ls", "/mnt") == ""


def test_joined_namespaces(cli: CommandLine):
    cli.ok("run", "-d", "--name", "n1", "--hostname", "first", "busybox", "sleep", "600")

    def link(kind: str) -> list[str]:
        return ["readlink", f"/proc/self/ns/{kind}"]

    for kind, flag in (("net", "--network"), ("pid", "--pid")):
        theirs = cli.ok("exec", "n1", *link(kind))
        assert run(cli, flag, "container:n1", "busybox", *link(kind)) == theirs
    assert run(cli, "--network", "container:n1", "busybox", "cat", "/etc/hostname") == "first"


def test_ulimits_memory_and_pids_reach_the_cgroup(cli: CommandLine):
    cli.ok("run", "-d", "--name", "m1", "-m", "64m", "--pids-limit", "50", "busybox",
           "sleep", "600")  # fmt: skip
    found = cli.ok(
        "inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}", "m1"
    )
    assert found == f"{64 << 20} 50"


def test_seccomp_profile_from_a_file(cli: CommandLine, tmp_path: Path):
    profile = tmp_path / "p.json"
    profile.write_text(
        '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": '
        '[{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
    )
    script = "mkdir /x 2>/dev/null || echo refused"
    option = f"seccomp={profile}"
    assert run(cli, "--security-opt", option, "busybox", "sh", "-c", script) == "refused"


# What it says and writes


def test_detached_prints_the_id(cli: CommandLine):
    container_id = cli.ok("run", "-d", "--name", "d1", "busybox", "sleep", "600")
    assert re.fullmatch("[0-9a-f]{64}", container_id)
    assert cli.ok("ps", "-q", "--no-trunc") == container_id


def test_cidfile(cli: CommandLine, tmp_path: Path):
    path = tmp_path / "cid"
    container_id = cli.ok("run", "-d", "--cidfile", str(path), "busybox", "sleep", "600")
    assert path.read_text() == container_id
    done = cli.call("run", "-d", "--cidfile", str(path), "busybox", "true")
    assert done.code == 125
    assert "container ID file found" in done.err
    assert len(cli.names()) == 1


def test_cidfile_of_a_failed_create_goes(cli: CommandLine, tmp_path: Path):
    path = tmp_path / "cid"
    done = cli.call("run", "--cidfile", str(path), "--runtime", "nosuch", "busybox", "true")
    assert done.code == 125
    assert not path.exists()


@both
def test_remove_with_detach(cli: CommandLine):  # E-14
    cli.ok("run", "-d", "--rm", "--name", "d2", "busybox", "true")
    wait_for(cli.is_empty)


def test_create_then_start(cli: CommandLine):
    container_id = cli.ok("create", "--name", "c1", "busybox", "echo", "hello")
    assert cli.state_of("c1") == "created"
    assert cli.ok("start", "-a", "c1") == "hello"
    assert cli.ok("start", container_id[:12]) == container_id[:12]
    assert cli.ok("wait", "c1") == "0"
    assert cli.ok("logs", "c1") == "hello\nhello"


def test_input_alone_is_passed_on_and_left(cli: CommandLine):
    data = b"x" * 300_000 + b"\n"
    container_id = cli.ok("run", "-i", "-a", "stdin", "busybox", "sh", "-c", "wc -c",
                          stdin=data)  # fmt: skip
    assert cli.ok("wait", container_id) == "0"
    assert cli.ok("logs", container_id) == "300001"


@both
@pytest.mark.parametrize("command", [["kill"], ["stop", "-t", "0"], ["rm", "-f"]])
def test_ended_from_elsewhere(cli: CommandLine, command: list[str]):
    with _begin_loop(cli, LOOP, "--rm", "--name", "o1") as process:
        cli.ok(*command, "o1")
        assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 137
    wait_for(cli.is_empty)
