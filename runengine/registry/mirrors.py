"""Which hosts are asked for a reference, in which order, and over which scheme.

One resolver for every verb: mirrors of the longest prefix that matches, then the registry
itself. A mirror takes the place of the prefix (as in containers-registries.conf(5)), so
``docker.io/library`` → ``localhost:5000/proxy`` makes ``localhost:5000/proxy/debian`` of
``docker.io/library/debian``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter
from runengine.registry import reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from runengine.registry.reference import Reference

HUB_API_HOST = "registry-1.docker.io"


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


def resolve(
    ref: Reference, *, mirrors: Mapping[str, Sequence[str]], insecure: Iterable[str]
) -> list[Endpoint]:
    """Endpoints to try for ``ref``: mirrors first, the registry last.

    Raises InvalidParameter for a mirror that is not ``[http[s]://]host[:port][/path]``.
    """
    listed = tuple(insecure)
    endpoints = []
    prefix = _longest_prefix(ref.name, mirrors)
    if prefix is not None:
        rest = ref.name[len(prefix.rstrip("/")) :].lstrip("/")
        endpoints = [_mirror(text, rest, listed) for text in mirrors[prefix]]
    host = HUB_API_HOST if ref.registry == reference.DOCKER_HUB else ref.registry
    schemes, verify_tls = _schemes(host, listed)
    return [*endpoints, Endpoint(host, ref.repository, schemes, verify_tls, is_mirror=False)]


def is_loopback(host: str) -> bool:
    """Whether ``host`` (with or without a port) is this machine by its spelling."""
    name = _without_port(host)
    return name in ("localhost", "[::1]") or name.endswith(".localhost") or _is_loopback_v4(name)


def is_insecure(host: str, listed: Iterable[str]) -> bool:
    """Whether ``host`` is covered by the setting ``insecure_registries``.

    An entry is a host (any port), a host with a port, or a network in CIDR notation.
    """
    name = _without_port(host)
    for entry in listed:
        plain = entry.partition("://")[2] or entry
        if plain.rstrip("/").lower() in (host, name) or _in_network(name, plain):
            return True
    return False


def _longest_prefix(name: str, mirrors: Mapping[str, Sequence[str]]) -> str | None:
    matching = [
        prefix for prefix in mirrors if f"{name}/".startswith(f"{prefix.rstrip('/')}/") and prefix
    ]
    return max(matching, key=len, default=None)


def _mirror(text: str, rest: str, insecure: tuple[str, ...]) -> Endpoint:
    scheme, separator, location = text.rpartition("://")
    host, _, path = location.rstrip("/").partition("/")
    host = host.lower()
    if scheme not in ("", "http", "https") or not reference.is_registry_host(host):
        raise InvalidParameter(
            f"invalid mirror {text!r}", resolution="write it as [http[s]://]host[:port][/path]"
        )
    schemes, verify_tls = _schemes(host, insecure)
    if separator:
        schemes = (scheme,)
    repository = "/".join(part for part in (path, rest) if part)
    return Endpoint(host, repository, schemes, verify_tls, is_mirror=True)


def _schemes(host: str, insecure: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
    if is_loopback(host):
        return ("http", "https"), False
    if is_insecure(host, insecure):
        return ("https", "http"), False
    return ("https",), True


def _without_port(host: str) -> str:
    if host.endswith("]"):
        return host
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _is_loopback_v4(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdigit() for part in parts)


def _in_network(name: str, entry: str) -> bool:
    if "/" not in entry:
        return False
    import ipaddress

    try:
        return ipaddress.ip_address(name.strip("[]")) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
