"""Who listens on a host's port: found in that host's namespace, by protocol and address."""

from __future__ import annotations

import os
import socket

import pytest

from runengine.netns import listening, namespace
from tests.support.capabilities import needs
from tests.support.hosts import Host

pytestmark = [pytest.mark.root, needs("ip")]

HOST, HOST6 = "203.0.113.5", "2001:db8:2::5"
ASKED = ("0.0.0.0", "127.0.0.1", HOST, "::", "::1", HOST6)


@pytest.fixture(scope="module")
def netns(tmp_path_factory):
    with Host(tmp_path_factory.mktemp("host")) as host:
        host.ok("ip", "address", "add", f"{HOST}/32", "dev", "lo")
        host.ok("ip", "address", "add", f"{HOST6}/128", "dev", "lo")
        with open(namespace.of_process(host.pid), "rb") as netns:
            yield netns.fileno()


@pytest.fixture(autouse=True)
def _on_host(netns):
    with namespace.entered(netns):
        yield


def bound(address: str, port: int, kind: int, *, v6_only: bool = False) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    if ":" in address:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6_only))
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


@pytest.mark.parametrize(
    ("address", "v6_only", "heard"),
    [
        ("0.0.0.0", False, {"0.0.0.0", "127.0.0.1", HOST}),
        ("127.0.0.1", False, {"0.0.0.0", "127.0.0.1"}),
        (HOST, False, {"0.0.0.0", HOST}),
        ("::", False, set(ASKED)),
        ("::", True, {"::", "::1", HOST6}),
        ("::1", True, {"::", "::1"}),
        (HOST6, False, {"::", HOST6}),
        (f"::ffff:{HOST}", False, {"0.0.0.0", HOST}),
    ],
)
@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_addresses_that_overlap(protocol, address, v6_only, heard):
    """As bind(2) has it; what the kernel says is asked beside it."""
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with bound(address, 8080, kind, v6_only=v6_only):
        assert {one for one in ASKED if listening.find(protocol, one, 8080)} == heard
        assert {one for one in ASKED if is_taken(one, kind)} == heard
        other = "udp" if protocol == "tcp" else "tcp"
        assert not any(listening.find(other, one, 8080) for one in ASKED)
        assert not listening.find(protocol, address, 8081)


def is_taken(address: str, kind: int) -> bool:
    try:
        bound(address, 8080, kind, v6_only=True).close()
    except OSError:
        return True
    return False


def test_the_error_names_the_process():
    with bound("127.0.0.1", 8080, socket.SOCK_STREAM):
        found = listening.find("tcp", "0.0.0.0", 8000, 100)
    assert found is not None
    assert found.pid == os.getpid()
    with open("/proc/self/comm", encoding="ascii") as file:
        program = file.read().strip()
    assert str(found) == f"{program} (pid {os.getpid()}) listens on 127.0.0.1:8080/tcp"


def test_rows_of_ports():
    with bound("::", 8099, socket.SOCK_DGRAM):
        assert listening.find("udp", "0.0.0.0", 8000, 100)
        assert not listening.find("udp", "0.0.0.0", 8000, 99)
        assert not listening.find("udp", "0.0.0.0", 8100, 3000)


def test_who_only_asks_does_not_listen():
    """A connected datagram socket, and a stream that was accepted."""
    with bound("127.0.0.1", 7000, socket.SOCK_STREAM) as server:
        asking = socket.create_connection(("127.0.0.1", 7000))
        accepted, _ = server.accept()
    datagrams = bound("127.0.0.1", 7001, socket.SOCK_DGRAM)
    datagrams.connect(("127.0.0.1", 9))
    with asking, accepted, datagrams:
        assert listening.find("tcp", "0.0.0.0", 7000) is None
        assert listening.find("udp", "0.0.0.0", 7001) is None


def test_a_protocol_that_the_kernel_may_lack():
    assert listening.find("sctp", "0.0.0.0", 1, 65535) is None


def test_other_namespaces_are_others():
    """The test's own process is on the host; the machine's sockets are not."""
    fd = namespace.new()
    try:
        with bound("127.0.0.1", 8080, socket.SOCK_STREAM), namespace.entered(fd):
            assert listening.find("tcp", "0.0.0.0", 8080) is None
    finally:
        os.close(fd)
