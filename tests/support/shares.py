"""A pytest plugin: several pytests share out one selection of tests among them.

All of them collect the same tests in the same order. A share is a few neighbours of one file; it
is whose directory was made first. One pytest takes shares from the front, the other from the
back, until they meet: so tests that use the same fixtures stay together, and neither has to know
how long a test takes.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Test = TypeVar("Test")
SHARE = 12
"""Tests in a share, at most: the last one decides how long one pytest waits for the other."""
COLLECTED = "collected"
ENDED = "ended"
"""A file in the common directory, with a byte for each test that has ended."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that ``tests.support.lanes`` gives."""
    parser.addoption("--shares", type=Path, help="directory that all of them have in common")
    parser.addoption("--lane", type=int, default=0, help="which of them this one is, from 0 on")
    parser.addoption("--lanes", type=int, default=1, help="how many there are")


def split(names: Sequence[str]) -> list[range]:
    """Node ids as shares, each the indexes of neighbours in one file."""
    shares = []
    for _, group in itertools.groupby(range(len(names)), lambda i: names[i].partition("::")[0]):
        indexes = list(group)
        shares += [
            range(begin, min(begin + SHARE, indexes[-1] + 1))
            for begin in range(indexes[0], indexes[-1] + 1, SHARE)
        ]
    return shares


def order(count: int, lane: int, lanes: int) -> list[int]:
    """In which order a lane asks for shares: pairs of lanes begin at the two ends of a part."""
    pairs = (lanes + 1) // 2
    begin, end = (count * number // pairs for number in (lane // 2, lane // 2 + 1))
    forward = [*range(begin, count), *range(begin)]
    return forward if lane % 2 == 0 else [*range(end - 1, -1, -1), *range(count - 1, end - 1, -1)]


def take(directory: Path, names: Sequence[str], lane: int, lanes: int) -> Iterator[int]:
    """Indexes of the tests that are this lane's, each as late as possible.

    Raises UsageError if another lane has collected others.
    """
    _agree(directory, names)
    shares = split(names)
    for number in order(len(shares), lane, lanes):
        try:
            (directory / str(number)).mkdir()
        except FileExistsError:
            continue
        yield from shares[number]


def _agree(directory: Path, names: Sequence[str]) -> None:
    """Write down what was collected, or compare it with what the first lane has written down."""
    with tempfile.NamedTemporaryFile("w", dir=directory, suffix=".json") as mine:
        json.dump(names, mine)
        mine.flush()
        try:
            (directory / COLLECTED).hardlink_to(mine.name)
        except FileExistsError:
            first = json.loads((directory / COLLECTED).read_text())
            for pair in itertools.zip_longest(first, names):
                if pair[0] != pair[1]:
                    raise pytest.UsageError(
                        f"the lanes did not collect the same tests: {pair!a}; what a test is"
                        " called must not depend on the time or on the order of a set"
                    ) from None


def with_next(items: Iterable[Test]) -> Iterator[tuple[Test, Test | None]]:
    """Each with the one after it, which tells pytest what fixtures will still be needed."""
    item: Test | None = None
    for following in items:
        if item is not None:
            yield item, following
        item = following
    if item is not None:
        yield item, None


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """As pytest's own, over this lane's tests alone."""
    option = session.config.option
    if option.shares is None or option.collectonly or session.testsfailed:
        return None
    names = [item.nodeid for item in session.items]
    mine = (
        session.items[index] for index in take(option.shares, names, option.lane, option.lanes)
    )
    with (option.shares / ENDED).open("ab", buffering=0) as ended:
        for item, following in with_next(mine):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            ended.write(b".")
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
    return True
