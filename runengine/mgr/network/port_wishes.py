"""From ``PortBindings`` and ``-P`` to the ports that a run is to have at the host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.store.network_types import WantedPort

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.model import ContainerConfig, HostConfig

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535


def parse_port(text: str) -> tuple[int, str]:
    """``80/tcp`` (or ``80``) as number and protocol. Raises InvalidParameter."""
    number, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise InvalidParameter(f"invalid port specification: {text!r}: protocol is none of tcp,"
                               " udp and sctp")
    return _number(number, text, least=1), protocol


def _number(text: str, whole: str, *, least: int = 0) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) < 6
    if not is_number or not least <= int(text) <= MAX_PORT:
        raise InvalidParameter(f"invalid port specification: {whole!r}")
    return int(text)


def wanted(config: ContainerConfig, host: HostConfig) -> tuple[WantedPort, ...]:
    """The ports to publish; those in a row on both sides as one. Raises InvalidParameter."""
    bound = host["PortBindings"] or {}
    found = [
        _binding(port, binding.get("HostIp") or "", binding.get("HostPort") or "")
        for port, bindings in bound.items()
        for binding in bindings or ({},)
    ]
    if host["PublishAllPorts"]:
        known = {parse_port(port) for port in bound}
        exposed = map(parse_port, config["ExposedPorts"] or {})
        found += [WantedPort(*port) for port in exposed if port not in known]
    return tuple(_in_rows(found))


def _binding(port: str, host_ip: str, host_port: str) -> WantedPort:
    number, protocol = parse_port(port)
    first, dash, last = host_port.partition("-")
    low = _number(first, host_port) if first else 0
    high = _number(last, host_port, least=low) if dash else low
    return WantedPort(number, protocol, _address(host_ip), low, high if high > low else 0)


def _address(text: str) -> str:
    if not text:
        return ""
    from ipaddress import ip_address

    try:
        return str(ip_address(text))
    except ValueError:
        raise InvalidParameter(f"invalid port binding address {text!r}") from None


def _in_rows(ports: Iterable[WantedPort]) -> list[WantedPort]:
    """Ports that follow each other, each to the one that follows at the host, as one entry."""
    rows: list[WantedPort] = []
    key = lambda port: (port.protocol, port.host_ip, port.container_port, port.host_port)  # noqa: E731
    for port in sorted(ports, key=key):
        last = rows[-1] if rows else None
        if last is not None and _follows(last, port):
            rows[-1] = last._replace(count=last.count + 1)
        else:
            rows.append(port)
    return rows


def _follows(last: WantedPort, port: WantedPort) -> bool:
    if not last.host_port or last.host_port_last or port.host_port_last:
        return False
    start = (last.protocol, last.host_ip, last.container_port, last.host_port)
    here = (port.protocol, port.host_ip, port.container_port, port.host_port)
    return here == (*start[:2], start[2] + last.count, start[3] + last.count)
