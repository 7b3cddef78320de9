"""Which hosts are asked for a reference, in which order, and over which scheme.

One resolver for every verb: mirrors of the longest prefix that matches, then the registry
itself. A mirror takes the place of the prefix (as in containers-registries.conf(5)), so
``docker.io/library`` → ``localhost:5000/proxy`` makes ``localhost:5000/proxy/debian`` of
``docker.io/library/debian``.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter
from runengine.registry import reference

if TYPE_CHECKING:
    import ipaddress
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runengine.registry.reference import Reference

HUB_API_HOST = "registry-1.docker.io"
LOOK_UP_AGAIN_S = 60
"""A process may serve calls for hours; a name's address does not last that long."""


class Endpoint(NamedTuple):
    """One host that may serve a repository; ``schemes`` are tried in order."""

    host: str
    repository: str
    schemes: tuple[str, ...]
    verify_tls: bool
    is_mirror: bool

    @property
    def registry(self) -> str:
        """The name that credentials are kept under."""
        return reference.DOCKER_HUB if self.host == HUB_API_HOST else self.host

    def describe(self) -> str:
        """One line for ``explain`` and for notices."""
        kind = "mirror" if self.is_mirror else "registry"
        tls = "" if self.verify_tls else ", certificate not checked"
        return f"{kind} {self.host}/{self.repository} ({' then '.join(self.schemes)}{tls})"


class Trust(NamedTuple):
    """Whom to talk to without TLS, or without checking who it is.

    ``insecure`` is the setting; ``certified`` tells of a host whether there is an authority of
    its own to check it by, which is then done for this machine too.
    """

    insecure: tuple[str, ...] = ()
    certified: Callable[[str], bool] = lambda _: False

    def schemes(self, host: str) -> tuple[str, ...]:
        """The schemes to try, in order."""
        if self.is_lenient(host):
            return ("http", "https") if is_loopback(host) else ("https", "http")
        return ("https",)

    def is_lenient(self, host: str) -> bool:
        """Whether plain HTTP and any certificate will do."""
        if is_insecure(host, self.insecure):
            return True
        return is_loopback(host) and not self.certified(host)


def resolve(
    ref: Reference,
    *,
    mirrors: Mapping[str, Sequence[str]],
    insecure: Iterable[str],
    certified: Callable[[str], bool] = lambda _: False,
) -> list[Endpoint]:
    """Endpoints to try for ``ref``: mirrors first, the registry last.

    Raises InvalidParameter for a mirror that is not ``[http[s]://]host[:port][/path]``.
    """
    trust = Trust(tuple(insecure), certified)
    endpoints = []
    prefix = longest_prefix(ref.name, mirrors)
    if prefix is not None:
        rest = ref.name[len(prefix.rstrip("/")) :].lstrip("/")
        endpoints = [_mirror(text, rest, trust) for text in mirrors[prefix]]
    return [*endpoints, endpoint(api_host(ref.registry), ref.repository, trust)]


def api_host(registry: str) -> str:
    """The host that answers for a registry."""
    return HUB_API_HOST if registry == reference.DOCKER_HUB else registry


def endpoint(host: str, repository: str, trust: Trust) -> Endpoint:
    """The registry itself."""
    is_checked = not trust.is_lenient(host)
    return Endpoint(host, repository, trust.schemes(host), is_checked, is_mirror=False)


def is_loopback(host: str) -> bool:
    """Whether ``host`` (with or without a port) is this machine by its spelling."""
    name = _without_port(host)
    return name in ("localhost", "[::1]") or name.endswith(".localhost") or _is_loopback_v4(name)


def is_insecure(host: str, listed: Iterable[str]) -> bool:
    """Whether ``host`` is covered by the setting ``insecure_registries``.

    An entry is a host (any port), a host with a port, or a network in CIDR notation. A name is
    in a network if all its addresses are; it is looked up only where a network is listed.
    """
    name = _without_port(host)
    entries = [(entry.partition("://")[2] or entry).rstrip("/").lower() for entry in listed]
    if any(entry in (host, name) for entry in entries):
        return True
    networks = [entry for entry in map(_network, entries) if entry is not None]
    addresses = _addresses(name) if networks else []
    return bool(addresses) and all(
        any(address in network for network in networks) for address in addresses
    )


def longest_prefix(name: str, mirrors: Mapping[str, Sequence[str]]) -> str | None:
    """The key of the setting ``mirrors`` that applies to a repository's full name."""
    matching = [
        prefix for prefix in mirrors if f"{name}/".startswith(f"{prefix.rstrip('/')}/") and prefix
    ]
    return max(matching, key=len, default=None)


def _mirror(text: str, rest: str, trust: Trust) -> Endpoint:
    scheme, separator, location = text.rpartition("://")
    host, _, path = location.rstrip("/").partition("/")
    host = host.lower()
    if scheme not in ("", "http", "https") or not reference.is_registry_host(host):
        raise InvalidParameter(
            f"invalid mirror {text!r}", resolution="write it as [http[s]://]host[:port][/path]"
        )
    schemes = (scheme,) if separator else trust.schemes(host)
    repository = "/".join(part for part in (path, rest) if part)
    return Endpoint(host, repository, schemes, not trust.is_lenient(host), is_mirror=True)


def _without_port(host: str) -> str:
    if host.endswith("]"):
        return host
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _is_loopback_v4(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    if "/" not in entry:
        return None
    import ipaddress

    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _addresses(name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of a host; none if its name cannot be looked up."""
    return _looked_up(name, int(time.monotonic() // LOOK_UP_AGAIN_S))


@lru_cache(64)
def _looked_up(
    name: str, _minute: int
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    import ipaddress
    import socket

    try:
        return [ipaddress.ip_address(name.strip("[]"))]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
