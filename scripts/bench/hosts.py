"""Hosts of the benchmark's own: network namespaces, each with an outside at the end of a wire.

Every engine has one to itself: no packet passes another's rules, and the machine's own network is
left alone.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import namespace
from scripts.bench.harness import check_run

if TYPE_CHECKING:
    from collections.abc import Iterator

ADDRESS, OUTSIDE_ADDRESS = "192.0.2.1", "192.0.2.2"
"""The host's on its wire, and that of the machine at the other end."""


class Host(NamedTuple):
    """Descriptors of two network namespaces."""

    inside: int
    outside: int


@contextmanager
def host() -> Iterator[Host]:
    """A host and who is outside of it; what is left in them goes with the last process there."""
    with ExitStack() as stack:
        made = Host(namespace.new(), namespace.new())
        for fd in made:
            stack.callback(os.close, fd)
        with namespace.entered(made.inside):
            other = f"/proc/{os.getpid()}/fd/{made.outside}"
            ip(f"link add wire type veth peer name wire netns {other}")
        for fd, address in zip(made, (ADDRESS, OUTSIDE_ADDRESS), strict=True):
            with namespace.entered(fd):
                ip(f"address add {address}/24 dev wire", "link set wire up")
        yield made


def ip(*commands: str, netns: str = "") -> None:
    """Have ``ip`` carry out commands in one process; in the namespace of this name, if any."""
    where = ["-netns", netns] if netns else []
    check_run(["ip", *where, "-batch", "-"], input="\n".join(commands))
