"""Where the engines' roots are: a file system of the benchmark's own, with a journal.

Engines differ in how much they sync, and a root file system without a journal (as on some virtual
machines) flatters whoever syncs most.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.bench.cpu import metering
from scripts.bench.harness import check_run

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE_BYTES = 16 << 30
"""The file is sparse: it takes what is written."""


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory with nothing in it but ``run``, which is in memory, for volatile state.

    ``RUNENGINE_BENCH_DIR`` names a directory below which it is made instead.
    CPU time is accounted apart from the rest of the machine meanwhile.
    """
    parent = os.environ.get("RUNENGINE_BENCH_DIR")
    with metering(), tempfile.TemporaryDirectory(prefix="runengine-bench-", dir=parent) as name:
        scratch = Path(name) / "disk"
        scratch.mkdir()
        try:
            if parent is None:
                mount_disk(Path(name) / "image", scratch)
            run = scratch / "run"  # in memory, as /run is
            run.mkdir()
            check_run(["mount", "-t", "tmpfs", "tmpfs", str(run)])
            yield scratch
        finally:
            unmount_below(name)


def mount_disk(image: Path, target: Path) -> None:
    """An ext4 with a journal, in a file."""
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    # Without lazy initialisation, which would go on in the background of the measurements.
    options = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    check_run(["mkfs.ext4", "-q", "-F", "-E", options, str(image)])
    check_run(["mount", "-o", "loop", str(image), str(target)])


def unmount_below(directory: str) -> None:
    """Peers leave mounts behind, and a mount point cannot be removed."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4] for line in lines]
    below = [target for target in targets if target.startswith(f"{directory}/")]
    for target in sorted(below, reverse=True):
        subprocess.run(["umount", "-l", target], check=False)
