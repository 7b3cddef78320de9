"""What each command of the CLI imports: number of modules and milliseconds (``-X importtime``)."""

from __future__ import annotations

import subprocess
import sys

COMMANDS = {
    "front": "import runengine.cli.main",
    "engine": "from runengine.mgr.engine import Engine",
    "ps": "import runengine.cli.ps, runengine.mgr.container.listing, runengine.mgr.engine",
    "run": "import runengine.cli.run, runengine.mgr.container.start, runengine.mgr.engine,"
    " runengine.oci_spec.build, runengine.mgr.container.facts, runengine.rootfs.overlay",
    "exec": "import runengine.cli.streams_commands, runengine.mgr.container.exec",
    "pull": "import runengine.cli.images, runengine.registry.client",
}


def main() -> None:
    """Print one line per command, then its most costly modules."""
    for name, code in COMMANDS.items():
        lines = times(code)
        total = sum(own for own, _ in lines)
        worst = ", ".join(f"{module} {own / 1000:.1f}" for own, module in lines[:5])
        print(f"{name:8}{len(lines):5} modules {total / 1000:7.1f} ms   {worst}")


def times(code: str) -> list[tuple[int, str]]:
    """Microseconds and name of every module that ``code`` imports, the slowest first."""
    best: list[tuple[int, str]] = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-c", code],
            capture_output=True,
            text=True,
            check=True,
        )
        rows = [line.removeprefix("import time:").split("|") for line in done.stderr.splitlines()]
        found = [(int(row[0]), row[2].strip()) for row in rows if row[0].strip().isdigit()]
        if not best or sum(own for own, _ in found) < sum(own for own, _ in best):
            best = found
    return sorted(best, reverse=True)


if __name__ == "__main__":
    main()
