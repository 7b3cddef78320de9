"""A resolver on loopback addresses, with name servers that do as they are told."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from runengine.resolver import control, tables
from runengine.resolver.server import Server
from runengine.resolver.tables import Host, Table
from runengine.resolver.upstream import HostServers
from tests.support.nameservers import NameServer, ask, honest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GATEWAY = "127.0.77.1"
CLIENT = "127.0.77.2"
TABLE = Table(
    "n1", "front", (GATEWAY,), ("127.0.77.0/24",),
    (Host("web-id", ("web",), ("127.0.77.3",)), Host("own-id", ("own",), (CLIENT,))),
)  # fmt: skip


def free_port(address: str) -> int:
    """A port that has neither UDP nor TCP there."""
    with socket.create_server((address, 0)) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        port = int(tcp.getsockname()[1])
        udp.bind((address, port))
        return port


class Resolver:
    """The server in a thread, and what is needed to play with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self.port = free_port(GATEWAY)
        self.upstream_port = free_port("127.0.78.1")
        self.servers: list[NameServer] = []
        self._thread = threading.Thread(target=self._serve)
        resolv_conf = directory.parent / "resolv.conf"
        resolv_conf.write_text("nameserver 127.0.78.1\nnameserver 127.0.78.2\n")
        tables.write(self.directory, TABLE)
        self._door = control.listen(self.directory)
        self.server = Server(
            self.directory,
            self._door,
            port=self.port,
            upstream_port=self.upstream_port,
            host_servers=HostServers(str(resolv_conf), str(directory.parent / "none")),
        )
        self._thread.start()
        assert self.sync() == {}

    def _serve(self) -> None:
        self.server.serve()

    def write(self, table: Table) -> None:
        tables.write(self.directory, table)
        self.sync()

    def sync(self) -> dict[str, str]:
        """Wait until the tables are in force; what could not be listened on."""
        answer = control.ask(self.directory)
        assert answer is not None
        return answer.failures

    def upstream(self, number=1, behaviour=honest) -> NameServer:
        """Let the host's first or second name server be there."""
        server = NameServer(f"127.0.78.{number}", self.upstream_port, behaviour)
        self.servers.append(server)
        return server

    def ask(self, name, rdtype="A", **options):
        return ask(GATEWAY, name, rdtype, port=self.port, source=CLIENT, **options)

    def has_ended(self, timeout_s=30.0) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        for table in tables.read_all(self.directory):
            tables.remove(self.directory, table.network_id)
        assert self.has_ended()
        self.server.close()
        for server in self.servers:
            server.close()


@pytest.fixture
def resolver(tmp_path: Path) -> Iterator[Resolver]:
    (tmp_path / "dns").mkdir()
    made = Resolver(tmp_path / "dns")
    yield made
    made.close()
