"""Reading questions and making answers, also of packets that somebody made up to do harm."""

import struct

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.resolver import messages, packets
from runengine.resolver.messages import Unanswerable


def query(name="db.example.", rdtype="A", **options):
    return dns.message.make_query(name, rdtype, **options).to_wire()


def refusal(data):
    with pytest.raises(Unanswerable) as caught:
        messages.read_question(data)
    return caught.value.rcode


def outcome(function, *arguments, **options):
    """What is returned, and the code of a refusal."""
    try:
        return function(*arguments, **options), None
    except Unanswerable as error:
        return None, error.rcode


def test_a_question_is_read():
    data = query("DB.Example.", "AAAA", use_edns=0)
    question = messages.read_question(data)
    assert question == messages.Question((b"db", b"example"), 28, 1, 12 + 12 + 4)
    assert data[question.end - 4 : question.end] == b"\0\x1c\0\1"


def test_the_roots_question_is_read():
    assert messages.read_question(query(".", "NS")).labels == ()


def test_names_that_are_not_ascii_stay_as_they_are():
    wire = dns.name.Name(("Größe".encode(), b"")).to_wire()
    data = query()[:12] + wire + b"\0\1\0\1"
    assert messages.read_question(data).labels == ("Größe".encode().lower(),)


@pytest.mark.parametrize("length", [0, 1, 11])
def test_half_a_header_gets_no_answer(length):
    assert refusal(query()[:length]) is None


def test_responses_get_no_answer():
    response = dns.message.make_response(dns.message.from_wire(query())).to_wire()
    assert refusal(response) is None


@pytest.mark.parametrize("opcode", [1, 2, 4, 5, 15])
def test_other_operations_are_not_implemented(opcode):
    data = bytearray(query())
    data[2] |= opcode << 3
    assert refusal(bytes(data)) == packets.NOTIMP


@pytest.mark.parametrize("count", [0, 2, 65535])
def test_not_one_question_is_malformed(count):
    data = query()
    assert refusal(data[:4] + struct.pack("!H", count) + data[6:]) == packets.FORMERR


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"\x02db",
        b"\x02db\0",
        b"\x02db\0\0\1\0",
        b"\xc0\x0c\0\1\0\1",  # points at itself
        b"\x02db\xc0\x0c\0\1\0\1",  # at its own beginning
        b"\xc0\x00\0\1\0\1",  # into the header
        b"\xc0\xff\0\1\0\1",
        b"\x40db\0\0\1\0\1",
        b"\x80db\0\0\1\0\1",
        b"\x3f" + b"a" * 62,
        (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1",  # 257 bytes
    ],
)
def test_malformed_names(rest):
    assert refusal(query()[:12] + rest) == packets.FORMERR


@given(st.binary(max_size=600))
def test_any_packet_is_read_or_refused(data):
    question, rcode = outcome(messages.read_question, data)
    assert question is None or 12 < question.end <= len(data)
    assert rcode is None or len(packets.error(data, rcode)) == 12


@given(st.binary(max_size=300), st.integers(0, 3), st.booleans())
def test_whatever_follows_a_question_does_no_harm(tail, count, stream):
    data = bytearray(query(use_edns=None) + tail)
    data[11] = count  # additional records
    records = messages.addresses(1, ["10.0.0.1"])
    made, rcode = outcome(messages.answer, bytes(data), records, stream=stream)
    assert dns.message.from_wire(made) if made else rcode == packets.FORMERR


@given(
    st.lists(st.sampled_from([b"\xc0\x0c", b"\xc0\x0e", b"\x01a", b"\0", b"\x3f", b"\0\1\0\1"]))
)
def test_pointers_never_go_in_circles(parts):
    question, rcode = outcome(messages.read_question, query()[:12] + b"".join(parts))
    assert question or rcode == packets.FORMERR


def answered(data, addresses, rdtype=1, *, stream=False):
    made = messages.answer(data, messages.addresses(rdtype, addresses), stream=stream)
    return dns.message.from_wire(made), len(made)


def test_an_answer():
    data = query("Db.Example.")
    message, _ = answered(data, ["10.0.0.2", "10.0.0.1", "fd00::1"])
    assert message.id == struct.unpack_from("!H", data)[0]
    assert message.rcode() == dns.rcode.NOERROR
    assert message.flags & dns.flags.QR
    assert message.flags & dns.flags.AA
    assert message.flags & dns.flags.RA
    assert message.flags & dns.flags.RD
    assert str(message.question[0].name) == "Db.Example."
    assert [record.to_text() for record in message.answer[0]] == ["10.0.0.2", "10.0.0.1"]
    assert message.answer[0].ttl == 0
    assert message.edns == -1


def test_the_order_of_addresses_is_kept():
    wanted = [f"10.0.0.{number}" for number in (9, 3, 7, 1, 5)]
    assert [a.to_text() for a in answered(query(), wanted)[0].answer[0]] == wanted


def test_each_type_has_its_addresses():
    both = ["10.0.0.1", "fd00::1"]
    assert [a.to_text() for a in answered(query(rdtype="AAAA"), both, 28)[0].answer[0]] == both[1:]
    assert len(answered(query(rdtype="ANY"), both, 255)[0].answer) == 2


@pytest.mark.parametrize("rdtype", [28, 15, 16, 33, 65, 6, 65280])
def test_a_known_name_without_that_type_exists_all_the_same(rdtype):
    message, _ = answered(query(rdtype=rdtype), ["10.0.0.1"], rdtype)
    assert message.rcode() == dns.rcode.NOERROR
    assert not message.answer


def test_edns_is_answered_by_edns():
    message, _ = answered(query(use_edns=0, want_dnssec=True, payload=4096), ["10.0.0.1"])
    assert message.edns == 0
    assert message.payload == messages.UDP_SIZE


def test_another_version_of_edns_is_refused():
    data = bytearray(query(use_edns=0))
    data[-5] = 1  # of the OPT record, which is the last
    message, _ = answered(bytes(data), ["10.0.0.1"])
    assert message.rcode() == dns.rcode.BADVERS


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, 512), ({"use_edns": 0, "payload": 600}, 600), ({"use_edns": 0, "payload": 9000}, 1232),
     ({"use_edns": 0, "payload": 1}, 512)],
)  # fmt: skip
@pytest.mark.parametrize(("rdtype", "form"), [(1, "10.0.0.{}"), (28, "fd00::{}")])
def test_too_much_for_a_packet_is_cut_and_said_so(options, limit, rdtype, form):
    many = [form.format(number) for number in range(1, 101)]
    message, size = answered(query(rdtype=rdtype, **options), many, rdtype)
    assert message.flags & dns.flags.TC
    assert limit - 28 - 12 < size <= limit
    assert [a.to_text() for a in message.answer[0]] == many[: len(message.answer[0])]
    whole, _ = answered(query(rdtype=rdtype), many, rdtype, stream=True)
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 100


def test_names_of_addresses():
    def address_in(text):
        return messages.address_in(dns.name.from_text(text).labels[:-1])

    assert address_in("2.0.1.10.in-addr.arpa") == "10.1.0.2"
    assert address_in("2." + "0." * 29 + "d.f.ip6.arpa") == "fd00::2"
    for other in ("1.10.in-addr.arpa", "x.0.1.10.in-addr.arpa", "300.0.1.10.in-addr.arpa",
                  "g." + "0." * 29 + "d.f.ip6.arpa", "arpa", "in-addr.arpa", "db",
                  "."):  # fmt: skip
        assert address_in(other) is None


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=40))
def test_any_reverse_name_is_read_or_not(labels):
    for zone in ((b"in-addr", b"arpa"), (b"ip6", b"arpa")):
        messages.address_in((*labels, *zone))


def test_a_pointer():
    record = messages.pointer("web.front")
    assert record.to_text() == "web.front."
    with pytest.raises(Unanswerable):
        messages.pointer("a" * 64)
    with pytest.raises(Unanswerable):
        messages.pointer("a..b")


def test_error_responses_repeat_the_question():
    data = query("db.example.", use_edns=0)
    end = messages.read_question(data).end
    message = dns.message.from_wire(packets.error(data, packets.REFUSED, end))
    assert message.rcode() == dns.rcode.REFUSED
    assert message.question == dns.message.from_wire(data).question
    assert message.flags & dns.flags.QR


def test_a_servers_answer_is_told_from_others():
    data = query("db.example.")
    end = messages.read_question(data).end
    right = dns.message.make_response(dns.message.from_wire(data)).to_wire()
    assert packets.matches(data, end, right)
    assert packets.matches(data, end, right[:12] + right[12:].upper())
    refused = packets.error(data, packets.FORMERR)
    assert packets.matches(data, end, refused)  # too old to repeat the question
    other = dns.message.make_response(dns.message.from_wire(query("dc.example."))).to_wire()
    for wrong in (
        b"",
        right[:11],
        data,
        bytes([right[0] ^ 1]) + right[1:],
        right[:2] + other[2:],
        right[:2] + bytes([right[2] | 0x28]) + right[3:],
        packets.error(data, 0),
        right[: end - 1],
    ):
        assert not packets.matches(data, end, wrong)


@given(st.binary(max_size=100))
def test_any_answer_matches_or_not(response):
    data = query()
    assert not packets.matches(data, messages.read_question(data).end, response) or response
