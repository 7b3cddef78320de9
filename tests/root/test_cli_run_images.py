"""``run`` with images that are not here yet, many at once, and ``spec``."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support import needs
from tests.support.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command_line import CommandLine

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]


@pytest.fixture(scope="module")
def registry(
    tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path
) -> Iterator[Registry]:
    """A registry with ``box:one``."""
    if not shutil.which("docker-registry") or not shutil.which("skopeo"):
        pytest.skip("needs docker-registry and skopeo")
    directory = tmp_path_factory.mktemp("registry")
    layout = directory / "layout"
    for words in (
        ["umoci", "init", "--layout", str(layout)],
        ["umoci", "new", "--image", f"{layout}:one"],
        ["umoci", "raw", "add-layer", "--image", f"{layout}:one", str(busybox_tar)],
        ["umoci", "config", "--image", f"{layout}:one", "--config.cmd", "/bin/id"],
    ):
        subprocess.run(words, check=True, capture_output=True)
    with Registry(directory / "registry") as running:
        running.push_oci(layout, "box:one", tag="one")
        yield running


def test_missing_image_is_pulled(cli: CommandLine, registry: Registry):  # E-06
    image = f"{registry.host}/box:one"
    done = cli.call("run", "--rm", image)
    assert (done.code, done.out) == (0, "uid=0(root) gid=0(root) groups=0(root),10(wheel)\n")
    lines = done.err.splitlines()
    assert lines[0] == f"Unable to find image '{image}' locally"
    assert lines[1] == "one: Pulling from box"
    again = cli.call("run", "--rm", image, "true")
    assert (again.code, again.err) == (0, "")


def test_pull_policies(cli: CommandLine, registry: Registry):
    image = f"{registry.host}/box:one"
    cli.call("rmi", "-f", image)
    assert cli.call("run", "--rm", "--pull", "never", image).code == 125
    assert cli.ok("run", "--rm", "-q", image, "echo", "x") == "x"
    done = cli.call("run", "--rm", "--pull", "always", image, "echo", "x")
    assert (done.code, done.out) == (0, "x\n")
    assert "Pulling from box" in done.err
    nowhere = "127.0.0.1:1/box:one"
    cli.ok("tag", image, nowhere)
    done = cli.call("run", "--rm", "--pull", "always", nowhere, "echo", "x")
    assert (done.code, done.out) == (125, "")
    assert cli.ok("run", "--rm", nowhere, "echo", "x") == "x"


def test_missing_tag(cli: CommandLine, registry: Registry):
    done = cli.call("run", f"{registry.host}/box:none")
    assert done.code == 125
    assert "box:none" in done.err.splitlines()[-1]
    assert cli.names() == []


def test_twenty_at_once(cli: CommandLine):
    running = [
        cli.begin("run", "--rm", "busybox", "sh", "-c", f"echo {number}; exit {number}",
                  stdout=-1, stderr=-1)
        for number in range(20)
    ]  # fmt: skip
    ends = [process.communicate(timeout=100) for process in running]
    assert ends == [(f"{number}\n".encode(), b"") for number in range(20)]
    assert [process.returncode for process in running] == list(range(20))
    assert cli.names() == []


def test_same_name_at_once(cli: CommandLine):
    running = [
        cli.begin("run", "-d", "--name", "n1", "busybox", "sleep", "600", stdout=-1, stderr=-1)
        for _ in range(5)
    ]
    for process in running:
        process.communicate(timeout=100)
    assert sorted(process.returncode for process in running) == [0, 125, 125, 125, 125]
    assert cli.names() == ["n1"]


def test_spec_makes_a_bundle_for_the_runtime(cli: CommandLine, tmp_path: Path):
    bundle = tmp_path / "bundle"
    words = ("-e", "A=b c", "-w", "/srv", "-m", "64m", "--read-only")
    script = "echo $A; pwd; touch /x 2>/dev/null || echo readonly"
    cli.ok("spec", "--bundle", str(bundle), *words, "busybox", "sh", "-c", script)
    spec = json.loads((bundle / "config.json").read_text())
    assert spec["linux"]["resources"]["memory"]["limit"] == 64 << 20
    done = subprocess.run(
        ["runc", "--root", str(tmp_path / "runc"), "run", "-b", str(bundle), "spec-test"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("b c\n/srv\nreadonly\n", "")
    assert cli.names() == []


def test_spec_does_not_overwrite(cli: CommandLine, tmp_path: Path):
    (tmp_path / "config.json").write_text("mine")
    done = cli.call("spec", "--bundle", str(tmp_path), "busybox")
    assert done.code == 1
    assert (tmp_path / "config.json").read_text() == "mine"
    assert len(done.err.splitlines()) == 1
