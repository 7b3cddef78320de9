"""Commands that show and those on images, on real containers and a real registry."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import needs
from tests.support.layouts import Layout, tar_of
from tests.support.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command_line import CommandLine

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]


@pytest.fixture
def pair(cli: CommandLine) -> CommandLine:
    """``up`` runs, ``down`` has ended with 3."""
    sleep = ("busybox", "sleep", "600")
    cli.ok("run", "-d", "--name", "up", "--network", "none", "--label", "role=x", *sleep)
    script = "echo out; echo err >&2; exit 3"
    done = cli.call("run", "--name", "down", "--network", "none", "busybox", "sh", "-c", script)
    assert done.code == 3
    return cli


def test_ps(pair: CommandLine):  # B-11, D-15
    header, row = pair.ok("ps").splitlines()
    titles = "CONTAINER ID,IMAGE,COMMAND,CREATED,STATUS,PORTS,NAMES"
    places = [header.index(title) for title in titles.split(",")]
    cells = [row[a:b].strip() for a, b in zip(places, [*places[1:], None], strict=True)]
    assert cells[1:3] == ["busybox", '"sleep 600"']
    assert cells[4].startswith("Up ")
    assert cells[6] == "up"
    assert pair.ok("ps", "-q", "--no-trunc") == pair.ok("inspect", "-f", "{{.Id}}", "up")
    assert pair.ok("ps", "-lq") == pair.ok("inspect", "-f", "{{.Id}}", "down")[:12]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ((), ["up"]),
        (("-a",), ["down", "up"]),
        (("-f", "status=exited"), ["down"]),
        (("-f", "status=exited", "-f", "status=running"), ["down", "up"]),
        (("-a", "-f", "exited=3"), ["down"]),
        (("-a", "-f", "exited=0"), []),
        (("-a", "-f", "label=role=x"), ["up"]),
        (("-a", "-f", "name=^/?d"), ["down"]),
        (("-a", "-f", "since=up"), ["down"]),
        (("-a", "-f", "before=down"), ["up"]),
        (("-a", "-f", "ancestor=busybox", "-f", "network=none"), ["down", "up"]),
        (("-n", "1"), ["down"]),
    ],
)
def test_ps_filters(pair: CommandLine, words: tuple[str, ...], names: list[str]):  # B-11
    assert pair.ok("ps", "--format", "{{.Names}}", *words).split() == names


def test_an_unknown_filter_names_the_known_ones(cli: CommandLine):
    done = cli.call("ps", "-f", "colour=red")
    assert (done.code, done.out) == (1, "")
    assert "invalid filter 'colour'" in done.err
    assert "ancestor" in done.err


def test_inspect(pair: CommandLine):  # C-04
    container, image = json.loads(pair.ok("inspect", "down", "busybox"))
    assert container["State"]["ExitCode"] == 3
    assert image["Id"] == container["Image"]
    form = "{{.State.ExitCode}} {{.Path}} {{.Config.Labels.role}} {{len .Args}}"
    assert pair.ok("inspect", "-f", form, "down", "up") == "3 sh <no value> 2\n0 sleep x 1"
    assert int(pair.ok("inspect", "-s", "-f", "{{.SizeRootFs}}", "up")) > 0


def test_logs(pair: CommandLine):  # G-08
    assert pair.call("logs", "down")[1:] == ("out\n", "err\n")
    assert pair.call("logs", "--tail", "0", "down")[1:] == ("", "")
    stamped = pair.call("logs", "-t", "down").out
    assert stamped.endswith("Z out\n")
    assert pair.call("logs", "--since", "nonsense", "down").code == 1


def _follow(cli: CommandLine, name: str) -> subprocess.Popen[bytes]:
    """``logs -f`` that has shown the container's first line."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    follower = cli.begin("logs", "-f", name, **pipes)
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"ready\n"
    return follower


def test_following_ends_with_the_container_and_by_interrupt(cli: CommandLine):
    script = "echo ready; exec sleep 600"
    cli.ok("run", "-d", "--name", "talks", "--network", "none", "busybox", "sh", "-c", script)
    first, second = _follow(cli, "talks"), _follow(cli, "talks")
    first.send_signal(signal.SIGINT)
    assert first.communicate(timeout=30) == (b"", b"")
    assert first.returncode == -signal.SIGINT
    cli.ok("kill", "talks")
    assert second.communicate(timeout=30) == (b"", b"")
    assert second.returncode == 0


def test_top(pair: CommandLine):  # H-07
    lines = pair.ok("top", "up", "-eo", "pid,args").splitlines()
    assert lines[0].split() == ["PID", "COMMAND"]
    assert [line.split()[1:] for line in lines[1:]] == [["sleep", "600"]]
    assert "is not running or paused" in pair.call("top", "down").err


def test_a_reader_that_leaves_ends_the_listing(pair: CommandLine):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            pair.command("ps"), env=pair.environment, stdout=writing, stderr=subprocess.PIPE
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_version_and_info(cli: CommandLine):
    assert cli.ok("version", "-f", "{{.Server.Os}}") == "linux"
    assert cli.ok("info", "-f", "{{.Driver}} {{.Images}}").startswith("overlay ")


@needs("docker-registry", "skopeo")
def test_images_from_a_registry_and_an_archive(cli: CommandLine, tmp_path: Path):  # N-08, N-16
    layout = Layout()
    layout.tag("x", layout.image({"a": b"a" * 5000}, {"b": b"b" * 5000}))
    with Registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/team/app:1"
        registry.push_oci(layout.write(tmp_path / "layout"), "team/app:1", tag="x")
        lines = cli.ok("pull", name).splitlines()
        assert lines[0] == "1: Pulling from team/app"
        assert sum(line.endswith(": Pull complete") for line in lines) == 2
        assert lines[-2:] == [f"Status: Downloaded newer image for {name}", name]
        assert f"Status: Image is up to date for {name}" in cli.ok("pull", name)
        assert cli.ok("pull", "-q", name) == name
        bars = _on_a_terminal(cli, "pull", name)
        assert bars.endswith(f"{name}\r\n".encode())
        missing = cli.call("pull", f"{registry.host}/team/none")
    assert (missing.code, missing.err.count("\n")) == (1, 1)
    image_id = cli.ok("images", "-q", "--no-trunc", name)
    assert cli.ok("tag", name, "other:2") == ""
    assert cli.ok("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "other") == (
        f"other:2 {image_id[7:19]}"
    )
    assert cli.ok("rmi", "other:2") == "Untagged: other:2"
    assert cli.ok("rmi", name).splitlines()[-1].startswith("Deleted: sha256:")
    assert cli.ok("images", "-q", name) == ""


def _on_a_terminal(cli: CommandLine, *words: str) -> bytes:
    """What a terminal gets of a command's output."""
    main, other = pty.openpty()
    data = b""
    with cli.begin(*words, stdout=other):
        os.close(other)
        try:
            while piece := os.read(main, 4096):
                data += piece
        except OSError:  # EIO: the other side is closed
            pass
    os.close(main)
    return data


def test_import_and_load(cli: CommandLine, tmp_path: Path):  # N-16
    archive = tmp_path / "rootfs.tar"
    archive.write_bytes(tar_of({"etc/motd": b"hello\n"}))
    image_id = cli.ok("import", "-c", "ENV A=b", "-c", 'CMD ["x"]', str(archive), "made:1")
    form = "{{.Id}} {{.Config.Env}} {{.Config.Cmd}}"
    assert cli.ok("image", "inspect", "-f", form, "made:1") == f"{image_id} [A=b] [x]"
    assert cli.ok("import", "-", stdin=archive.read_bytes()).startswith("sha256:")
    refused = cli.call("load", stdin=b"no archive")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    for text in cli.ok("images", "-q", "--no-trunc", "-f", "dangling=true").split():
        cli.ok("rmi", text)
    cli.ok("rmi", "made:1")
