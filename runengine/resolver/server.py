"""The resolver: tables on one side, sockets on the other, answers in between."""

from __future__ import annotations

import errno
import gc
import os
from typing import TYPE_CHECKING

from runengine.errors import StateError
from runengine.linux.inotify import IN_DELETE, IN_MOVED_TO, DirectoryWatch
from runengine.resolver import control, tables
from runengine.resolver.forward import DNS_PORT, Forwarder
from runengine.resolver.listener import Listener
from runengine.resolver.log import Log
from runengine.resolver.loop import READ, Loop
from runengine.resolver.upstream import HostServers
from runengine.resolver.views import Index

if TYPE_CHECKING:
    import socket

    from runengine.resolver.answers import Answers
    from runengine.resolver.forward import Asker, Reply
    from runengine.resolver.loop import Timer
    from runengine.resolver.tables import Table

RETRY_S = 10.0
"""How often to try again for an address whose port another program has."""
LOAD_S = 0.05
"""Whoever starts a container waits for the first answer at the door; dnspython, which takes longer
to load than all else, comes after that."""
UNUSED_S = 60.0
"""How long to stay for networks without containers."""


class Server:
    """Serves the tables of a directory until none is left."""

    def __init__(
        self,
        directory: str,
        door: socket.socket,
        *,
        port: int = DNS_PORT,
        upstream_port: int = DNS_PORT,
        host_servers: HostServers | None = None,
    ) -> None:
        """``door`` is what ``control.listen`` made."""
        self._directory = directory
        self._port = port
        self._log = Log(directory)
        self._loop = Loop(self._log.write)
        self._forwarder = Forwarder(self._loop, self._log.write, upstream_port)
        self._host_servers = host_servers or HostServers()
        self._tables: dict[str, tuple[tuple[int, int, int], Table | None]] = {}
        self._index = Index(())
        self._answers: Answers | None = None
        self._listeners: dict[str, Listener] = {}
        self._failures: dict[str, str] = {}
        self._retry: Timer | None = None
        self._unused: Timer | None = None
        self._door = door
        self._watch = DirectoryWatch(directory, IN_MOVED_TO | IN_DELETE)
        self._loop.watch(self._watch.fileno(), READ, self._on_change, lasting=True)
        self._loop.watch(door.fileno(), READ, self._on_knock, lasting=True)

    def serve(self) -> None:
        """Answer until no table is left, or none has a container for a while."""
        self._reload()
        self._loop.later(LOAD_S, self._load)
        self._loop.run()

    def stop(self) -> None:
        """Leave ``serve``."""
        self._loop.stop()

    def close(self) -> None:
        """Free everything; ``door`` too."""
        self._forwarder.close()
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        self._door.close()
        self._watch.close()
        self._loop.close()

    # Questions

    def handle(self, query: bytes, asker: Asker, gateway: str, reply: Reply) -> None:
        """See Handler in listener.py."""
        answers = self._answers or self._new_answers()
        decided = answers.decide(query, asker.address, gateway, stream=bool(asker.stream))
        if decided is None or isinstance(decided, bytes):
            reply(decided)
            return
        named = decided.servers
        servers = self._host_servers.current() if named is None else named
        # A server that is ourselves would ask us again.
        others = [server for server in servers if server not in self._listeners]
        self._forwarder.ask(asker, query, decided.end, others, reply)

    def _new_answers(self) -> Answers:
        from runengine.resolver.answers import Answers  # see LOAD_S

        self._answers = Answers(self._index)
        return self._answers

    def _load(self) -> None:
        self._new_answers()
        gc.collect()
        gc.freeze()

    # Tables

    def _on_change(self, _: int) -> None:
        self._watch.drain()
        self._reload()

    def _on_knock(self, _: int) -> None:
        while True:
            try:
                sock, _address = self._door.accept()
            except OSError:
                return  # nobody is there any more, or no descriptor is left
            with sock:
                self._reload()
                control.answer(sock, self._failures)

    def _reload(self) -> None:
        """Take over what has changed; sockets whose address stays are not touched."""
        if self._read_tables():
            known = [table for _, table in self._tables.values() if table]
            self._index = Index(known)
            self._answers = None
        self._listen()
        self._stay_or_go()

    def _read_tables(self) -> bool:
        """Read the files that are new or others than before; whether there were any."""
        paths = tables.files(self._directory)
        gone = self._tables.keys() - paths
        for path in gone:
            del self._tables[path]
        changed = [path for path in paths if self._read_table(path)]
        return bool(gone or changed)

    def _read_table(self, path: str) -> bool:
        try:
            status = os.stat(path)
            version = status.st_ino, status.st_mtime_ns, status.st_size
            known = self._tables.get(path)
            if known and known[0] == version:
                return False
            table: Table | None = tables.read(path)
        except FileNotFoundError:
            return self._tables.pop(path, None) is not None
        except StateError as error:
            self._log.write(str(error))
            table = known[1] if known else None
        self._tables[path] = version, table
        return True

    def _listen(self) -> None:
        wanted = self._index.by_gateway
        for address in self._listeners.keys() - wanted.keys():
            self._listeners.pop(address).close()
        self._failures = {}
        for address in wanted.keys() - self._listeners.keys():
            try:
                self._listeners[address] = Listener(self._loop, address, self._port, self)
            except OSError as error:
                self._failures[address] = _reason(error, self._port)
                self._log.write(f"cannot listen on {address}: {self._failures[address]}")
        if self._failures and not self._retry:
            self._retry = self._loop.later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self._listen()

    def _stay_or_go(self) -> None:
        """End by a timer alone, at a turn's end: nobody has just been told then that we run."""
        if self._unused:
            self._unused.cancel()
        self._unused = None
        if not self._index.has_hosts:
            delay_s = UNUSED_S if self._tables else 0.0
            self._unused = self._loop.later(delay_s, self._loop.stop)


def _reason(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program has port {port} there"
    return error.strerror or str(error)
