"""Devices by eBPF: some of the rules that tests/root tries one by one where a start costs less."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.root.test_devices import ACCESSES, BASE, KMSG, accesses

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command_line import CommandLine

pytestmark = pytest.mark.vm


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (("c 1:* r",), "<"),
        (("c *:11 w", "a 7:11 rwm", "b 1:11 rwm", "c 1:12 rwm"), ">"),
    ],
)
def test_rules(cli: CommandLine, rules: tuple[str, ...], expected: str):
    script = f"mknod /k c 1 11 && {{ {ACCESSES}; }}; :"
    flags = [word for rule in rules for word in ("--device-cgroup-rule", rule)]
    shown = cli.ok(*BASE, *flags, "busybox", "sh", "-c", script, "sh", "/k")
    assert "".join(shown.split()) == expected


def test_permissions(cli: CommandLine, tmp_path: Path):
    node = tmp_path / "log"
    os.mknod(node, stat.S_IFCHR | 0o640, KMSG)
    assert accesses(cli, "/dev/mine", "--device", f"{node}:/dev/mine:r") == "<"
