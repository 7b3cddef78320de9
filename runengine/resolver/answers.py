"""Decides on each question: answered from the tables, asked of upstream servers, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.resolver import messages, packets
from runengine.resolver.views import canonical

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dns.rdata import Rdata

    from runengine.resolver.views import Index, View

_PTR, _ANY, _IN = 12, 255, 1
MAX_KEPT = 1024
MAX_VARIANTS = 16


class Forward(NamedTuple):
    """To be asked of others."""

    end: int
    """Where the question ends in the query."""
    servers: tuple[str, ...] | None
    """None: the host's."""


class Variants:
    """The answers to one query, each with another address first."""

    __slots__ = ("_made", "_query", "_records", "_stream", "_turn")

    def __init__(self, query: bytes, records: Sequence[Rdata], *, stream: bool) -> None:
        """Raises Unanswerable for a malformed query."""
        self._query = query
        self._records = list(records)
        self._stream = stream
        self._made = [messages.answer(query, records, stream=stream)[2:]]
        self._turn = -1

    def next(self) -> bytes:
        """All of an answer but its id."""
        count = min(len(self._records), MAX_VARIANTS) or 1
        self._turn = (self._turn + 1) % count
        if self._turn == len(self._made):
            self._records.append(self._records.pop(0))
            answer = messages.answer(self._query, self._records, stream=self._stream)
            self._made.append(answer[2:])
        return self._made[self._turn]


class Answers:
    """Answers by one state of the tables.

    What was decided is kept for whoever asks the same again, which most of a container's programs
    do all day; an answer as bytes: that is twenty times as quick as making one.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._kept: dict[tuple[str, str, bool, bytes], Variants | Forward] = {}

    def decide(
        self, query: bytes, source: str, gateway: str, *, stream: bool
    ) -> bytes | Forward | None:
        """The answer, or whom to ask; None for what deserves no answer."""
        key = (source, gateway, stream, query[2:])
        kept = self._kept.get(key)
        if kept is None:
            try:
                decided = self._decide(query, source, gateway, stream=stream)
            except messages.Unanswerable as error:
                return None if error.rcode is None else packets.error(query, error.rcode)
            if isinstance(decided, bytes):
                return decided
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            kept = self._kept[key] = decided
        return kept if isinstance(kept, Forward) else query[:2] + kept.next()

    def _decide(
        self, query: bytes, source: str, gateway: str, *, stream: bool
    ) -> Variants | bytes | Forward:
        question = messages.read_question(query)
        view = self._index.view(source, gateway)
        refused = question.rdclass != _IN or question.rdtype in messages.TRANSFERS
        if view is None or refused:
            return packets.error(query, packets.REFUSED, question.end)
        records = _records(view, question)
        if records is not None:
            return Variants(query, records, stream=stream)
        if view.internal:
            # Not SERVFAIL: musl's search list ends there.
            return packets.error(query, packets.NXDOMAIN, question.end)
        return Forward(question.end, view.upstream)


def _records(view: View, question: messages.Question) -> list[Rdata] | None:
    """What the tables say, which may be nothing of that type; None: not our name."""
    found = view.addresses(question.labels)
    if found is not None:
        return messages.addresses(question.rdtype, found)
    address = messages.address_in(question.labels)
    name = view.name_of(canonical(address) or "") if address else None
    if name is None:
        return None
    return [messages.pointer(name)] if question.rdtype in (_PTR, _ANY) else []
