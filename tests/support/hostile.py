"""Images that mean harm: the busybox one with something changed in it."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.command_line import CommandLine

IMAGE = "hostile"


@contextmanager
def image(
    cli: CommandLine, busybox_tar: Path, directory: Path, change: Callable[[Path], object]
) -> Iterator[str]:
    """An image made of busybox by ``change``, which gets its root; removed at the end."""
    top = directory / "top"
    top.mkdir()
    subprocess.run(["tar", "-xf", busybox_tar, "-C", top], check=True)
    change(top)
    archive = directory / "hostile.tar"
    subprocess.run(["tar", "--sparse", "-cf", archive, "-C", top, "."], check=True)
    cli.ok("import", str(archive), IMAGE)
    try:
        yield IMAGE
    finally:
        cli.clear()
        cli.ok("rmi", "-f", IMAGE)
