"""A runtime that can do more is made use of, and asked once."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support import needs
from tests.support.command_line import CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, needs("runc", "overlay", "busybox")]

FLAG = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
# runc 1.1 fails for the flag, so it does not get to see it.
NEWER = """#!/bin/sh
here={here}
for word; do
    [ "$last" = --bundle ] && bundle=$word
    [ "$word" = features ] && { echo asked >>$here/asked; cat $here/features; exit; }
    last=$word
done
[ -n "$bundle" ] && grep -o '"flags": \\[[^]]*\\]' $bundle/config.json >>$here/flags
[ -n "$bundle" ] && sed -i 's/, "flags": \\["{flag}"\\]//' $bundle/config.json
exec {runc} "$@"
"""


@pytest.fixture
def newer(tmp_path: Path, busybox_tar: Path) -> Iterator[CommandLine]:
    """A command line whose default runtime says that it knows the flag."""
    program = tmp_path / "newer"
    text = NEWER.replace("{here}", str(tmp_path)).replace("{flag}", FLAG)
    program.write_text(text.replace("{runc}", str(shutil.which("runc"))))
    program.chmod(0o755)
    features = {"linux": {"seccomp": {"supportedFlags": [FLAG]}}}
    (tmp_path / "features").write_text(json.dumps(features))
    made = CommandLine(tmp_path)
    settings = {"default_network": "none", "runtimes": {"newer": [str(program)]}}
    made.config.write_text(json.dumps({**settings, "default_runtime": "newer"}))
    made.ok("import", str(busybox_tar), "busybox")
    yield made
    made.close()


def test_filters_slow_nobody_down(newer: CommandLine, tmp_path: Path):
    for _ in range(2):
        assert newer.ok("run", "--rm", "busybox", "grep", "-c", "Seccomp:.2", "/proc/self/status")
    newer.ok("run", "--rm", "--security-opt", "seccomp=unconfined", "busybox", "true")
    assert (tmp_path / "flags").read_text() == f'"flags": ["{FLAG}"]\n' * 2
    assert (tmp_path / "asked").read_text() == "asked\n"
    (tmp_path / "newer").touch()
    newer.ok("run", "--rm", "busybox", "true")
    assert (tmp_path / "asked").read_text() == "asked\n" * 2


def test_a_runtime_without_recursive_read_only_mounts(newer: CommandLine, tmp_path: Path):
    (tmp_path / "features").write_text(json.dumps({"mountOptions": ["ro"], "linux": {}}))
    forced = f"type=bind,src={tmp_path},dst=/d,readonly,bind-recursive=readonly"
    done = newer.call("run", "--rm", "--mount", forced, "busybox", "true")
    assert done.code == 125
    assert "bind-recursive=readonly needs kernel 5.12 and runc 1.1" in done.err
    newer.ok("run", "--rm", "-v", f"{tmp_path}:/d:ro", "busybox", "true")
    assert not (tmp_path / "flags").exists() or (tmp_path / "flags").read_text() == ""
