"""Hosts of a test's own, as network namespaces, with containers that are namespaces, too."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from runengine.netns import bridge, endpoint, links, namespace
from runengine.netns.types import Bridge, Endpoint
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

BRIDGE = Bridge("brt0", ("10.9.0.1/24", "fd00:9::1/64"))
GATEWAYS = ("10.9.0.1", "fd00:9::1")
_THE_MACHINE = os.readlink("/proc/thread-self/ns/net")
PATIENCE_S = 10.0
"""For what the kernel does in its own time; tests do not fail because the machine is busy."""


class Guest:
    """A container: a namespace with one endpoint."""

    def __init__(self, netns_fd: int, wanted: Endpoint) -> None:
        self.fd = netns_fd
        self.endpoint = wanted

    @property
    def addresses(self) -> list[str]:
        return [address.partition("/")[0] for address in self.endpoint.addresses]

    def call(self, function: Callable[[], Result]) -> Result:
        return namespace.call(self.fd, function)

    def ip(self, *args: str) -> str:
        return self.call(lambda: ip(*args))

    def serve(self, address: str, port: int = 80) -> socket.socket:
        return self.call(lambda: listener(address, port))

    def connect(self, address: str, port: int = 80, timeout_s: float = PATIENCE_S) -> None:
        self.call(lambda: socket.create_connection((address, port), timeout_s).close())


class Host:
    """A host: the calling thread is in its namespace while the test runs."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.fd = self.namespace()
        self.outside = -1
        """Another namespace that the host has a link to, in tests that make one."""
        stack.enter_context(namespace.entered(self.fd))

    def namespace(self) -> int:
        fd = namespace.new()
        self._stack.callback(_close, fd)
        return fd

    def guest(self, number: int, **changes: Any) -> Guest:
        """A container on the bridge with the addresses 10.9.0.NUMBER and fd00:9::NUMBER."""
        wanted = on_bridge(number, **changes)
        netns_fd = self.namespace()
        endpoint.attach(wanted, netns_fd)
        return Guest(netns_fd, wanted)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        return  # the test has done it


def on_bridge(number: int, **changes: Any) -> Endpoint:
    fields: dict[str, Any] = {
        "driver": "bridge",
        "device": BRIDGE.device,
        "name": "eth0",
        "addresses": (f"10.9.0.{number}/24", f"fd00:9::{number}/64"),
        "host_name": "ve" + secrets.token_hex(6),
        "gateways": GATEWAYS,
    }
    return Endpoint(**{**fields, **changes})


@contextmanager
def own_host() -> Iterator[Host]:
    with ExitStack() as stack:
        yield Host(stack)


@contextmanager
def bridged_host() -> Iterator[Host]:
    with own_host() as host:
        bridge.ensure(BRIDGE)
        yield host


class Interrupt(Exception):
    """What a signal's handler raises, in the way of KeyboardInterrupt."""


def interrupted(work: Callable[[], object], after_s: float) -> None:
    """Do the work in the main thread; a signal's handler raises in it, if it takes that long."""
    armed = [True]

    def handler(*_args: object) -> None:
        if armed:
            armed.clear()
            raise Interrupt

    previous = signal.signal(signal.SIGALRM, handler)
    with suppress(Interrupt):
        signal.setitimer(signal.ITIMER_REAL, after_s)
        work()
        armed.clear()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def ip(*args: str) -> str:
    assert os.readlink("/proc/thread-self/ns/net") != _THE_MACHINE, "not in a host of its own"
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(args)}: {done.stderr}"
    return done.stdout


def listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family)


def names_of_links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def wait_until_gone(name: str) -> None:
    wait_for(lambda: links.index_of(name) is None, f"{name} is gone")
