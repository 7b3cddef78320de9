"""Which servers are asked about the rest of the world."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.resolver import upstream
from runengine.resolver.upstream import HostServers, Reachability


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nameserver 10.0.0.1\nnameserver 10.0.0.2\n", ("10.0.0.1", "10.0.0.2")),
        ("nameserver\t10.0.0.1   # the router\n", ("10.0.0.1",)),
        ("# nameserver 10.0.0.1\n; nameserver 10.0.0.2\n#nameserver 10.0.0.3\n", ()),
        ("nameserver fe80::1%eth0\nnameserver 2001:db8::1", ("fe80::1%eth0", "2001:db8::1")),
        ("nameserver 10.0.0.1\nnameserver 10.0.0.1\n", ("10.0.0.1",)),
        ("nameserver\nnameserver dns.example\nnameserver 10.0.0.300\n", ()),
        ("search example.org\noptions ndots:2 edns0\n", ()),
        ("nameserver 10.0.0.1\r\n", ("10.0.0.1",)),
        ("NAMESERVER 10.0.0.1\nnameservers 10.0.0.1\n", ()),
    ],
)
def test_nameserver_lines(text, expected):
    assert upstream.parse(text) == expected


@given(st.text())
def test_any_file_can_be_read(text):
    for address in upstream.parse(text):
        assert upstream.is_address(address)


def test_socket_addresses():
    assert upstream.sockaddr("10.0.0.1", 53) == ("10.0.0.1", 53)
    assert upstream.sockaddr("2001:db8::1", 53) == ("2001:db8::1", 53, 0, 0)
    assert upstream.sockaddr("fe80::1%7", 53) == ("fe80::1", 53, 0, 7)
    loopback = socket.if_nametoindex("lo")
    assert upstream.sockaddr("fe80::1%lo", 53) == ("fe80::1", 53, 0, loopback)
    with pytest.raises(OSError, match="no interface"):
        upstream.sockaddr("fe80::1%nolink", 53)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Writes the host's two files; looks at them each time."""
    monkeypatch.setattr(upstream, "LOOK_AGAIN_S", 0.0)

    def write(text, resolved=None):
        (tmp_path / "resolv.conf").write_text(text)
        if resolved is not None:
            (tmp_path / "resolved.conf").write_text(resolved)
        return HostServers(f"{tmp_path}/resolv.conf", f"{tmp_path}/resolved.conf")

    return write


def test_the_hosts_servers(host):
    assert host("nameserver 10.0.0.1\n").current() == ("10.0.0.1",)


@pytest.mark.parametrize("text", ["", "search example.org\n"])
def test_without_an_entry_it_is_this_machine(host, text):
    assert host(text).current() == ("127.0.0.1",)


def test_without_a_file_it_is_this_machine(tmp_path):
    assert HostServers(f"{tmp_path}/none", f"{tmp_path}/none").current() == ("127.0.0.1",)


@pytest.mark.parametrize("stub", ["127.0.0.53", "127.0.0.54"])
def test_those_behind_resolved_come_after_it(host, stub):
    servers = host(f"nameserver {stub}\n", "nameserver 10.0.0.1\nnameserver 10.0.0.2\n")
    assert servers.current() == (stub, "10.0.0.1", "10.0.0.2")


def test_resolved_that_has_not_written_its_file(host):
    assert host("nameserver 127.0.0.53\n").current() == ("127.0.0.53",)


def test_resolved_is_not_asked_by_a_host_that_does_not(host):
    servers = host("nameserver 127.0.0.53\nnameserver 10.0.0.9\n", "nameserver 10.0.0.1\n")
    assert servers.current() == ("127.0.0.53", "10.0.0.9")


def test_a_change_is_seen(host, tmp_path):
    servers = host("nameserver 10.0.0.1\n")
    assert servers.current() == ("10.0.0.1",)
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.22\n")
    assert servers.current() == ("10.0.0.22",)
    (tmp_path / "new").write_text("nameserver 10.0.0.3\n")
    os.rename(tmp_path / "new", tmp_path / "resolv.conf")
    assert servers.current() == ("10.0.0.3",)
    (tmp_path / "resolv.conf").unlink()
    assert servers.current() == ("127.0.0.1",)


def test_a_change_behind_resolved_is_seen(host, tmp_path):
    servers = host("nameserver 127.0.0.53\n", "nameserver 10.0.0.1\n")
    servers.current()
    (tmp_path / "resolved.conf").write_text("nameserver 10.0.0.2 # after the link changed\n")
    assert servers.current() == ("127.0.0.53", "10.0.0.2")


def test_files_are_not_looked_at_for_every_question(tmp_path, monkeypatch):
    monkeypatch.setattr(upstream, "LOOK_AGAIN_S", 1000.0)
    (tmp_path / "resolv.conf").write_text("nameserver 10.0.0.1\n")
    servers = HostServers(f"{tmp_path}/resolv.conf", f"{tmp_path}/none")
    servers.current()
    (tmp_path / "resolv.conf").unlink()
    assert servers.current() == ("10.0.0.1",)


def test_silent_servers_come_last_for_a_while(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    reachability = Reachability()
    servers = ("a", "b", "c")
    assert reachability.order(servers) == ["a", "b", "c"]
    reachability.was_silent("a")
    assert reachability.order(servers) == ["b", "c", "a"]
    reachability.was_silent("c")
    assert reachability.order(servers) == ["b", "a", "c"]
    reachability.answered("a")
    assert reachability.order(servers) == ["a", "b", "c"]
    now += upstream.SILENT_S + 1
    assert reachability.order(("c", "a")) == ["c", "a"]
