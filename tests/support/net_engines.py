"""An engine on a host of its own, with a wire to a client that stands for the world outside."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tests.support.hosts import Host, HostCommandLine, WarmHostCommandLine, wire

if TYPE_CHECKING:
    from pathlib import Path

HOST_IP, HOST_IP6 = "192.0.2.1", "2001:db8:1::1"
CLIENT_IP, CLIENT_IP6 = "192.0.2.2", "2001:db8:1::2"
SUBNET, SUBNET6 = "10.77.0.0/24", "fd77::/64"
WEB = "mkdir -p /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www"
"""A container's command: a web server that says its host name."""
_GET = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode().strip())
"""


class NetEngine:
    """The engine's command line (``cli``), its ``host``, and the ``client`` outside."""

    def __init__(self, directory: Path, *, warm: bool) -> None:
        with ExitStack() as stack:
            self.host = stack.enter_context(Host(directory / "host"))
            self.client = stack.enter_context(Host(directory / "client"))
            self.cli: Any = self._engine(directory / "engine", warm=warm)
            stack.pop_all()

    def _engine(self, place: Path, *, warm: bool) -> Any:
        wire(
            self.host, f"{HOST_IP}/24", self.client, f"{CLIENT_IP}/24",
            f"{HOST_IP6}/64", f"{CLIENT_IP6}/64",
        )  # fmt: skip
        # As on a router: that the engine has to enable it is said, and is other tests' matter.
        for family in ("ipv4.ip_forward=1", "ipv6.conf.all.forwarding=1"):
            self.host.ok("sysctl", "-qw", f"net.{family}")
        place.mkdir()
        return (WarmHostCommandLine if warm else HostCommandLine)(place, self.host)

    def close(self) -> None:
        """Remove everything; the hosts go last."""
        self.cli.close()
        self.client.close()
        self.host.close()

    def clear(self) -> None:
        """Remove containers, volumes and user-defined networks."""
        self.cli.clear()
        self.cli.ok("network", "prune", "-f")

    def network(self, name: str, *flags: str) -> str:
        """Create a network; its id."""
        return str(self.cli.ok("network", "create", *flags, name))

    def run(self, name: str, *flags: str, command: tuple[str, ...] = ("sleep", "1000")) -> str:
        """Run a container in the background; its id."""
        return str(self.cli.ok("run", "-d", "--name", name, *flags, "busybox", *command))

    def web(self, name: str, *flags: str) -> str:
        """Run a web server that answers with its host name, which is its name."""
        return self.run(name, "--hostname", name, *flags, command=("sh", "-c", WEB))

    def once(self, *flags: str, script: str) -> str:
        """Run a shell script in a container that goes; its output."""
        return str(self.cli.ok("run", "--rm", *flags, "busybox", "sh", "-c", script))

    def sh(self, name: str, script: str) -> str:
        """Run a shell script in a running container; its output."""
        return str(self.cli.ok("exec", name, "sh", "-c", script))

    def get(self, url: str, *, by: Host | None = None, timeout_s: float = 10.0) -> str:
        """What a web server answers to the client (or to another host)."""
        return (by or self.client).python(_GET, url, str(timeout_s))

    def gets(self, url: str, *, by: Host | None = None) -> bool:
        """Whether it answers within a second."""
        where = by or self.client
        return where.call("python3", "-I", "-S", "-c", _GET, url, "1").code == 0

    def settings(self, name: str) -> dict[str, Any]:
        """``NetworkSettings`` of a container."""
        text = self.cli.ok("inspect", "--format", "{{json .NetworkSettings}}", name)
        found: dict[str, Any] = json.loads(text)
        return found

    def state_of_host(self) -> list[str]:
        """Ends of veth pairs, and all that is in the firewall: what a run may leave behind."""
        rules = self.host.ok("nft", "-s", "list", "ruleset").splitlines()
        return self.links_of_containers() + rules

    def links_of_containers(self) -> list[str]:
        """Ends of veth pairs; those of a container that has ended take a moment to go."""
        links = self.host.ok("ip", "-o", "link", "show", "type", "veth").splitlines()
        names = [line.split()[1].partition("@")[0] for line in links]
        return [name for name in names if not name.startswith("wire")]
