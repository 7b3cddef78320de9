"""The engine's nftables table: networks, published ports, and nothing of anybody else's.

The table's rules are fixed text that ``nft`` reads (ruleset.py), once a boot. All that happens
afterwards is elements of its sets and maps, sent by netlink in one transaction (nftables.py). If
somebody flushes the host's ruleset, the table goes with it: the next change then raises
TableMissing, and the caller has it made anew from what it has on record.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from runengine.errors import EngineError
from runengine.linux.netlink import NetlinkError
from runengine.netns import conntrack, elements, nftables, ruleset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.linux.netlink import Message
    from runengine.netns.nftables import Stored
    from runengine.netns.types import Bridge, Published

_ATTEMPTS = 5
"""Of a transaction whose ground others change between our look and our change."""


class TableMissing(EngineError):
    """The table is not there: not made yet, flushed, or made by an older engine. Replay it."""


class Firewall:
    """One engine's table, in the network namespace of the calling thread."""

    def __init__(self, table: str, *, admin_file: str = ruleset.ADMIN_FILE) -> None:
        self.table = table
        self.admin_file = admin_file

    def add_network(self, bridge: Bridge) -> None:
        """Let the bridge's containers through as its options say; idempotent.

        Raises TableMissing where there is no table, also before the first network.
        """
        known = nftables.encode(elements.of_device(bridge.device))
        wanted = nftables.encode(elements.of_bridge(bridge))
        messages = [
            # Added first, so that deleting cannot fail: nothing of an earlier life stays.
            *nftables.added(self.table, known),
            *nftables.deleted(self.table, known),
            *nftables.added(self.table, wanted),
        ]
        self._commit(messages, f"let bridge {bridge.device} through the firewall")

    def remove_network(self, device: str) -> None:
        """Forget a bridge; idempotent."""
        known = nftables.encode(elements.of_device(device))
        messages = [*nftables.added(self.table, known), *nftables.deleted(self.table, known)]
        with suppress(TableMissing):
            self._commit(messages, f"remove bridge {device} from the firewall")

    def publish(self, published: Sequence[Published]) -> None:
        """Lead ports of the host to a container, all or none; idempotent.

        What led elsewhere (to a container that nobody has torn down) does so no more. Raises
        TableMissing.
        """
        if not published:
            return
        wanted = nftables.encode(elements.of_all(published))
        what = f"publish {_summary(published)}"
        messages = nftables.added(self.table, wanted)
        for attempt in range(_ATTEMPTS):
            try:
                self._commit(messages, what)
                break
            except _Taken as error:
                if attempt == _ATTEMPTS - 1:
                    raise error.as_refusal from error
                there = self._overlapping(wanted)
                messages = nftables.deleted(self.table, there)
                messages += nftables.added(self.table, wanted)
        conntrack.forget_unpublished(published)

    def withdraw(self, published: Sequence[Published]) -> None:
        """Lead these ports to this container no more, all or none; idempotent.

        A port that meanwhile leads to another container goes on doing so.
        """
        if not published:
            return
        unwanted = nftables.encode(elements.of_all(published))
        with suppress(TableMissing):
            try:
                self._delete(unwanted, f"withdraw {_summary(published)}")
            except _Taken:
                there = set(self._overlapping(unwanted))
                self._delete([one for one in unwanted if one in there], "withdraw published ports")
        conntrack.forget_published(published)

    def replay(self, bridges: Iterable[Bridge], published: Iterable[Published]) -> None:
        """Make the whole table anew from these, in place of one that is there.

        One transaction: nothing is let through or cut off in between, and connections go on.
        """
        listed = list(published)
        wanted = [element for bridge in bridges for element in elements.of_bridge(bridge)]
        wanted += elements.of_all(listed)
        text = ruleset.text(self.table, wanted, self.admin_file)
        nftables.run(text, f"make the firewall table {self.table}")
        conntrack.forget_unpublished(listed)

    def is_whole(self) -> bool:
        """Whether the table is there, in the shape that this engine makes."""
        what = f"look at the firewall table {self.table}"
        try:
            return nftables.comment(self.table) == ruleset.shape()
        except OSError as error:
            raise nftables.refused(what, error) from error

    def _is_anothers(self) -> bool:
        with suppress(EngineError):
            return not self.is_whole()
        return False

    def remove(self) -> None:
        """Take the whole table away; idempotent."""
        nftables.run(ruleset.removal(self.table), f"remove the firewall table {self.table}")

    def _delete(self, unwanted: Sequence[Stored], what: str) -> None:
        if unwanted:
            # Adding fails where the port leads elsewhere, and makes deleting possible elsewhere.
            messages = nftables.added(self.table, unwanted)
            self._commit([*messages, *nftables.deleted(self.table, unwanted)], what)

    def _overlapping(self, wanted: Sequence[Stored]) -> list[Stored]:
        """What the table has now at the keys of ``wanted``."""
        found = []
        for name in {one.set for one in wanted}:
            there = nftables.dump(self.table, name)
            found += [old for old in there if any(old.overlaps(new) for new in wanted)]
        return found

    def _commit(self, messages: Sequence[Message], what: str) -> None:
        try:
            nftables.commit(messages)
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                raise TableMissing(
                    f"cannot {what}: the nftables table {self.table} is missing",
                    resolution="runengine network reload makes it anew",
                ) from error
            refusal = nftables.refused(what, error)
            if self._is_anothers():
                # An older engine's, or damaged by hand: to insist on it would hold containers up.
                raise TableMissing(
                    f"cannot {what}: the nftables table {self.table} is not of our making",
                    resolution="runengine network reload makes it anew",
                ) from error
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise _Taken(refusal) from error
            raise refusal from error
        except OSError as error:
            raise nftables.refused(what, error) from error


class _Taken(Exception):
    """A key has another value, or an interval overlaps another."""

    def __init__(self, refusal: EngineError) -> None:
        super().__init__(refusal.brief)
        self.as_refusal = refusal


def _summary(published: Sequence[Published]) -> str:
    first = published[0]
    host = f"[{first.host_ip}]" if ":" in first.host_ip else first.host_ip
    text = f"{host}:{first.host_port}/{first.protocol}"
    return f"{text} and {len(published) - 1} more" if len(published) > 1 else text
