"""Grammar of ``-p`` and ``--expose``. Every function raises ValueError.

Source: Docker CLI reference, ``docker container run``, ``--publish`` and ``--expose``.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_PORT = 65535
PROTOCOLS = ("tcp", "udp", "sctp")
_LONG_KEYS = ("target", "published", "protocol", "mode")


class PortSpec(NamedTuple):
    """One port of the container and where it is published."""

    port: str
    """``80/tcp``."""
    host_ip: str
    """Empty: every address of the host."""
    host_port: str
    """A number, a range to choose from, or empty: any free one."""


def published(text: str) -> list[PortSpec]:
    """``[[IP:][HOSTPORT]:]PORT[/PROTOCOL]``; ports may be ranges, an IPv6 address is in brackets.

    Docker's long form ``target=80,published=8080,protocol=tcp`` is the same.
    """
    short = _from_long(text) if "=" in text else text
    rest, _, protocol = short.partition("/")
    host_ip, host, container = _split(rest)
    if not container:
        raise ValueError(f"no port specified: {text}<empty>")
    first, last = _range(container, "containerPort")
    protocol = _protocol(protocol)
    ports = [f"{port}/{protocol}" for port in range(first, last + 1)]
    if not host:
        return [PortSpec(port, host_ip, "") for port in ports]
    host_first, host_last = _range(host, "hostPort", least=0)
    if host_last - host_first == last - first:
        # Port 0 is the kernel's word for any.
        numbers = [str(port) if port else "" for port in range(host_first, host_last + 1)]
        return [PortSpec(*pair) for pair in zip(ports, [host_ip] * len(ports), numbers,
                                                strict=True)]
    if first != last:
        raise ValueError(
            f"invalid ranges specified for container and host Ports: {container} and {host}"
        )
    return [PortSpec(ports[0], host_ip, f"{host_first}-{host_last}")]


def exposed(text: str) -> list[str]:
    """``PORT[-PORT][/PROTOCOL]`` as a list of ``PORT/PROTOCOL``."""
    ports, _, protocol = text.partition("/")
    first, last = _range(ports, "port", whole=text)
    protocol = _protocol(protocol)
    return [f"{port}/{protocol}" for port in range(first, last + 1)]


def _split(text: str) -> tuple[str, str, str]:
    """Address, host's port and container's port."""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        if not bracket or not rest.startswith(":"):
            raise ValueError(f"invalid IP address: {text}")
        return _address(address, text), *_pair(rest[1:], text)
    parts = text.split(":")
    if len(parts) > 3:
        raise ValueError(f"invalid port: {text}: write an IPv6 address in brackets: [::1]:8080:80")
    if len(parts) == 3:
        return _address(parts[0], text) if parts[0] else "", parts[1], parts[2]
    return "", parts[0] if len(parts) == 2 else "", parts[-1]


def _pair(text: str, whole: str) -> tuple[str, str]:
    host, colon, container = text.partition(":")
    if not colon or ":" in container:
        raise ValueError(f"invalid port: {whole}: expected [IP]:HOSTPORT:PORT")
    return host, container


def _address(text: str, whole: str) -> str:
    from runengine.cli.run_values import ip_address

    try:
        return ip_address(text)
    except ValueError:
        raise ValueError(f"invalid IP address: {text} in {whole}") from None


def _range(text: str, what: str, *, least: int = 1, whole: str = "") -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = first, last if dash else first
    if not all(number.isascii() and number.isdigit() and len(number) < 6 for number in numbers):
        raise ValueError(f"invalid {what}: {whole or text}")
    low, high = int(numbers[0]), int(numbers[1])
    if not least <= low <= high <= MAX_PORT:
        raise ValueError(f"invalid {what}: {whole or text}")
    return low, high


def _protocol(text: str) -> str:
    protocol = text.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(f"invalid proto: {text}")
    return protocol


def _from_long(text: str) -> str:
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if key not in _LONG_KEYS or not equals:
            raise ValueError(f"invalid port: {text}: keys are {', '.join(_LONG_KEYS)}")
        fields[key] = value
    if fields.get("mode", "host") not in ("host", "ingress"):
        raise ValueError(f"invalid port: {text}: invalid publish mode {fields['mode']}")
    if not fields.get("target"):
        raise ValueError(f"invalid port: {text}: target is missing")
    host = f"{fields['published']}:" if fields.get("published") else ""
    return f"{host}{fields['target']}/{fields.get('protocol', 'tcp')}"
