"""Other people's firewalls on the host, which may drop what our table lets through.

Whatever our table accepts, every other table is asked as well. So a host whose firewall drops
forwarded packets by default cuts our containers off. We act only where there is a place meant for
that: firewalld's zone ``trusted``, and Docker's chain DOCKER-USER (Docker sets the policy of
FORWARD to DROP). Elsewhere the operator decides, and is told what to do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import nftables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runengine.netns.nftables import Chain

COMMENT = "runengine"
"""Rules of ours in other people's chains carry it."""
_HOOK = "DOCKER-USER"
_ZONE = "trusted"
_ZONE_COMMANDS = (
    ("firewall-cmd", f"--zone={_ZONE}"),
    ("firewall-cmd", "--permanent", f"--zone={_ZONE}"),
)
_BUS, _BUS_VARIABLE = "/run/dbus/system_bus_socket", "DBUS_SYSTEM_BUS_ADDRESS"
"""The only way to firewalld, and what leads elsewhere."""
_TIMEOUT_S = 30
_COPIES = 8
"""Of one rule: two commands at once may both have added it."""
_PROGRAMS = {"ip": "iptables", "ip6": "ip6tables"}
_LEGACY_TABLES = {"ip": "/proc/net/ip_tables_names", "ip6": "/proc/net/ip6_tables_names"}


class _Filter(NamedTuple):
    """The table ``filter`` of one kind of iptables."""

    program: str
    chains: frozenset[str]
    drops_forwarded: bool


def accept_forwarding(device: str) -> list[str]:
    """Have the host's firewalls let the bridge's packets through; idempotent.

    Returns what the operator should know: what was changed, and what they have to do themselves.
    """
    notices = _join_zone(device)
    chains = _chains()
    for table in _filters(chains):
        if not table.drops_forwarded:
            continue
        if _HOOK in table.chains:
            notices += _accept_in_hook(table, device)
        else:
            notices.append(_advice(table, device))
    return notices + [_nft_advice(chain, device) for chain in chains if _is_foreign(chain)]


def forget_forwarding(device: str) -> None:
    """Take back what ``accept_forwarding`` did; idempotent."""
    if _firewalld_runs():
        for command in _ZONE_COMMANDS:
            _run(*command, f"--remove-interface={device}")
    for table in _filters(_chains()):
        if _HOOK not in table.chains:
            continue
        for rule in _rules(device):
            for _ in range(_COPIES):
                if _run(table.program, "-w", "-D", _HOOK, *rule) is None:
                    break


def _join_zone(device: str) -> list[str]:
    """Forwarding, and what containers ask of the host's resolver, pass firewalld's zones.

    Also in its permanent configuration: a reload forgets everything else.
    """
    if not _firewalld_runs():
        return []
    missing = [
        command
        for command in _ZONE_COMMANDS
        if _run(*command, f"--query-interface={device}") is None
    ]
    refused = [
        command for command in missing if _run(*command, f"--change-interface={device}") is None
    ]
    if refused:
        todo = " ".join([*refused[0], f"--change-interface={device}"])
        return [f"firewalld did not take {device} into its zone {_ZONE}: run '{todo}'"]
    return [f"firewalld: {device} is in the zone {_ZONE} now, for good"] if missing else []


def _firewalld_runs() -> bool:
    """Its program is in Python, and takes its time to say so: not asked where there is no bus."""
    return (
        shutil.which("firewall-cmd") is not None
        and (_BUS_VARIABLE in os.environ or os.path.exists(_BUS))
        and _run("firewall-cmd", "--state") is not None
    )


def _accept_in_hook(table: _Filter, device: str) -> list[str]:
    command = (table.program, "-w")
    missing = [rule for rule in _rules(device) if _run(*command, "-C", _HOOK, *rule) is None]
    refused = [rule for rule in missing if _run(*command, "-I", _HOOK, *rule) is None]
    if refused:
        return [_advice(table, device)]
    return [f"{table.program}: {_HOOK} accepts what {device} forwards now"] if missing else []


def _rules(device: str) -> list[tuple[str, ...]]:
    tail = ("-m", "comment", "--comment", COMMENT, "-j", "ACCEPT")
    return [("-i", device, *tail), ("-o", device, *tail)]


def _advice(table: _Filter, device: str) -> str:
    if "ufw-user-forward" in table.chains:
        rules = [f"ufw route allow {way} on {device}" for way in ("in", "out")]
    else:
        chain = _HOOK if _HOOK in table.chains else "FORWARD"
        rules = [f"{table.program} -I {chain} {way} {device} -j ACCEPT" for way in ("-i", "-o")]
    return (
        f"{table.program}'s chain FORWARD drops what it has no rule for, so containers on {device}"
        f" may reach nobody; allow them: '{rules[0]}' and '{rules[1]}'"
    )


def _nft_advice(chain: Chain, device: str) -> str:
    return (
        f"the nftables chain {chain.family} {chain.table} {chain.name} drops what it has no rule"
        f" for, so containers on {device} may reach nobody; allow them there:"
        f" 'iifname {device} accept' and 'oifname {device} accept'"
    )


def _chains() -> list[Chain]:
    try:
        return nftables.chains()
    except OSError as error:
        raise nftables.refused("look at the host's firewalls", error) from error


def _filters(chains: Sequence[Chain]) -> Iterator[_Filter]:
    """What both kinds of iptables have: the one in nftables, and the one beside it."""
    for family, program in _PROGRAMS.items():
        own = [one for one in chains if (one.family, one.table) == (family, "filter")]
        if own:
            names = frozenset(one.name for one in own)
            drops = any(one.drops_forwarded for one in own if one.name == "FORWARD")
            yield _Filter(_either(f"{program}-nft", program), names, drops)
        if "filter" in _lines(_LEGACY_TABLES[family]):
            legacy = _either(f"{program}-legacy", program)
            listed = (_run(legacy, "-w", "-S") or "").splitlines()
            names = frozenset(line[3:] for line in listed if line.startswith("-N "))
            yield _Filter(legacy, names, "-P FORWARD DROP" in listed)


def _is_foreign(chain: Chain) -> bool:
    """Neither iptables' nor firewalld's, which are asked in their own ways."""
    is_iptables = chain.family in _PROGRAMS and chain.table == "filter" and chain.name == "FORWARD"
    return chain.drops_forwarded and not is_iptables and chain.table != "firewalld"


def _either(first: str, second: str) -> str:
    return first if shutil.which(first) else second


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().split()
    except OSError:
        return []


def _run(*command: str) -> str | None:
    """What the program says, or None if it fails or is missing."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
