"""Questions about the rest of the world, on their way to the upstream servers and back.

Messages pass as they are but for their ids, so EDNS, DNSSEC and record types that nobody here
knows do no harm. The next server gets its turn when one is silent or fails, and the first one
may still answer meanwhile. All of it takes less time than a C library waits (5 s).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from runengine.resolver import packets
from runengine.resolver.exchange import Exchange, StreamExchange
from runengine.resolver.upstream import Reachability

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runengine.resolver.loop import Loop, Timer

    Reply = Callable[[bytes | None], None]
    """Takes the answer; None: the question deserves none."""

DNS_PORT = 53
TURN_S = 1.5
TURNS = 3
MAX_PENDING = 1024
MAX_PENDING_OF_ONE = 256
"""Of one container's, so that none can take all the room."""
NO_HELP = frozenset({packets.SERVFAIL, packets.NOTIMP, packets.REFUSED})
"""What a server says that cannot help; another one may (resolv.conf(5) is a list for that)."""


class Asker(NamedTuple):
    """Who asked, to tell a question from its repetition."""

    address: str
    port: int
    stream: int
    """0 for UDP, else a number of the connection."""


class Pending:
    """A question that is out."""

    __slots__ = ("due", "end", "key", "last", "left", "open", "query", "reply", "servers", "turns")

    def __init__(
        self, key: tuple[Asker, bytes], query: bytes, end: int, servers: list[str], reply: Reply
    ) -> None:
        self.key = key
        self.query = query
        self.end = end
        self.servers = servers
        self.left = list(servers)
        """Not asked yet."""
        self.reply = reply
        self.open: list[Exchange] = []
        self.last: bytes | None = None
        """What a server said that could not help."""
        self.turns = 0
        self.due = 0.0


class Forwarder:
    """Has every question that is out, and one timer for all of them."""

    def __init__(self, loop: Loop, report: Callable[[str], None], port: int = DNS_PORT) -> None:
        self._loop = loop
        self._report = report
        self._port = port
        self._reachability = Reachability()
        # In the order in which they are due, as every turn is as long.
        self._pending: dict[tuple[Asker, bytes], Pending] = {}
        self._of_one: dict[str, int] = {}
        self._timer: Timer | None = None

    def ask(
        self, asker: Asker, query: bytes, end: int, servers: Sequence[str], reply: Reply
    ) -> None:
        """Find an answer for ``reply``, which is called once; ``end``: where the question ends.

        The same question again, from the same port, while it is out is a repetition.
        """
        key = asker, query[:end]
        if key in self._pending:
            return
        held = self._of_one.get(asker.address, 0)
        if len(self._pending) >= MAX_PENDING or held >= MAX_PENDING_OF_ONE:
            self._report(f"too many questions at once, the last from {asker.address}")
            reply(packets.error(query, packets.SERVFAIL, end))
            return
        pending = Pending(key, query, end, self._reachability.order(servers), reply)
        self._pending[key] = pending
        self._of_one[asker.address] = held + 1
        self._wait(pending)
        self._next(pending)
        if not self._timer and self._pending:
            self._arm()

    def close(self) -> None:
        """Give all questions up, without an answer."""
        for pending in list(self._pending.values()):
            self._forget(pending)

    # A question's way

    def _next(self, pending: Pending) -> None:
        """The turn of the next server that there is a way to; without one that is the end."""
        kind = StreamExchange if pending.key[0].stream else Exchange
        while pending.left:
            server = pending.left.pop(0)
            try:
                exchange = kind(
                    self._loop,
                    server,
                    self._port,
                    pending.query,
                    pending.end,
                    lambda exchange, response: self._ended(pending, exchange, response),
                )
            except OSError as error:
                self._reachability.was_silent(server)
                self._report(f"server {server} cannot be asked: {error.strerror or error}")
                continue
            pending.open.append(exchange)
            return
        if not pending.open:
            self._give_up(pending)

    def _wait(self, pending: Pending) -> None:
        """Another turn, as the last one of all that wait."""
        pending.due = time.monotonic() + TURN_S
        self._pending[pending.key] = self._pending.pop(pending.key)

    def _ended(self, pending: Pending, exchange: Exchange, response: bytes | None) -> None:
        pending.open.remove(exchange)
        if response is None:
            self._reachability.was_silent(exchange.server)
            self._report(f"server {exchange.server} does not take questions")
        else:
            self._reachability.answered(exchange.server)
            if packets.rcode_of(response) not in NO_HELP:
                self._finish(pending, response)
                return
            pending.last = response
        self._next(pending)

    def _turn_over(self, pending: Pending) -> None:
        """Nothing came in time."""
        pending.turns += 1
        for exchange in pending.open:
            # One that had its turn only because another failed may still answer in time.
            if time.monotonic() - exchange.began > TURN_S / 2:
                self._reachability.was_silent(exchange.server)
                self._report(f"server {exchange.server} does not answer")
        if pending.turns == TURNS:
            self._give_up(pending)
            return
        self._wait(pending)
        if not pending.left and not pending.key[0].stream:
            pending.left = list(pending.servers)  # a packet may have been lost
        self._next(pending)

    def _give_up(self, pending: Pending) -> None:
        failed = packets.error(pending.query, packets.SERVFAIL, pending.end)
        self._finish(pending, pending.last or failed)

    def _finish(self, pending: Pending, response: bytes) -> None:
        self._forget(pending)
        pending.reply(pending.query[:2] + response[2:])

    def _forget(self, pending: Pending) -> None:
        for exchange in pending.open:
            exchange.close()
        pending.open.clear()
        del self._pending[pending.key]
        address = pending.key[0].address
        held = self._of_one.pop(address)
        if held > 1:
            self._of_one[address] = held - 1

    # The timer

    def _arm(self) -> None:
        """Wait for the first; without questions nothing is waited for."""
        first = next(iter(self._pending.values()))
        self._timer = self._loop.later(first.due - time.monotonic(), self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._pending:
            pending = next(iter(self._pending.values()))
            if pending.due > now:
                self._arm()
                return
            self._turn_over(pending)
