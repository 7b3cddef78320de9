import ipaddress

import pytest

from runengine.errors import InvalidParameter
from runengine.netns import addressing, messages

IPV4 = ipaddress.ip_interface("10.9.0.2/24")
IPV6 = ipaddress.ip_interface("fd00:9::2/64")
NODAD = 0x02
ONLINK = 4


def address_of(request: bytearray):
    return messages.parse(request, messages.RTM_NEWADDR)


def route_of(request: bytearray):
    return messages.parse(request, messages.RTM_NEWROUTE)


def test_an_ipv4_address_has_a_broadcast_address():
    message = address_of(addressing.add(IPV4, 7))
    assert (message["index"], message["prefixlen"]) == (7, 24)
    assert message.get_attr("IFA_LOCAL") == "10.9.0.2"
    assert message.get_attr("IFA_BROADCAST") == "10.9.0.255"


@pytest.mark.parametrize("text", ["10.9.0.2/32", "10.9.0.2/31"])
def test_an_address_for_itself_has_none(text):
    message = address_of(addressing.add(ipaddress.ip_interface(text), 7))
    assert message.get_attr("IFA_BROADCAST") is None


def test_an_ipv6_address_can_be_used_at_once():
    message = address_of(addressing.add(IPV6, 7))
    assert message["flags"] == NODAD
    assert message.get_attr("IFA_ADDRESS") == "fd00:9::2"


@pytest.mark.parametrize(
    ("gateway", "flags"),
    [
        ("10.9.0.1", 0),
        ("10.8.0.1", ONLINK),
        ("fd00:9::1", 0),
        ("fd00:8::1", ONLINK),
        ("fe80::1", 0),
    ],
)
def test_a_gateway_outside_of_the_subnets_is_on_the_link(gateway, flags):
    request = addressing.default_route(ipaddress.ip_address(gateway), 7, [IPV4, IPV6])
    message = route_of(request)
    assert message["flags"] == flags
    assert message.get_attr("RTA_GATEWAY") == gateway
    assert message.get_attr("RTA_OIF") == 7


@pytest.mark.parametrize("texts", [("10.9.0.1",), ("10.9.0.1", "fd00:9::1"), ()])
def test_gateways(texts):
    assert [str(found) for found in addressing.parse_gateways(texts)] == list(texts)


@pytest.mark.parametrize("texts", [("10.9.0.1/24",), ("",), ("10.9.0.1", "10.9.0.3")])
def test_gateways_that_cannot_be(texts):
    with pytest.raises(InvalidParameter, match="gateway"):
        addressing.parse_gateways(texts)
