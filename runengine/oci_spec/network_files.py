"""Text of /etc/hostname, /etc/hosts and /etc/resolv.conf. Pure; no line can be injected."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.model import HostConfig

HOSTNAME_LIMIT = 64
IPV4_BYTES, IPV4_LOOPBACK = 4, 127
HOST_GATEWAY = "host-gateway"
# Used where the host's own servers cannot be reached from a private network (Docker's choice).
FALLBACK_SERVERS = ("8.8.8.8", "8.8.4.4")
MAX_SERVERS = 3
"""More of them no resolver library asks (resolv.conf(5), MAXNS)."""
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_HOST_ENTRY = re.compile(r"[A-Za-z0-9_.-]+")
_OPTION = re.compile(r"[A-Za-z0-9:._-]+")
_SCOPE = re.compile(r"[A-Za-z0-9_.-]+")

_OF_THE_HOST_ALONE = (bytes(4), bytes(16), bytes(15) + b"\1")
"""Unspecified addresses, and IPv6's loopback."""
_FIXED_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::", "ip6-localnet"),
    ("ff00::", "ip6-mcastprefix"),
    ("ff02::1", "ip6-allnodes"),
    ("ff02::2", "ip6-allrouters"),
)


class Resolver(NamedTuple):
    """What a resolv.conf says (resolv.conf(5))."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def check_hostname(name: str, flag: str = "--hostname") -> str:
    """Return a host name the kernel and /etc/hosts can hold. Raises InvalidParameter."""
    if len(name) > HOSTNAME_LIMIT or not _HOSTNAME.fullmatch(name):
        raise InvalidParameter(
            f"invalid {flag} {name!r}",
            resolution=f"letters, digits, '-' and '.', at most {HOSTNAME_LIMIT}",
        )
    return name


def check_address(text: str, flag: str) -> str:
    """Return an IP address, also one with a zone. Raises InvalidParameter."""
    # fe80::1%eth0 is fine in resolv.conf; the zone must be a plain word.
    address, percent, zone = text.partition("%")
    if not _packed(address) or (percent and not _SCOPE.fullmatch(zone)):
        raise InvalidParameter(f"invalid {flag} {text!r}: not an IP address")
    return text


def parse_host(text: str) -> tuple[str, str]:
    """Parse ``--add-host NAME:ADDRESS`` (or ``=``; IPv6 may stand in brackets) to the pair.

    The address may be ``host-gateway``, which the caller resolves. Raises InvalidParameter.
    """
    equals, colon = text.find("="), text.find(":")
    cut = equals if equals >= 0 and (colon < 0 or equals < colon) else colon
    name, address = text[:cut] if cut > 0 else "", text[cut + 1 :]
    if not _HOST_ENTRY.fullmatch(name) or not address:
        raise InvalidParameter(f"bad format for add-host: {text!r}", resolution="NAME:ADDRESS")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if address != HOST_GATEWAY:
        check_address(address, "--add-host")
    return name, address


def check(host: HostConfig) -> None:
    """Raise InvalidParameter for bad --add-host and --dns* values."""
    for text in host["ExtraHosts"]:
        parse_host(text)
    for server in host["Dns"]:
        check_address(server, "--dns")
    for domain in host["DnsSearch"]:
        if domain != "." and not _HOST_ENTRY.fullmatch(domain):
            raise InvalidParameter(f"invalid --dns-search {domain!r}: not a domain")
    for option in host["DnsOptions"]:
        if not _OPTION.fullmatch(option):
            raise InvalidParameter(f"invalid --dns-option {option!r}")


def hostname(name: str) -> str:
    """Text of /etc/hostname."""
    return f"{check_hostname(name)}\n"


def hosts(
    name: str,
    *,
    domain: str = "",
    addresses: Sequence[str] = (),
    extra: Iterable[str] = (),
    links: Iterable[tuple[str, str]] = (),
    host_gateways: Sequence[str] = (),
) -> str:
    """Text of /etc/hosts: the fixed lines, ``--add-host``, links, then the container's own.

    ``links`` are addresses with their names; ``host_gateways`` replace the word host-gateway, one
    line for each. Raises InvalidParameter.
    """
    lines = [f"{address}\t{names}" for address, names in _FIXED_HOSTS]
    for text in extra:
        alias, given = parse_host(text)
        if given == HOST_GATEWAY and not host_gateways:
            raise InvalidParameter(
                f"--add-host {text}: no address known for {HOST_GATEWAY}",
                resolution="use a number, or a network that has a gateway",
            )
        targets = host_gateways if given == HOST_GATEWAY else (given,)
        lines += [f"{address}\t{alias}" for address in targets]
    own = own_names(name, domain)
    lines += [host_line(address, names) for address, names in links]
    lines += [host_line(address, own) for address in addresses]
    return "\n".join(lines) + "\n"


def own_names(name: str, domain: str = "") -> str:
    """A container's own names in its /etc/hosts. Raises InvalidParameter."""
    check_hostname(name)
    if not domain:
        return name
    return f"{name}.{check_hostname(domain, '--domainname')} {name}"


def is_host_entry(name: str) -> bool:
    """Whether /etc/hosts can hold the name."""
    return bool(_HOST_ENTRY.fullmatch(name))


def host_line(address: str, names: str) -> str:
    """A line of /etc/hosts. Raises InvalidParameter for what would be another line's."""
    for name in names.split():
        if not is_host_entry(name):
            raise InvalidParameter(f"invalid host name {name!r}")
    return f"{check_address(address, 'address')}\t{' '.join(names.split())}"


def changed_hosts(text: str, gone: Iterable[str], come: Iterable[str]) -> str:
    """The text without some lines and with others at its end; what else is there stays.

    A line of ``gone`` that begins with ``*`` stands for those with its names and any address.
    """
    dropped = {_words(line) for line in gone}
    lines = [
        line
        for line in text.splitlines()
        if not dropped & {_words(line), ("*", *_words(line)[1:])}
    ]
    return "\n".join((*lines, *come)) + "\n"


def with_neighbours(text: str, network: str, lines: Iterable[str]) -> str:
    """The text with ``lines`` as those about a network, each marked so; what else is there stays.

    What comes after a # is no part of a line: hosts(5).
    """
    mark = f"# network {network}"
    kept = [line for line in text.splitlines() if not line.endswith(f"\t{mark}")]
    return "\n".join((*kept, *(f"{line}\t{mark}" for line in lines))) + "\n"


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


def parse_resolv_conf(text: str) -> Resolver:
    """What the host's resolv.conf says; odd lines are passed over, the last ``search`` wins."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.partition("#")[0].partition(";")[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers += _valid_server(words[1])
        elif words[0] in ("search", "domain"):
            search = tuple(
                word for word in words[1:] if word == "." or _HOST_ENTRY.fullmatch(word)
            )
        elif words[0] == "options":
            options += [word for word in words[1:] if _OPTION.fullmatch(word)]
    return Resolver(tuple(servers), search, tuple(options))


def _valid_server(text: str) -> list[str]:
    try:
        return [check_address(text, "nameserver")]
    except InvalidParameter:
        return []


def is_local(server: str) -> bool:
    """Whether a server is reached only inside the host's own network namespace."""
    address = _packed(server.partition("%")[0])
    loopback = len(address) == IPV4_BYTES and address[0] == IPV4_LOOPBACK
    return loopback or address in _OF_THE_HOST_ALONE or "%" in server


def _packed(address: str) -> bytes:
    """The bytes of an IP address, none of what is none.

    Not by ``ipaddress``, whose import costs a cold start 1.3 ms.
    """
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        with suppress(OSError, ValueError):  # the latter for a NUL
            return _socket.inet_pton(family, address)
    return b""


def resolv_conf(
    host: HostConfig, host_text: str, *, private: bool, resolvers: Sequence[str] = ()
) -> str:
    """Text of /etc/resolv.conf: ``--dns*`` over the host's file.

    ``resolvers`` are the engine's own on the container's networks: they know the servers of
    ``--dns`` and are the only ones named. Otherwise, in a private network namespace, the host's
    loopback servers are left out; if none remains and none was given, the fallback ones are used.
    ``--dns-search .`` means no search list.
    """
    check(host)
    found = parse_resolv_conf(host_text)
    servers = tuple(resolvers[:MAX_SERVERS]) or tuple(host["Dns"]) or tuple(
        server for server in found.servers if not (private and is_local(server))
    )
    if not servers and private:
        servers = FALLBACK_SERVERS
    search = tuple(host["DnsSearch"]) or found.search
    options = tuple(host["DnsOptions"]) or found.options
    if resolvers and not any(option.startswith("ndots:") for option in options):
        # A container's name, which has no dot, is asked for as it is before any search domain.
        options = (*options, "ndots:0")
    lines = [f"nameserver {server}" for server in servers]
    if search and "." not in search:
        lines.append(f"search {' '.join(search)}")
    if options:
        lines.append(f"options {' '.join(options)}")
    return "".join(f"{line}\n" for line in lines)
