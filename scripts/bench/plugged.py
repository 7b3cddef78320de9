"""Bare ``runc`` on a bridge: the floor for a container's network, made by the program ``ip``."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runengine.netns import namespace
from scripts.bench.harness import check_run
from scripts.bench.hosts import host, ip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bench.floor import Bundle
    from scripts.bench.hosts import Host

BRIDGE = "bench0"
GATEWAY, ADDRESS = "10.99.0.1", "10.99.0.2"


class Plugged:
    """Runs a bundle in a namespace of its own with one interface."""

    def __init__(self, floor: Bundle, own: Host) -> None:
        self._floor = floor
        self._host = own
        self._numbers = itertools.count()

    def run(self) -> None:
        """All that there is to it: namespace, veth pair, address, route; and away with it."""
        number = next(self._numbers)
        # A new name each time: the kernel takes the last one away in its own time.
        netns, port = f"{self._floor.name}-{number}", f"port{number}"
        directory = self._floor.write("plugged", "echo", "hi", netns=f"/run/netns/{netns}")
        with namespace.entered(self._host.inside):
            check_run(["ip", "netns", "add", netns])
            try:
                ip(
                    f"link add {port} master {BRIDGE} type veth peer name eth0 netns {netns}",
                    f"link set {port} up",
                )
                ip(
                    "link set lo up",
                    f"address add {ADDRESS}/24 dev eth0",
                    "link set eth0 up",
                    f"route add default via {GATEWAY}",
                    netns=netns,
                )
                self._floor.run("plugged", directory)
            finally:
                check_run(["ip", "netns", "delete", netns])


@contextmanager
def plugged(floors: dict[str, Bundle]) -> Iterator[dict[str, Plugged]]:
    """One for each bundle, on a host with a bridge."""
    with host() as own:
        with namespace.entered(own.inside):
            ip(
                f"link add {BRIDGE} type bridge",
                f"address add {GATEWAY}/24 dev {BRIDGE}",
                f"link set {BRIDGE} up",
            )
        yield {f"{name}, and ip": Plugged(floor, own) for name, floor in floors.items()}
