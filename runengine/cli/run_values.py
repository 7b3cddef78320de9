"""Grammars of single flag values. Every function raises ValueError or an EngineError.

Only what the command line alone can decide is checked here; whether a limit or a path makes
sense for the container is checked by the engine, for every client alike.
Source: Docker CLI reference, ``docker container run``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runengine.cli import units
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from runengine.model import (
        DeviceMapping,
        DeviceRequest,
        HugetlbLimit,
        RestartPolicy,
        ThrottleDevice,
        Ulimit,
        WeightDevice,
    )

NANO = 1_000_000_000
MAX_INT64 = (1 << 63) - 1
_DURATION_NS = {
    "ns": 1,
    "us": 1000,
    "µs": 1000,
    "μs": 1000,
    "ms": 1_000_000,
    "s": NANO,
    "m": 60 * NANO,
    "h": 3600 * NANO,
}
_DURATION_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")


def size(text: str) -> int:
    """Bytes of ``512``, ``64m``, ``1.5g``, ``2GiB``; units are powers of 1024."""
    return units.parse_size(text)


def size_or_unlimited(text: str) -> int:
    """As ``size``; ``-1`` is unlimited."""
    return -1 if text == "-1" else size(text)


def nano_cpus(text: str) -> int:
    """CPUs in units of 1e-9: ``1.5`` is 1500000000."""
    match = re.fullmatch(r"(\d*)(?:\.(\d*))?", text, re.ASCII)
    if match is None or not (match[1] or match[2]):
        raise ValueError("expected a number of CPUs, such as 1.5")
    fraction = (match[2] or "").rstrip("0")
    if len(fraction) > 9:
        raise ValueError("value is too precise")
    value = int(match[1] or "0") * NANO + int(fraction.ljust(9, "0"))
    if value > MAX_INT64:
        raise ValueError("value is too large")
    return value


def duration(text: str) -> int:
    """Nanoseconds in ``1m30s``, ``100ms``, ``1.5h`` or ``0`` (Go's time.ParseDuration)."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return 0
    total = 0 if rest else MAX_INT64 + 1
    while rest:
        part = _DURATION_PART.match(rest)
        if part is None or not (part[1] or part[2]) or len(part[1]) > 19:
            raise ValueError(f'time: invalid duration "{text}"')
        if part[3] not in _DURATION_NS:
            why = f'unknown unit "{part[3]}"' if part[3] else "missing unit"
            raise ValueError(f'time: {why} in duration "{text}"')
        size, fraction = _DURATION_NS[part[3]], (part[2] or "")[:18]
        # Digits beyond a nanosecond are dropped.
        total += int(part[1] or "0") * size + int(fraction or "0") * size // 10 ** len(fraction)
        rest = rest[part.end() :]
    if total > MAX_INT64:
        raise ValueError(f'time: invalid duration "{text}"')
    return sign * total


def stream(text: str) -> str:
    """A name for ``--attach``."""
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")
    return text.lower()


def hostname(text: str) -> str:
    """A host name: labels of letters, digits, ``-`` and ``_`` (hostname(7)); 64 bytes at most."""
    if len(text) > 64 or not _HOSTNAME.fullmatch(text):
        raise ValueError("invalid hostname")
    return text


def restart_policy(text: str) -> RestartPolicy:
    """``no``, ``always``, ``unless-stopped`` or ``on-failure[:N]``."""
    from runengine.mgr.container import policy

    return policy.parse(text)


def signal_name(text: str) -> str:
    """A signal's name or number, kept as written."""
    from runengine.mgr.container.signals import parse_signal

    parse_signal(text)
    return text


def cgroupns(text: str) -> str:
    """``host`` or ``private``."""
    if text not in ("", "host", "private"):
        raise ValueError("invalid CGROUP mode: use host or private")
    return text


def systemd(text: str) -> str:
    """``true``, ``false`` or ``always``."""
    if text.lower() not in ("true", "false", "always"):
        raise ValueError(f"invalid mode {text!r}: use true, false or always")
    return text.lower()


def sysctl(text: str) -> tuple[str, str]:
    """``KEY=VALUE``."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InvalidParameter(
            f"invalid sysctl {text}: sysctl must be in format of key=value"
        )
    return key.strip(), value.strip()


def device(text: str) -> DeviceMapping | str:
    """``HOST[:CONTAINER][:PERMISSIONS]``, or a CDI device's name, which stays as it is."""
    from runengine.oci_spec import cdi, devices

    return text if cdi.is_name(text) else devices.parse_device(text)


def gpus(text: str) -> DeviceRequest:
    """``all``, a number, or ``device=...,capabilities=...``."""
    from runengine.oci_spec import gpus

    return gpus.parse(text)


def ulimit(text: str) -> Ulimit:
    """``NAME=SOFT[:HARD]``."""
    from runengine.oci_spec import ulimits

    return ulimits.parse(text)


def _path_and_number(text: str) -> tuple[str, str]:
    path, colon, value = text.rpartition(":")
    if not colon or not value:
        raise ValueError(f"bad format: {text}")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {text}")
    return path, value


def weight_device(text: str) -> WeightDevice:
    """``/dev/PATH:WEIGHT``, 0 or 10 to 1000."""
    path, value = _path_and_number(text)
    weight = int(value) if value.isascii() and value.isdigit() else -1
    if weight != 0 and not 10 <= weight <= 1000:
        raise ValueError(f"invalid weight for device: {text}")
    return {"Path": path, "Weight": weight}


def byte_rate(text: str) -> ThrottleDevice:
    """``/dev/PATH:RATE`` with a size's units."""
    path, value = _path_and_number(text)
    try:
        return {"Path": path, "Rate": size(value)}
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {text}, expected <device-path>:<number>[<unit>]"
        ) from None


def operation_rate(text: str) -> ThrottleDevice:
    """``/dev/PATH:COUNT``."""
    path, value = _path_and_number(text)
    if not (value.isascii() and value.isdigit()):
        raise ValueError(
            f"invalid rate for device: {text}, expected <device-path>:<number>"
        )
    return {"Path": path, "Rate": int(value)}


def hugetlb(text: str) -> HugetlbLimit:
    """``PAGE_SIZE:LIMIT``, both with a size's units."""
    from runengine.cgroups import machine

    page, colon, limit = text.partition(":")
    if not colon or not size(page):
        raise ValueError(f"invalid limit: {text}, expected <page size>:<limit>, such as 2MB:1g")
    return {"PageSize": machine.page_size(size(page)), "Limit": size(limit)}


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address, in the kernel's spelling."""
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            return _socket.inet_ntop(family, _socket.inet_pton(family, text.strip()))
        except OSError:
            continue
    raise ValueError(f"IP address is not correctly formatted: {text}")


def extra_host(text: str) -> str:
    """``HOST:IP`` or ``HOST=IP``, kept with a colon; ``host-gateway`` stands for the gateway."""
    separator = "=" if "=" in text else ":"
    name, found, address = text.partition(separator)
    if not found or not name or any(letter.isspace() for letter in name):
        raise ValueError(f"bad format for add-host: {text!r}")
    if address == "host-gateway":
        return f"{name}:{address}"
    try:
        ip_address(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"invalid IP address in add-host: {address!r}") from None
    return f"{name}:{address.removeprefix('[').removesuffix(']')}"


def exec_cpu_affinity(text: str) -> dict[str, str]:
    """``initial=CPUS``, ``final=CPUS``, or ``CPUS`` for both; as fields of the configuration."""
    from runengine.cgroups.machine import parse_list

    key, equals, cpus = text.partition("=")
    names: tuple[str, ...] = ("Initial", "Final")
    if equals:
        names = (key.capitalize(),) if key in ("initial", "final") else ()
    cpus = cpus if equals else text
    if not (names and cpus):
        raise InvalidParameter(
            f"invalid value {text!r}", resolution="use initial=CPUS, final=CPUS, or CPUS for both"
        )
    parse_list(cpus)
    return dict.fromkeys(names, cpus)
