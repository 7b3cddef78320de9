"""Connections that the kernel tracks, where they would outlive what they were translated by.

A datagram of a "connection" that is known already goes where the first one went, whatever our
table says by now. So entries are deleted when a port is published (what was sent to it before went
to the host itself) and when it is withdrawn (it would go on to an address that may soon be another
container's). TCP cares for itself: a dead connection's packets are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.netns.types import Published


def forget_unpublished(published: Sequence[Published]) -> None:
    """Forget datagrams that went to these ports of the host before they were published."""


def forget_published(published: Sequence[Published]) -> None:
    """Forget datagrams that these ports led to their container."""
