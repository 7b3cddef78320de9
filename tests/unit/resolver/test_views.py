"""Who sees which names, and how a question is decided."""

import dns.flags
import dns.message
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.resolver import answers
from runengine.resolver.answers import Answers, Forward
from runengine.resolver.tables import Host, Table
from runengine.resolver.views import Index, labels_of

FRONT = "10.1.0.1"
BACK = "10.2.0.1"
OUTSIDE = "203.0.113.5"

WEB = Host("web-id", ("web", "www", "web-short"), ("10.1.0.2", "fd01::2"))
SHOP = Host("shop-id", ("shop", "www"), ("10.1.0.3",))
WEB_BACK = Host("web-id", ("web", "internal-web"), ("10.2.0.2",))
DB = Host("db-id", ("db", "my.db"), ("10.2.0.3",), links=(("cache", "kv-id"),))
KV = Host("kv-id", ("kv",), ("10.2.0.4",))
TABLES = (
    Table("n1", "front", (FRONT, "fd01::1"), ("10.1.0.0/24", "fd01::/64"), (WEB, SHOP)),
    Table("n2", "back", (BACK,), ("10.2.0.0/24",), (WEB_BACK, DB, KV), internal=True),
)


def decide(name, source="10.1.0.3", gateway=FRONT, rdtype="A", tables=TABLES, **options):
    query = dns.message.make_query(name, rdtype, **options).to_wire()
    decided = Answers(Index(tables)).decide(query, source, gateway, stream=False)
    return dns.message.from_wire(decided) if isinstance(decided, bytes) else decided


def message_of(decider, query, source="10.1.0.3", gateway=FRONT):
    """What a decider answers, with the id of the query."""
    decided = decider.decide(query, source, gateway, stream=False)
    assert isinstance(decided, bytes)
    assert decided[:2] == query[:2]
    return dns.message.from_wire(decided)


def addresses(name, *arguments, **options):
    decided = decide(name, *arguments, **options)
    assert isinstance(decided, dns.message.Message), decided
    assert decided.rcode() == dns.rcode.NOERROR
    return [record.to_text() for rrset in decided.answer for record in rrset]


@pytest.mark.parametrize("name", ["web", "web-short", "WEB", "Web.", "web.front", "web.FRONT"])
def test_a_container_is_found_by_each_of_its_names(name):
    assert addresses(name) == ["10.1.0.2"]
    assert addresses(name, rdtype="AAAA") == ["fd01::2"]


def test_several_containers_may_have_a_name():
    assert addresses("www") == ["10.1.0.2", "10.1.0.3"]
    assert addresses("www.front") == ["10.1.0.2", "10.1.0.3"]


def test_everybody_gets_another_address_first():
    decider = Answers(Index(TABLES))
    query = dns.message.make_query("www", "A").to_wire()
    firsts = []
    for _ in range(4):
        decided = message_of(decider, query)
        assert len(decided.answer[0]) == 2
        firsts.append(next(iter(decided.answer[0])).to_text())
    assert firsts == ["10.1.0.2", "10.1.0.3"] * 2


def test_a_name_with_dots():
    assert addresses("my.db", "10.2.0.4", BACK) == ["10.2.0.3"]
    assert addresses("my.db.back", "10.2.0.4", BACK) == ["10.2.0.3"]


def test_a_container_sees_all_its_networks_wherever_it_asks():
    for gateway, source in ((FRONT, "10.1.0.2"), (BACK, "10.2.0.2"), (FRONT, "10.2.0.2")):
        assert addresses("shop", source, gateway) == ["10.1.0.3"]
        assert addresses("db", source, gateway) == ["10.2.0.3"]


def test_addresses_on_the_network_that_is_asked_come_first():
    assert addresses("web", "10.1.0.2", FRONT) == ["10.1.0.2", "10.2.0.2"]
    assert addresses("web", "10.2.0.2", BACK) == ["10.2.0.2", "10.1.0.2"]


def test_names_of_other_networks_are_unknown():
    assert decide("db") == Forward(20, None)
    assert decide("db.back") == Forward(25, None)


def test_others_on_the_network_see_it_and_no_more():
    """The host itself, or an address that a container gave itself."""
    for source in (FRONT, "10.1.0.77", "fd01::77"):
        assert addresses("web", source, FRONT) == ["10.1.0.2"]
        assert isinstance(decide("db", source), Forward)


@pytest.mark.parametrize("name", ["web", "example.org", "2.0.1.10.in-addr.arpa"])
@pytest.mark.parametrize("source", [OUTSIDE, "10.2.0.99", "2001:db8::1", "fe80::1%eth0"])
def test_strangers_are_refused(source, name):
    assert decide(name, source).rcode() == dns.rcode.REFUSED


def test_an_address_that_nobody_listens_at():
    assert decide("web", OUTSIDE, "10.9.9.9").rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize("rdtype", ["AAAA", "MX", "SRV", "HTTPS", "TXT"])
def test_a_known_name_is_never_asked_of_others(rdtype):
    assert addresses("shop", rdtype=rdtype) == []


def test_any_type():
    assert addresses("web", rdtype="ANY") == ["10.1.0.2", "fd01::2"]


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR"])
def test_transfers_are_refused(rdtype):
    assert decide("web", rdtype=rdtype).rcode() == dns.rcode.REFUSED
    assert decide("example.org", rdtype=rdtype).rcode() == dns.rcode.REFUSED


def test_other_classes_are_refused():
    query = dns.message.make_query("version.bind", "TXT", "CH").to_wire()
    assert message_of(Answers(Index(TABLES)), query).rcode() == dns.rcode.REFUSED


def test_names_of_addresses():
    assert addresses("3.0.1.10.in-addr.arpa", rdtype="PTR") == ["shop.front."]
    reverse = "2." + "0." * 27 + "1.0.d.f.ip6.arpa"
    assert addresses(reverse, rdtype="PTR") == ["web.front."]
    assert addresses("3.0.1.10.in-addr.arpa", rdtype="A") == []
    assert isinstance(decide("9.0.1.10.in-addr.arpa", rdtype="PTR"), Forward)
    assert isinstance(decide("3.0.2.10.in-addr.arpa", rdtype="PTR"), Forward)


def test_the_rest_of_the_world_is_others_business():
    assert decide("example.org") == Forward(29, None)
    assert decide("nobody") == Forward(24, None)
    assert decide(".", rdtype="NS") == Forward(17, None)


def test_an_internal_network_is_a_world_of_its_own():
    decided = decide("example.org", "10.2.0.3", BACK)
    assert decided.rcode() == dns.rcode.NXDOMAIN
    assert decided.question[0].name.to_text() == "example.org."


def test_a_container_that_is_also_on_another_network_is_not_shut_in():
    assert decide("example.org", "10.2.0.2", BACK) == Forward(29, None)


def test_a_network_has_servers_of_its_own():
    tables = (TABLES[0]._replace(upstream=("9.9.9.9", "8.8.8.8")),)
    assert decide("example.org", tables=tables).servers == ("9.9.9.9", "8.8.8.8")
    assert decide("example.org", FRONT, tables=tables).servers == ("9.9.9.9", "8.8.8.8")


def test_a_containers_servers_come_before_its_networks():
    own = SHOP._replace(upstream=("1.1.1.1",))
    tables = (TABLES[0]._replace(upstream=("9.9.9.9",), hosts=(WEB, own)),)
    assert decide("example.org", "10.1.0.3", tables=tables).servers == ("1.1.1.1",)
    assert decide("example.org", "10.1.0.2", tables=tables).servers == ("9.9.9.9",)


def test_a_linked_name_is_for_one_container_alone():
    assert addresses("cache", "10.2.0.3", BACK) == ["10.2.0.4"]
    assert decide("cache", "10.2.0.4", BACK).rcode() == dns.rcode.NXDOMAIN


def test_a_link_to_a_container_that_has_gone():
    tables = (TABLES[1]._replace(hosts=(DB,)),)
    assert decide("cache", "10.2.0.3", BACK, tables=tables).rcode() == dns.rcode.NXDOMAIN


def test_an_address_on_two_networks_belongs_to_the_one_that_is_asked():
    """Two engines' leftovers, or a network that was made anew with the same subnet."""
    one = Table("n1", "one", ("10.1.0.1",), ("10.1.0.0/24",), (Host("a", ("a",), ("10.1.0.2",)),))
    two = one._replace(
        network_id="n2", name="two", gateways=("10.1.0.254",),
        hosts=(Host("b", ("b",), ("10.1.0.2",)),),
    )  # fmt: skip
    assert addresses("b", "10.1.0.2", "10.1.0.254", tables=(one, two)) == ["10.1.0.2"]
    assert isinstance(decide("b", "10.1.0.2", "10.1.0.1", tables=(one, two)), Forward)


def test_malformed_queries():
    decider = Answers(Index(TABLES))
    query = dns.message.make_query("web", "A").to_wire()
    assert decider.decide(b"", "10.1.0.3", FRONT, stream=False) is None
    for wrong in (query[:15], query + b"junk"):
        assert message_of(decider, wrong).rcode() == dns.rcode.FORMERR


def test_an_answer_is_kept_for_the_same_question_only():
    decider = Answers(Index(TABLES))
    for name, expected in (("web", "10.1.0.2"), ("shop", "10.1.0.3"), ("web", "10.1.0.2")):
        for _ in range(2):
            query = dns.message.make_query(name, "A").to_wire()
            message = message_of(decider, query)
            assert message.answer[0][0].to_text() == expected
    query = dns.message.make_query("shop", "A").to_wire()
    assert message_of(decider, query, OUTSIDE).rcode() == dns.rcode.REFUSED


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(answers, "MAX_KEPT", 8)
    decider = Answers(Index(TABLES))
    for number in range(50):
        query = dns.message.make_query("web", "A", use_edns=0, payload=512 + number).to_wire()
        decider.decide(query, "10.1.0.3", FRONT, stream=False)
    assert len(decider._kept) <= 8


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("Web", (b"web",)),
        ("my.db", (b"my", b"db")),
        ("db.", (b"db",)),
        ("größe", ("größe".encode(),)),
        ("xn--gre-6ka8l", (b"xn--gre-6ka8l",)),
        ("", None),
        (".", None),
        ("a..b", None),
        ("a" * 63, (b"a" * 63,)),
        ("a" * 64, None),
        (".".join(["a" * 62] * 4), (b"a" * 62,) * 4),
        (".".join(["a" * 63] * 4), None),
    ],
)
def test_names_as_questions_have_them(name, labels):
    assert labels_of(name) == labels


@given(st.lists(st.text(max_size=70), max_size=4), st.lists(st.text(max_size=12), max_size=4))
def test_no_table_is_too_strange(names, words):
    table = Table(
        "n", (names or ["n"])[0], tuple(words), tuple(words),
        (Host("c", tuple(names), (*words, "10.1.0.2"), links=tuple((n, "c") for n in names)),),
    )  # fmt: skip
    index = Index((table,))
    view = index.view("10.1.0.2", "10.1.0.1")
    assert view is not None
    for name in names:
        labels = labels_of(name)
        assert labels is None or "10.1.0.2" in (view.addresses(labels) or ())
