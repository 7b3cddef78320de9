"""What must be refused, said in one line, and leave nothing behind."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.support import needs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command_line import CommandLine

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]


def everything_in(cli: CommandLine) -> list[str]:
    """Every file of the engine's containers, without the directories that hold them all."""
    holders = [cli.root / "containers", cli.state / "containers", cli.state / "runc"]
    return sorted(
        os.path.join(folder, name)
        for top in holders
        for folder, directories, files in os.walk(top)
        for name in (*directories, *files)
    )


@pytest.fixture
def untouched(cli: CommandLine) -> Iterator[None]:
    before = everything_in(cli)
    yield
    assert cli.names() == []
    assert everything_in(cli) == before


def refuse(cli: CommandLine, *words: str, code: int = 125) -> str:
    done = cli.call("run", *words)
    assert done.out == ""
    assert "Traceback" not in done.err
    assert (done.code, len(done.err.splitlines())) == (code, 1), done
    assert done.err.startswith("runengine: ")
    return done.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-d", "-a", "stdout"], "--attach and --detach"),  # E-14
        (["-it"], "not a TTY"),  # E-14
        (["--network", "mine"], "network mine not found"),
        (["--network", "none", "--network", "host"], "at once"),
        (["--network", "netns:relative"], "absolute path"),
        (["--network", "netns:/etc/passwd"], "there is no network namespace"),
        (["--restart", "always"], "--restart and --rm"),
        (["--env-file", "/nonexistent"], "/nonexistent"),  # E-04
        (["--name", "!"], "Invalid container name (!)"),
        (["--runtime", "nosuch"], "unknown runtime nosuch"),  # E-07
        (["-m", "1m"], "4M"),
        (["-m", "8m", "--memory-swap", "5m"], "memoryswap"),
        (["--memory-swap", "64m"], "Memory"),
        (["-m", "8m", "--memory-reservation", "16m"], "reservation"),
        (["--memory-swappiness", "101"], "wappiness"),
        (["--cpu-quota", "5"], "1000"),
        (["--cpu-period", "5"], "period"),
        (["--cpus", "99999"], "cpus"),
        (["--cpuset-cpus", "99999"], "cpu"),
        (["--oom-score-adj", "1001"], "oom"),
        (["--blkio-weight", "5"], "weight"),
        (["--cap-add", "BOGUS"], "BOGUS"),
        (["--security-opt", "apparmor"], "apparmor"),
        (["--security-opt", "seccomp=/nonexistent"], "/nonexistent"),
        (["--pid", "bogus"], "bogus"),
        (["--ipc", "bogus"], "bogus"),
        (["--uts", "bogus"], "bogus"),
        (["--userns", "bogus"], "bogus"),
        (["--pid", "container:nosuch"], "nosuch"),
        (["--network", "container:nosuch"], "nosuch"),
        (["--log-driver", "bogus"], "bogus"),
        (["--log-opt", "max-size=x"], "max-size"),
        (["-w", "relative"], "relative"),
        (["-v", "/nonexistent/x:/etc/passwd:bogus"], "bogus"),
        (["-v", "/tmp:/x", "-v", "/var:/x"], "/x"),
        (["--mount", "type=bind,src=/nonexistent,dst=/x"], "/nonexistent"),
        (["--tmpfs", "/x:bogus"], "bogus"),
        (["--device", "/etc/passwd"], "not a device node"),  # E-17
        (["--device", "/nonexistent"], "/nonexistent"),
        (["--device-cgroup-rule", "x"], "x"),
        (["--sysctl", "net.ipv4.ip_forward=1", "--network", "host"], "net.ipv4.ip_forward"),
        (["--group-add", "nosuch"], "nosuch"),
        (["-u", "nosuch"], "nosuch"),
        (["-u", "0:nosuch"], "nosuch"),
        (["--platform", "linux/bogus/x/y"], "platform"),
        (["--cidfile", "/nonexistent/x"], "/nonexistent/x"),
    ],
)
def test_refused_in_one_line(cli: CommandLine, untouched, words: list[str], complaint: str):
    assert complaint.lower() in refuse(cli, "--rm", *words, "busybox", "true").lower()


@pytest.mark.parametrize("image", ["UPPER", "a b", "busybox@sha256:12", ":x", "https://x/y"])
def test_bad_references(cli: CommandLine, untouched, image: str):
    assert "reference" in refuse(cli, image)


def test_missing_image_is_not_pulled_with_never(cli: CommandLine, untouched):
    assert "nosuch" in refuse(cli, "--pull", "never", "nosuch")


def test_unreachable_registry(cli: CommandLine, untouched):
    done = cli.call("run", "127.0.0.1:1/x/y", "true")
    assert done.code == 125
    assert "Unable to find image '127.0.0.1:1/x/y:latest' locally" in done.err
    assert "127.0.0.1:1" in done.err.splitlines()[-1]


def test_taken_name(cli: CommandLine):
    cli.ok("create", "--name", "a1", "busybox")
    before = everything_in(cli)
    assert "a1" in refuse(cli, "--name", "a1", "busybox")
    assert everything_in(cli) == before


@pytest.mark.parametrize(
    "words",
    [["--bogus"], ["-Z"], ["-m", "1q"], ["--rm=x"], ["--ulimit", "nofile=2:1"], ["--name"]],
)
def test_bad_flags_show_where_to_look(cli: CommandLine, untouched, words: list[str]):
    done = cli.call("run", *words, *(["busybox"] if words != ["--name"] else []))
    assert done.code == 125
    assert "runengine run --help" in done.err
    assert "Traceback" not in done.err


def test_workdir_that_is_a_file(cli: CommandLine):  # E-08
    done = cli.call("run", "--rm", "-w", "/etc/passwd", "busybox", "true")
    assert done.code in (125, 126)
    assert "not a directory" in done.err
    assert cli.names() == []


@pytest.mark.parametrize(
    "words",
    [["-e", "A=\udcff", "busybox"], ["-e", "B", "busybox"], ["busybox", "echo", "\udcff"]],
)
def test_bytes_that_json_cannot_carry(cli: CommandLine, untouched, words: list[str]):
    done = cli.call("run", *words, env={**cli.environment, "B": "\udcff"})
    assert done.code == 125
    assert "not UTF-8" in done.err


def test_not_an_engine_directory(cli: CommandLine, tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    environment = {**cli.environment, "RUNENGINE_ROOT": str(file)}
    done = cli.call("run", "busybox", env=environment)
    assert done.code == 125
    assert str(file) in done.err
    assert len(done.err.splitlines()) == 1


def test_missing_runtime_is_named(cli: CommandLine, untouched, tmp_path: Path):
    config = tmp_path / "config.json"
    runtimes = {"other": ["/nonexistent/runc"]}
    config.write_text(json.dumps({"runtimes": runtimes, "default_network": "none"}))
    environment = {**cli.environment, "RUNENGINE_CONFIG": str(config)}
    done = cli.call("run", "--rm", "--runtime", "other", "busybox", "true", env=environment)
    assert done.code == 125
    assert "/nonexistent/runc" in done.err
