"""What is asked of other servers: the next one's turn, lost packets, forged answers."""

import os
import socket
import struct

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from runengine.resolver import forward
from tests.support.nameservers import (
    ADDRESS,
    failing,
    found,
    honest,
    reply,
    silent,
    truncating,
)
from tests.support.waiting import wait_for
from tests.unit.resolver.conftest import CLIENT, GATEWAY, TABLE

BOTH = pytest.mark.parametrize("over_tcp", [False, True], ids=["udp", "tcp"])


@BOTH
def test_other_names_are_asked_of_the_hosts_server(resolver, over_tcp):
    upstream = resolver.upstream()
    assert found(resolver.ask("example.org", stream=over_tcp)) == [ADDRESS]
    assert upstream.names() == ["example.org."]


def test_a_query_goes_out_as_it_came_but_for_its_id(resolver):
    upstream = resolver.upstream()
    query = dns.message.make_query("Example.ORG", "A", use_edns=0, payload=1400, want_dnssec=True)
    option = dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"x")
    query.use_edns(0, options=[option], payload=1400)
    dns.query.udp(query, GATEWAY, port=resolver.port, source=CLIENT, timeout=5)
    assert upstream.queries[0][2:] == query.to_wire()[2:]


def test_ids_and_ports_cannot_be_guessed(resolver):
    upstream = resolver.upstream()
    for number in range(20):
        query = dns.message.make_query(f"n{number}.example.org", "A", id=7)
        answer = dns.query.udp(query, GATEWAY, port=resolver.port, source=CLIENT, timeout=5)
        assert answer.id == 7
    assert len({query[:2] for query in upstream.queries}) > 15
    assert len({port for _, port in upstream.sources}) > 15


def test_known_names_are_kept_at_home(resolver):
    upstream = resolver.upstream()
    for rdtype in ("A", "AAAA", "MX", "TXT", "HTTPS"):
        resolver.ask("web", rdtype)
        resolver.ask("web.front", rdtype)
    assert upstream.queries == []


@BOTH
def test_the_next_server_is_asked_when_one_is_not_there(resolver, over_tcp):
    resolver.upstream(2)
    assert found(resolver.ask("example.org", stream=over_tcp)) == [ADDRESS]


@BOTH
@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP])
def test_the_next_server_is_asked_when_one_cannot_help(resolver, rcode, over_tcp):
    resolver.upstream(1, failing(rcode))
    resolver.upstream(2)
    assert found(resolver.ask("example.org", stream=over_tcp)) == [ADDRESS]


@BOTH
def test_the_next_server_is_asked_when_one_is_silent(resolver, monkeypatch, over_tcp):
    monkeypatch.setattr(forward, "TURN_S", 0.1)
    dead = resolver.upstream(1, silent)
    resolver.upstream(2)
    assert found(resolver.ask("example.org", stream=over_tcp)) == [ADDRESS]
    wait_for(lambda: dead.queries)  # its thread may come to read later than the other answers
    asked = len(dead.queries)
    assert found(resolver.ask("example.net", stream=over_tcp)) == [ADDRESS]
    assert len(dead.queries) == asked, "a server that was silent comes last"


def test_no_such_name_is_an_answer(resolver):
    resolver.upstream(1, failing(dns.rcode.NXDOMAIN))
    second = resolver.upstream(2)
    assert resolver.ask("example.org").rcode() == dns.rcode.NXDOMAIN
    assert not second.queries


def test_what_the_servers_say_is_passed_on_when_none_can_help(resolver):
    resolver.upstream(1, failing(dns.rcode.REFUSED))
    resolver.upstream(2, failing(dns.rcode.REFUSED))
    assert resolver.ask("example.org").rcode() == dns.rcode.REFUSED


def test_a_lost_packet_is_sent_again(resolver, monkeypatch):
    monkeypatch.setattr(forward, "TURN_S", 0.1)
    resolver.write(TABLE._replace(upstream=("127.0.78.1",)))
    upstream = resolver.upstream()
    upstream.behaviour = lambda query, over_tcp: (
        silent(query, over_tcp) if len(upstream.queries) == 1 else honest(query, over_tcp)
    )
    assert found(resolver.ask("example.org")) == [ADDRESS]
    first, second = upstream.queries
    assert first[2:] == second[2:]


@BOTH
def test_without_any_server_that_is_said_at_once(resolver, over_tcp):
    assert resolver.ask("example.org", stream=over_tcp).rcode() == dns.rcode.SERVFAIL
    resolver.write(TABLE._replace(upstream=()))
    assert resolver.ask("example.org", stream=over_tcp).rcode() == dns.rcode.SERVFAIL


@BOTH
def test_when_all_are_silent_that_is_said_in_the_end(resolver, monkeypatch, over_tcp):
    monkeypatch.setattr(forward, "TURN_S", 0.1)
    for number in (1, 2):
        resolver.upstream(number, silent)
    assert resolver.ask("example.org", stream=over_tcp).rcode() == dns.rcode.SERVFAIL


def test_the_turns_are_shorter_than_a_c_librarys_patience():
    assert forward.TURN_S * forward.TURNS < 5


def wrong_id(query, _stream):
    right = reply(query, "192.0.2.66")
    return [bytes([right[0] ^ 0xFF]) + right[1:], reply(query, ADDRESS)]


def wrong_question(query, _stream):
    other = dns.message.make_query("evil.example", "A")
    other.id = struct.unpack_from("!H", query)[0]
    return [reply(other.to_wire(), "192.0.2.66"), reply(query, ADDRESS)]


def garbage(query, _stream):
    return [b"", b"\0", query, os.urandom(200), query[:2] + os.urandom(50), reply(query, ADDRESS)]


@pytest.mark.parametrize("behaviour", [wrong_id, wrong_question, garbage])
def test_answers_to_something_else_are_passed_over(resolver, behaviour):
    resolver.upstream(1, behaviour)
    assert found(resolver.ask("example.org")) == [ADDRESS]


def test_an_answer_from_elsewhere_is_passed_over(resolver):
    """Whoever knows id and port still is not the server."""
    upstream = resolver.upstream()

    def forge(query, _over_tcp):
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            other.bind(("127.0.78.66", resolver.upstream_port))
            other.sendto(reply(query, "192.0.2.66"), upstream.sources[-1])
        return [reply(query, ADDRESS)]

    upstream.behaviour = forge
    assert found(resolver.ask("example.org")) == [ADDRESS]


@pytest.mark.parametrize("behaviour", [wrong_id, lambda *_: [b""], lambda *_: [b"\0" * 7]])
def test_a_server_that_talks_nonsense_over_tcp(resolver, behaviour):
    resolver.upstream(1, behaviour)
    resolver.upstream(2)
    assert found(resolver.ask("example.org", stream=True)) == [ADDRESS]


def test_truncation_reaches_the_client_who_then_gets_all(resolver):
    resolver.upstream(1, truncating)
    short = resolver.ask("big.example.org")
    assert short.flags & dns.flags.TC
    assert len(found(resolver.ask("big.example.org", stream=True))) == 200
