import errno

import pytest

from runengine.errors import AlreadyExists, Conflict, EngineError, NotFound, Unsupported
from runengine.netns import bridge, refusals
from runengine.netns.netlink import NetlinkError
from runengine.netns.types import Endpoint

ENDPOINT = Endpoint("bridge", "br0", "eth0", ("10.9.0.2/24",), host_name="ve1")


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (errno.EEXIST, AlreadyExists, "host one named ve1"),
        (errno.ENODEV, NotFound, "br0"),
        (errno.EXFULL, Conflict, "make another network"),
        (errno.EOPNOTSUPP, Unsupported, "modprobe veth"),
        (errno.EIO, EngineError, "Input/output error"),
    ],
)
def test_every_error_names_the_interface(code, kind, text):
    error = refusals.of_endpoint(ENDPOINT, NetlinkError(code))
    assert type(error) is kind
    assert error.brief == "cannot attach interface eth0 to br0"
    assert text in str(error)


def test_a_missing_driver_is_named():
    error = refusals.of_endpoint(
        ENDPOINT._replace(driver="ipvlan"), NetlinkError(errno.EOPNOTSUPP)
    )
    assert error.resolution == "load the module: modprobe ipvlan"


def test_a_bridge_has_the_mac_address_of_its_ipv4_address_or_of_its_name():
    from runengine.netns import addressing

    both = addressing.parse(("fd00:9::1/64", "10.9.0.1/24"))
    assert bridge.mac_of("br0", both) == "02:42:0a:09:00:01"
    assert bridge.mac_of("br0", both[:1]) == bridge.mac_of("br0", [])
    assert bridge.mac_of("br0", []) != bridge.mac_of("br1", [])
