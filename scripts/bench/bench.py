"""What every benchmark works with: the engines, set up once, and how much is to be measured."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from scripts.bench.disk import scratch_directory
from scripts.bench.floor import Bundle, bundles
from scripts.bench.peers import Peer, peers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Bench(NamedTuple):
    """All benchmarks leave the engines without containers."""

    scratch: Path
    found: dict[str, Peer]
    floors: dict[str, Bundle]
    rounds: int
    quick: bool

    def choose(self, usual: int, quick: int) -> int:
        """How many rounds: as asked for, or as the benchmark thinks."""
        return self.rounds or (quick if self.quick else usual)

    def clear(self) -> None:
        """Remove every container of every engine."""
        for peer in self.found.values():
            peer.clear()


@contextmanager
def set_up(rounds: int, *, quick: bool, programs: Path | None) -> Iterator[Bench]:
    """Engines on a file system of their own, for as long as the block runs.

    ``programs``: where the others are, if they are not to be the host's own.
    """
    with scratch_directory() as scratch, peers(scratch, programs) as found:
        yield Bench(scratch, found, bundles(scratch, found), rounds, quick)
