"""The grammar of ``--security-opt``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runengine.model import HostConfig

UNCONFINED = "unconfined"
DEFAULT = "runtime/default"
"""The engine's own profile, asked for: privileged containers have it too."""
# Every spelling of it: Docker's, Kubernetes's, Pouch's.
DEFAULT_NAMES = frozenset({DEFAULT, "default", "builtin", "docker/default", "pouch/default"})
LOCALHOST_PREFIX = "localhost/"
_KEYS = (
    "apparmor",
    "label",
    "mask",
    "no-new-privileges",
    "seccomp",
    "seccomp-arch",
    "systempaths",
    "unmask",
    "writable-cgroups",
)


class SecurityOptions(NamedTuple):
    """``--security-opt``, parsed."""

    no_new_privileges: bool = False
    seccomp: str = ""
    """Empty: nothing is said; DEFAULT; ``unconfined``; else a profile's JSON text."""
    seccomp_arch: tuple[str, ...] = ()
    """Further architectures whose system calls are allowed: ``all`` or their names."""
    apparmor: str = ""
    """Empty: nothing is said; DEFAULT; ``unconfined``; else a loaded profile's name."""
    labels: tuple[str, ...] = ()
    systempaths_unconfined: bool = False
    mask: tuple[str, ...] = ()
    unmask: tuple[str, ...] = ()
    writable_cgroups: bool = False


def parse(options: Iterable[str]) -> SecurityOptions:
    """Parse every ``--security-opt``; the last of a key wins, lists add up.

    Raises InvalidParameter for an unknown key or value.
    """
    found = SecurityOptions()
    for text in options:
        found = SecurityOptions(**{**found._asdict(), **_one(text, found)})
    return found


def apparmor_of(host: HostConfig, default: str) -> str:
    """The AppArmor profile of a container, where the kernel has any."""
    chosen = parse(host["SecurityOpt"]).apparmor
    if chosen == DEFAULT:
        return default
    return chosen or (UNCONFINED if host["Privileged"] else default)


def _one(text: str, before: SecurityOptions) -> dict[str, Any]:
    key, value = _split(text)
    match key:
        case "no-new-privileges" | "writable-cgroups":
            return {key.replace("-", "_"): _boolean(value, text)}
        case "seccomp" | "apparmor":
            name = DEFAULT if value in DEFAULT_NAMES else value.removeprefix(LOCALHOST_PREFIX)
            return {key: name}
        case "seccomp-arch":
            return {"seccomp_arch": before.seccomp_arch + _architectures(value, text)}
        case "label":
            return {"labels": (*before.labels, value)}
        case "systempaths":
            if value != UNCONFINED:
                raise InvalidParameter(
                    f"invalid --security-opt {text}", resolution="use systempaths=unconfined"
                )
            return {"systempaths_unconfined": True}
        case "mask":
            return {"mask": before.mask + _paths(value, text)}
        case _:
            paths = ("ALL",) if value.lower() == "all" else _paths(value, text)
            return {"unmask": before.unmask + paths}


def _split(text: str) -> tuple[str, str]:
    """Key and value, split at ``=`` or, as older clients write it, at ``:``."""
    if text in ("no-new-privileges", "writable-cgroups"):
        return text, "true"
    for separator in ("=", ":"):
        key, found, value = text.partition(separator)
        if found and key in _KEYS:
            return key, value
    if "=" not in text:
        raise InvalidParameter(f"invalid --security-opt {text}: must be in format of key=value")
    raise InvalidParameter(
        f"invalid --security-opt {text}: unknown key", resolution=f"one of {', '.join(_KEYS)}"
    )


def _boolean(value: str, text: str) -> bool:
    if value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise InvalidParameter(f"invalid --security-opt {text}: {value!r} is not true or false")


def _architectures(value: str, text: str) -> tuple[str, ...]:
    from runengine.oci_spec import seccomp

    names = _words(value, ",", text)
    seccomp.check_architectures(names)
    return names


def _words(value: str, separator: str, text: str) -> tuple[str, ...]:
    words = tuple(word for word in value.split(separator) if word)
    if not words:
        raise InvalidParameter(f"invalid --security-opt {text}: empty value")
    return words


def _paths(value: str, text: str) -> tuple[str, ...]:
    paths = _words(value, ":", text)
    for path in paths:
        if not path.startswith("/"):
            raise InvalidParameter(
                f"invalid --security-opt {text}: {path!r} is not an absolute path"
            )
    return paths
