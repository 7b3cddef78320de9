"""The route by which answers to connections from ``::1`` come back (ruleset.py says how)."""

from __future__ import annotations

import errno
import socket

from runengine.netns import messages
from runengine.netns.messages import RTM_NEWROUTE
from runengine.netns.netlink import Connection, NetlinkError
from runengine.netns.ruleset import LOOPBACK_SOURCE

_CREATE_BESIDE = 0xC00  # NLM_F_CREATE and NLM_F_APPEND: other bridges have the same route.
_RT_TABLE_LOCAL = 255
_RTPROT_STATIC = 4
_RTN_LOCAL = 2


def add_route(device: str) -> None:
    """Take what comes for LOOPBACK_SOURCE; idempotent. The route goes when the bridge goes.

    Raises OSError.
    """
    request = messages.request(
        RTM_NEWROUTE,
        [("RTA_DST", LOOPBACK_SOURCE), ("RTA_OIF", socket.if_nametoindex(device))],
        {
            "family": socket.AF_INET6,
            "dst_len": 128,
            "table": _RT_TABLE_LOCAL,
            "proto": _RTPROT_STATIC,
            "type": _RTN_LOCAL,
        },
        flags=_CREATE_BESIDE,
    )
    try:
        with Connection() as connection:
            connection.execute(request)
    except NetlinkError as error:
        if error.errno != errno.EEXIST:
            raise
