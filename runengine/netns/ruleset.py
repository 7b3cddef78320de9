"""The text of our nftables table: a fixed set of rules, and sets and maps for all that changes.

Whatever a start or a stop changes is an element of a set or a map, so no rule is ever added and
the cost of a packet and of a transaction is the same however many containers there are.

- A published port is one element of ``ports4``/``ports6`` (one address of the host) or of
  ``everywhere4``/``everywhere6`` (all of them); a row of ports that keep their numbers is one of
  ``ranges4``/``ranges6``.
- The forward chain judges only what comes from or goes to our bridges. What it accepts other
  tables may still drop, so it takes nothing from the host's own firewall.
- ``::1``: the kernel takes no packet for ``::1`` from any other interface than ``lo``, so a reply
  could never come back to it (IPv4 has ``route_localnet`` for that). Connections from ``::1`` to a
  published port therefore get LOOPBACK_SOURCE as their source before they are tracked, and replies
  get ``::1`` back after the last look at where they came from. No relay process is needed.
- The operator's rules go to the chain ``admin``, which sees what is new before we accept it.
"""

from __future__ import annotations

import functools
import os
import zlib
from typing import TYPE_CHECKING

from runengine.netns.elements import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.netns.elements import Element

LOOPBACK_SOURCE = "fd3c:9e17:a04b:52d8::1"
"""Stands for ``::1`` inside the host (a random ULA); every bridge with IPv6 has a local route."""

ADMIN_FILE = "/etc/runengine/admin.nft"
"""Read into the table whenever it is made: sets of the operator's, and rules of ``admin``."""

TABLE = """\
table inet {table} {{
    comment "{shape}"

{sets}

    chain admin {{ }}

    # Nothing from outside may use the addresses that stand for this host alone.
    # Every packet comes by: what hardly any has is looked at first, the set of names last.
    chain guard {{
        type filter hook prerouting priority raw; policy accept;
        ip daddr 127.0.0.0/8 iifname @bridges drop
        ip saddr 127.0.0.0/8 iifname @bridges drop
        ip6 daddr {loopback} iifname != "lo" drop
        ip6 saddr {loopback} iifname != "lo" drop
    }}

    chain from_loopback {{
        type filter hook output priority raw; policy accept;
        ip6 daddr ::1 ip6 saddr ::1 jump loopback_source
    }}
    chain loopback_source {{
        meta l4proto . th dport @loopback6 ip6 saddr set {loopback}
        meta l4proto . th dport @loopback_ranges6 ip6 saddr set {loopback}
    }}
    chain to_loopback {{
        type filter hook input priority 110; policy accept;
        ip6 daddr {loopback} ip6 saddr ::1 iifname @bridges ip6 daddr set ::1
    }}

    chain outside {{
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local jump published
    }}
    chain host {{
        type nat hook output priority -100; policy accept;
        fib daddr type local jump published
    }}
    chain published {{
        # A neighbour on the link cannot be answered from another link.
        ip6 daddr fe80::/10 return
        dnat ip to ip daddr . meta l4proto . th dport map @ports4
        dnat ip to meta l4proto . th dport map @everywhere4
        dnat ip to ip daddr . meta l4proto . th dport map @ranges4
        dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports6
        dnat ip6 to meta l4proto . th dport map @everywhere6
        dnat ip6 to ip6 daddr . meta l4proto . th dport map @ranges6
    }}

    chain leaving {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname @bridges jump to_container
        iifname @masqueraded masquerade
    }}
    # Who asks a container through the host must be answered through the host.
    chain to_container {{
        ip saddr 127.0.0.0/8 masquerade
        ip6 saddr {loopback} masquerade
        ct status dnat iifname @bridges masquerade
        # These have no route back to any other address of the host.
        ct status dnat oifname @internal masquerade
        # The same where bridged packets are filtered (br_netfilter): they come from no interface.
        ct status dnat iif 0 fib saddr type != local masquerade
    }}

    chain forward {{
        type filter hook forward priority filter; policy accept;
        # Nearly every packet; it takes nothing from other tables' chains.
        ct state established,related accept
        iifname @bridges goto judged
        oifname @bridges goto judged
    }}
    chain judged {{
        # Not known to belong to a connection: it would leave with the container's own address.
        iifname @masqueraded oifname != @bridges ct state invalid drop
        jump admin
        iifname . oifname @within accept
        iifname @internal drop
        oifname @internal drop
        oifname @bridges ct status dnat accept
        oifname @bridges drop
    }}
}}
"""


def text(table: str, elements: Iterable[Element], admin_file: str) -> str:
    """Makes the table anew, whatever was there of that name, in one transaction of ``nft -f``."""
    declared = "\n".join(
        f"    {'map' if kind.value else 'set'} {name} {kind.declaration}"
        for name, kind in KINDS.items()
    )
    parts = [removal(table)]
    parts.append(TABLE.format(table=table, shape=shape(), loopback=LOOPBACK_SOURCE, sets=declared))
    if os.path.exists(admin_file):
        parts.append(f'table inet {table} {{\n    include "{admin_file}"\n}}\n')
    by_set: dict[str, list[str]] = {}
    for element in elements:
        by_set.setdefault(element.set, []).append(element.text)
    parts += [
        f"add element inet {table} {name} {{ {', '.join(dict.fromkeys(texts))} }}\n"
        for name, texts in by_set.items()
    ]
    return "".join(parts)


def removal(table: str) -> str:
    """Takes the table away; adding it first makes that possible where there is none."""
    return f"table inet {table}\ndelete table inet {table}\n"


@functools.cache
def shape() -> str:
    """Names this version of the table: its comment, by which an older one is known."""
    declared = "".join(f"{name}{kind}" for name, kind in KINDS.items())
    return f"runengine {zlib.crc32((TABLE + declared).encode()):08x}"
