"""Requests to the kernel, with pyroute2 as the judge of what they should be."""

import subprocess
import sys
from pathlib import Path

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from runengine.netns import answers, messages
from runengine.netns.messages import (
    CREATE,
    REPLACE,
    RTM_DELLINK,
    RTM_GETADDR,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_SETLINK,
    UP,
    nested,
)

ROOT = Path(__file__).resolve().parents[3]
MAC = "02:42:ac:11:00:02"
PEER = nested(
    ("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 1400), ("IFLA_NET_NS_FD", 7), ("IFLA_ADDRESS", MAC)
)


def of_kind(kind, *data):
    return ("IFLA_LINKINFO", nested(("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", nested(*data))))


REQUESTS = {
    "veth": (
        RTM_NEWLINK,
        [("IFLA_IFNAME", "ve0"), ("IFLA_MASTER", 3), of_kind("veth", ("VETH_INFO_PEER", PEER))],
        {},
        CREATE,
    ),
    "bridge port": (
        RTM_NEWLINK,
        [
            ("IFLA_IFNAME", "ve0"),
            (
                "IFLA_LINKINFO",
                nested(
                    ("IFLA_INFO_SLAVE_KIND", "bridge"),
                    (
                        "IFLA_INFO_SLAVE_DATA",
                        nested(("IFLA_BRPORT_MODE", 1), ("IFLA_BRPORT_ISOLATED", 1)),
                    ),
                ),
            ),
        ],
        UP,
        0,
    ),
    "no address of its own": (
        RTM_SETLINK,
        [
            ("IFLA_IFNAME", "ve0"),
            ("IFLA_AF_SPEC", nested(("AF_INET6", nested(("IFLA_INET6_ADDR_GEN_MODE", 1))))),
        ],
        {},
        0,
    ),
    "vlan": (RTM_NEWLINK, [("IFLA_LINK", 4), of_kind("vlan", ("IFLA_VLAN_ID", 10))], {}, CREATE),
    "macvlan": (RTM_NEWLINK, [of_kind("macvlan", ("IFLA_MACVLAN_MODE", 4))], {}, CREATE),
    "ipvlan": (RTM_NEWLINK, [of_kind("ipvlan", ("IFLA_IPVLAN_MODE", 2))], {}, CREATE),
    "mark": (RTM_SETLINK, [("IFLA_IFNAME", "br0"), ("IFLA_IFALIAS", "runengine")], UP, 0),
    "about a namespace": (
        messages.RTM_GETLINK,
        [("IFLA_IF_NETNSID", 4), ("IFLA_EXT_MASK", 8)],
        {"index": 1},
        0,
    ),
    "removal": (RTM_DELLINK, [("IFLA_IFNAME", "a-name-of-15-by")], {}, 0),
    "IPv4": (
        RTM_NEWADDR,
        [("IFA_LOCAL", "10.0.0.2"), ("IFA_ADDRESS", "10.0.0.2"), ("IFA_BROADCAST", "10.0.0.255")],
        {"family": 2, "prefixlen": 24, "index": 5},
        CREATE,
    ),
    "IPv6": (
        RTM_NEWADDR,
        [("IFA_LOCAL", "fd00::2"), ("IFA_ADDRESS", "fd00::2")],
        {"family": 10, "prefixlen": 64, "flags": 2, "index": 5},
        CREATE,
    ),
    "addresses": (RTM_GETADDR, [], {"index": 2}, 0),
    "route": (
        RTM_NEWROUTE,
        [("RTA_GATEWAY", "10.0.0.1"), ("RTA_OIF", 5)],
        {"family": 2, "table": 254, "proto": 3, "scope": 253, "type": 1, "flags": 4},
        REPLACE,
    ),
    "local route": (
        RTM_NEWROUTE,
        [("RTA_DST", "fd3c::1"), ("RTA_OIF", 5)],
        {"family": 10, "dst_len": 128, "table": 255, "proto": 4, "type": 2},
        CREATE,
    ),
}


def by_pyroute2(command, attributes, fields, flags):
    kinds = {RTM_NEWLINK // 4: ifinfmsg, RTM_NEWADDR // 4: ifaddrmsg, RTM_NEWROUTE // 4: rtmsg}
    message = kinds[command // 4]()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = [(name, for_pyroute2(value)) for name, value in attributes]
    message["header"]["type"] = command
    message["header"]["flags"] = flags
    message.encode()
    return bytes(message.data)


def for_pyroute2(value):
    if not isinstance(value, list):
        return value
    return {"attrs": [(name, for_pyroute2(inner)) for name, inner in value]}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_are_what_pyroute2_makes_of_them(name):
    command, attributes, fields, flags = REQUESTS[name]
    request = messages.request(command, attributes, fields, flags=flags)
    expected = by_pyroute2(command, attributes, fields, flags)
    # It counts the padding of the last attribute to none.
    assert request[4:] == expected[4:] + bytes(-len(expected) % 4)
    assert int.from_bytes(request[:4], sys.byteorder) == len(request)


def test_a_request_can_be_read_again():
    info = nested(("IFLA_INFO_KIND", "bridge"))
    attributes = [("IFLA_IFNAME", "brt0"), ("IFLA_MTU", 1400), ("IFLA_LINKINFO", info)]
    request = messages.request(RTM_NEWLINK, attributes, {"index": 7, **UP})
    message = answers.parse(request, RTM_NEWLINK)
    assert (message["index"], message["flags"], message["change"]) == (7, 1, 1)
    assert message.get_attr("IFLA_MTU") == 1400
    assert message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "bridge"


def test_a_field_that_the_message_does_not_have_is_refused():
    with pytest.raises(ValueError, match="prefixlen"):
        messages.request(RTM_NEWLINK, [], {"prefixlen": 24})


@pytest.mark.side_effects
def test_a_start_needs_nothing_of_pyroute2():
    script = (
        "import sys; from runengine.netns import endpoint, messages;"
        " messages.request(messages.RTM_GETLINK, [('IFLA_IFNAME', 'lo')]);"
        " assert 'pyroute2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
