"""Benchmarks beside raw runc, Docker and Podman: ``python -m scripts.bench NAME...``.

All engines take turns in one run, on scratch roots of their own, with one image and one runc.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path

from scripts.bench import (
    archives,
    copy,
    crowd,
    dns,
    images,
    listing,
    logs,
    memory,
    network,
    push,
    start,
    volumes,
)
from scripts.bench.bench import set_up
from scripts.bench.ending import orderly
from scripts.bench.harness import host_facts, print_table
from scripts.bench.peer_root import programs
from scripts.bench.verdicts import summary

BENCHMARKS = {
    "start": start,
    "ps": listing,
    "crowd": crowd,
    "memory": memory,
    "logs": logs,
    "copy": copy,
    "network": network,
    "volumes": volumes,
    "dns": dns,
    "images": images,
    "push": push,
    "archives": archives,
}
ALL = "all"


def main() -> None:
    """Say what there is, or measure what was named; the budgets come last, in one table."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench",
        description=__doc__,
        epilog=contents(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="*", help="what to measure")
    parser.add_argument("--rounds", type=int, default=0, help="instead of each one's own number")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller sizes")
    parser.add_argument("--summary", action="store_true", help="print nothing but the budgets")
    parser.add_argument(
        "--peers-root",
        type=Path,
        metavar="DIRECTORY",
        help="Docker and Podman as scripts.bench.peer_root got them, not the host's",
    )
    chosen = parser.parse_args()
    if not chosen.name:
        parser.print_help()
        return
    names = list(BENCHMARKS) if ALL in chosen.name else chosen.name
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}")
    orderly()
    theirs = programs(chosen.peers_root) if chosen.peers_root else None
    with set_up(chosen.rounds, quick=chosen.quick, programs=theirs) as bench:
        for name in names:
            print(f"measuring {name}", file=sys.stderr)
            with redirect_stdout(StringIO()) if chosen.summary else nullcontext():
                BENCHMARKS[name].measure(bench)
    print(f"\n### Budgets\n\n{host_facts()}\n")
    print_table(summary())


def contents() -> str:
    """The benchmarks, one a line."""
    lines = [
        f"  {name:8} {(module.__doc__ or '').partition(chr(10))[0]}"
        for name, module in BENCHMARKS.items()
    ]
    return "\n".join(
        [
            "what there is:",
            *lines,
            f"  {ALL:8} All of these, in one run.",
            "",
            "python -m scripts.bench.imports: what each command imports, and for how long.",
            "python -m scripts.bench.peer_root: a newer Docker and Podman to compare with.",
        ]
    )


if __name__ == "__main__":
    main()
