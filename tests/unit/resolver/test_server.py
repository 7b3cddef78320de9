"""The server as its clients see it: sockets, tables that change, and other servers."""

import errno
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from runengine.resolver import control, forward, listener, server, stream, tables
from runengine.resolver.tables import Host
from tests.support.nameservers import (
    ADDRESS,
    NameServer,
    failing,
    found,
    honest,
    silent,
)
from tests.unit.resolver.conftest import CLIENT, GATEWAY, TABLE

BOTH = pytest.mark.parametrize("over_tcp", [False, True], ids=["udp", "tcp"])


@BOTH
def test_names_are_answered(resolver, over_tcp):
    assert found(resolver.ask("web", stream=over_tcp)) == ["127.0.77.3"]
    assert found(resolver.ask("web", "AAAA", stream=over_tcp)) == []


def test_many_addresses_of_our_own(resolver):
    many = tuple(
        Host(f"c{number}", ("many",), (f"127.0.77.{number}",)) for number in range(4, 104)
    )
    resolver.write(TABLE._replace(hosts=TABLE.hosts + many))
    assert resolver.ask("many").flags & dns.flags.TC
    assert len(found(resolver.ask("many", stream=True))) == 100


# Connections


def connect(resolver, room=0):
    sock = socket.socket()
    sock.settimeout(10)
    sock.bind((CLIENT, 0))
    if room:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.connect((GATEWAY, resolver.port))
    return sock, sock.makefile("rb")


def framed(*names):
    wires = [dns.message.make_query(name, "A").to_wire() for name in names]
    return b"".join(struct.pack("!H", len(wire)) + wire for wire in wires)


def receive(file):
    return dns.message.from_wire(file.read(int.from_bytes(file.read(2), "big")))


def test_questions_in_a_row_on_one_connection(resolver):
    resolver.upstream()
    sock, file = connect(resolver)
    with sock, file:
        names = [name for number in range(100) for name in ("web", f"n{number}.example.org")]
        sock.sendall(framed(*names))
        sock.shutdown(socket.SHUT_WR)
        answers = [receive(file) for _ in names]
        assert not file.read()
    assert sorted(str(a.question[0].name) for a in answers) == sorted(f"{n}." for n in names)
    assert all(found(answer) for answer in answers)


def test_a_question_in_pieces(resolver):
    sock, file = connect(resolver)
    with sock, file:
        for byte in framed("web"):
            sock.sendall(bytes([byte]))
        assert found(receive(file)) == ["127.0.77.3"]


def test_a_client_that_does_not_read_holds_nobody_up(resolver):
    sock, file = connect(resolver, room=4096)
    with sock, file:
        sock.settimeout(1)
        with pytest.raises(TimeoutError):
            sock.sendall(framed(*["web"] * 500) * 1000)
        (held,) = resolver.server._listeners[GATEWAY]._streams
        assert len(held._unsent) < stream.MAX_UNSENT + stream.CHUNK * 3
        assert len(held._received) < stream.CHUNK * 2
        assert found(resolver.ask("web")) == ["127.0.77.3"]


@pytest.mark.parametrize("data", [b"\0\0", b"\0\x05hello", b"\0\x0c" + b"\xff" * 12])
def test_who_does_not_speak_dns_is_cut_off(resolver, data):
    sock, file = connect(resolver)
    with sock, file:
        sock.sendall(data)
        assert not file.read()


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xffabc"])
def test_who_says_nothing_is_cut_off(resolver, monkeypatch, data):
    monkeypatch.setattr(stream, "IDLE_S", 0.2)
    sock, file = connect(resolver)
    with sock, file:
        sock.sendall(data)
        assert not file.read()


def test_who_hangs_up_while_the_answer_is_on_its_way(resolver, monkeypatch):
    monkeypatch.setattr(forward, "TURN_S", 0.1)
    for number in (1, 2):
        resolver.upstream(number, silent)
    for _ in range(5):
        sock, file = connect(resolver)
        with sock, file:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(framed("a.example", "b.example"))
    assert found(resolver.ask("web", stream=True)) == ["127.0.77.3"]


def test_one_client_cannot_have_all_connections(resolver, monkeypatch):
    monkeypatch.setattr(listener, "MAX_STREAMS_OF_ONE", 3)
    held = [connect(resolver) for _ in range(5)]
    for sock, file in held[:3]:
        sock.sendall(framed("web"))
        assert found(receive(file)) == ["127.0.77.3"]
    for sock, file in held:
        if (sock, file) in held[3:]:
            assert not file.read()
        file.close()
        sock.close()
    assert found(resolver.ask("web", stream=True)) == ["127.0.77.3"]


class Exhausted:
    """A listening socket of a process that has no descriptor left, at first."""

    def __init__(self, sock):
        self.sock = sock
        self.refusals = 2

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def accept(self):
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self.sock.accept()


def test_connections_wait_for_descriptors(resolver, monkeypatch):
    monkeypatch.setattr(listener, "PAUSE_S", 0.05)
    exhausted = Exhausted(resolver.server._listeners[GATEWAY]._connections)
    resolver.server._listeners[GATEWAY]._connections = exhausted
    assert found(resolver.ask("web", stream=True)) == ["127.0.77.3"]
    assert not exhausted.refusals


# Many questions


def test_a_repetition_is_not_asked_again(resolver, monkeypatch):
    monkeypatch.setattr(forward, "TURN_S", 0.2)
    resolver.write(TABLE._replace(upstream=("127.0.78.1",)))
    upstream = resolver.upstream(1, silent)
    query = dns.message.make_query("example.org", "A").to_wire()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((CLIENT, 0))
        sock.settimeout(10)
        for _ in range(10):
            sock.sendto(query, (GATEWAY, resolver.port))
        failed = dns.message.from_wire(sock.recv(512))
    assert failed.rcode() == dns.rcode.SERVFAIL
    assert len(upstream.queries) == forward.TURNS


def test_questions_that_are_out_are_bounded(resolver, monkeypatch):
    monkeypatch.setattr(forward, "MAX_PENDING_OF_ONE", 5)
    upstream = resolver.upstream(1, silent)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((CLIENT, 0))
        sock.settimeout(10)
        for number in range(6):
            query = dns.message.make_query(f"n{number}.example", "A")
            sock.sendto(query.to_wire(), (GATEWAY, resolver.port))
        failed = dns.message.from_wire(sock.recv(512))
        assert failed.rcode() == dns.rcode.SERVFAIL
        assert str(failed.question[0].name) == "n5.example."
        upstream.behaviour = honest
        other = dns.message.make_query("other.example", "A")
        response = dns.query.udp(
            other, GATEWAY, port=resolver.port, source="127.0.77.4", timeout=5
        )
        assert found(response) == [ADDRESS], "others are not held up"


def test_many_at_once(resolver):
    resolver.upstream()

    def ask_some(number):
        names = ("web", f"n{number}.example.org")
        return [found(resolver.ask(name, stream=number % 3 == 0)) for name in names]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask_some, range(200)))
    assert answers == [[["127.0.77.3"], [ADDRESS]]] * 200


def test_hostile_packets_hold_nobody_up(resolver):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((CLIENT, 0))
        for size in range(200):
            sock.sendto(os.urandom(size), (GATEWAY, resolver.port))
        sock.sendto(b"\xff" * 9000, (GATEWAY, resolver.port))
    assert found(resolver.ask("web")) == ["127.0.77.3"]


# Tables


def test_a_change_is_seen_at_once(resolver):
    for number in range(3, 30):
        host = Host("web-id", ("web",), (f"127.0.77.{number}",))
        resolver.write(TABLE._replace(hosts=(host,)))
        assert found(resolver.ask("web")) == [f"127.0.77.{number}"]


def test_a_change_is_seen_by_itself(resolver):
    tables.write(resolver.directory, TABLE._replace(hosts=(Host("x", ("new",), (CLIENT,)),)))
    resolver.upstream(1, failing(dns.rcode.NXDOMAIN))
    while resolver.ask("new").rcode() != dns.rcode.NOERROR:
        time.sleep(0.01)
    assert found(resolver.ask("new")) == [CLIENT]


def test_a_connection_outlives_a_change(resolver):
    sock, file = connect(resolver)
    with sock, file:
        for number in range(3, 10):
            resolver.write(TABLE._replace(hosts=(Host("w", ("web",), (f"127.0.77.{number}",)),)))
            sock.sendall(framed("web"))
            assert found(receive(file)) == [f"127.0.77.{number}"]


def test_networks_come_and_go(resolver):
    other = TABLE._replace(network_id="n2", gateways=("127.0.79.1",), subnets=("127.0.79.0/24",))
    resolver.write(other)
    query = dns.message.make_query("web", "A")

    def ask_other(timeout_s):
        return dns.query.udp(
            query, "127.0.79.1", port=resolver.port, source="127.0.79.5", timeout=timeout_s
        )

    assert found(ask_other(5)) == ["127.0.77.3"]
    tables.remove(resolver.directory, "n2")
    resolver.sync()
    with pytest.raises((dns.exception.Timeout, ConnectionRefusedError)):
        ask_other(0.2)
    assert found(resolver.ask("web")) == ["127.0.77.3"]


def test_an_address_that_another_network_takes_over(resolver):
    taken = TABLE._replace(network_id="n2", name="second", hosts=(Host("n", ("new",), (CLIENT,)),))
    tables.write(resolver.directory, taken)
    tables.remove(resolver.directory, "n1")
    assert resolver.sync() == {}
    assert found(resolver.ask("new.second")) == [CLIENT]


def test_a_damaged_table_leaves_the_last_one_in_force(resolver):
    (resolver_path,) = tables.files(resolver.directory)
    with open(resolver_path, "w", encoding="utf-8") as file:
        file.write("{")
    resolver.sync()
    assert found(resolver.ask("web")) == ["127.0.77.3"]
    with open(f"{resolver.directory}/log", encoding="utf-8") as file:
        assert f"damaged table of names {resolver_path}" in file.read()
    tables.remove(resolver.directory, "n1")


def test_a_port_that_another_program_has(resolver, monkeypatch):
    monkeypatch.setattr(server, "RETRY_S", 0.1)
    other = TABLE._replace(network_id="n2", gateways=("127.0.79.1",), hosts=())
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(type=kind) as sock:
            sock.bind(("127.0.79.1", resolver.port))
            if kind == socket.SOCK_STREAM:
                sock.listen()
            resolver.write(other)
            reason = f"another program has port {resolver.port} there"
            assert resolver.sync() == {"127.0.79.1": reason}
            assert found(resolver.ask("web")) == ["127.0.77.3"]
        while resolver.sync():
            time.sleep(0.01)
        tables.remove(resolver.directory, "n2")
        resolver.sync()


def test_a_gateway_that_is_no_address(resolver):
    resolver.write(TABLE._replace(network_id="n2", gateways=("gateway", "")))
    assert resolver.sync() == {}
    assert found(resolver.ask("web")) == ["127.0.77.3"]


def test_a_server_that_is_ourselves_is_not_asked(resolver):
    ourselves = NameServer(GATEWAY, resolver.upstream_port)
    resolver.servers.append(ourselves)
    resolver.write(TABLE._replace(upstream=(GATEWAY,)))
    assert resolver.ask("example.org").rcode() == dns.rcode.SERVFAIL
    assert not ourselves.queries


def test_it_ends_with_the_last_table(resolver):
    tables.remove(resolver.directory, "n1")
    assert resolver.has_ended()


def test_it_ends_when_no_container_has_been_there_for_a_while(resolver, monkeypatch):
    monkeypatch.setattr(server, "UNUSED_S", 0.1)
    resolver.write(TABLE._replace(hosts=()))
    assert resolver.has_ended()


def test_it_stays_when_a_container_comes_in_time(resolver):
    resolver.write(TABLE._replace(hosts=()))
    assert resolver.server._unused
    resolver.write(TABLE)
    assert not resolver.server._unused


def test_nobody_at_the_door(tmp_path):
    assert control.ask(str(tmp_path / "none")) is None
    assert control.ask(str(tmp_path)) is None
    control.listen(str(tmp_path)).close()
    assert control.ask(str(tmp_path)) is None
    control.unlink(str(tmp_path))
    control.unlink(str(tmp_path))


def test_the_door_of_a_deep_directory(tmp_path):
    """Longer than an address of a socket may be."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    with control.listen(str(deep)):
        assert (deep / control.NAME).stat().st_mode & 0o777 == 0o600
