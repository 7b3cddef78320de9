"""What kinds of interfaces this kernel can make."""

from __future__ import annotations

import errno
import os

from runengine.netns import namespace
from runengine.netns.messages import CREATE, RTM_NEWLINK, nested, request
from runengine.netns.netlink import Connection


def driver_available(kind: str) -> bool:
    """Whether the kernel has the driver (``veth``, ``bridge``, ``macvlan``, ``ipvlan``, ``vlan``).

    It is asked for an interface in a namespace that nobody sees, which has it load the module.
    """
    netns_fd = namespace.new()
    try:
        return namespace.call(netns_fd, lambda: _try(kind))
    finally:
        os.close(netns_fd)


def _try(kind: str) -> bool:
    info = nested(("IFLA_INFO_KIND", kind))
    attributes = [("IFLA_IFNAME", "probe"), ("IFLA_LINKINFO", info)]
    with Connection() as connection:
        (error,) = connection.attempt([request(RTM_NEWLINK, attributes, flags=CREATE)])
    # Any other refusal is the driver's own: it wants a parent.
    return error is None or error.errno != errno.EOPNOTSUPP
