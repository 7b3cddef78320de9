"""``--profile``: many settings by one name. Whatever is given outright wins over them.

``bench`` is for measurements: the program has the host's limits, network and CPU time, and nothing
of the engine runs beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.cgroups.files import text
from runengine.errors import InvalidParameter
from runengine.mgr.network.modes import DEFAULT, HOST
from runengine.model import endpoint_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.model import ContainerConfig, EndpointConfig, HostConfig
    from runengine.runtime.abilities import Abilities

BENCH = "bench"
PROFILES = (BENCH,)
PASSTHROUGH, NONE = "passthrough", "none"
SPEC_ALLOW = "SECCOMP_FILTER_FLAG_SPEC_ALLOW"
SPEC_STORE_BYPASS = "/sys/devices/system/cpu/vulnerabilities/spec_store_bypass"


class Request(NamedTuple):
    """What is asked for, with the profile's settings in it."""

    config: ContainerConfig
    host: HostConfig
    endpoints: Mapping[str, EndpointConfig]


def apply(
    config: ContainerConfig, host: HostConfig, endpoints: Mapping[str, EndpointConfig]
) -> Request:
    """The request completed by its profile, before an image or the engine's defaults are.

    Raises InvalidParameter for a profile that is none.
    """
    name = host.get("Profile", "")
    if not name:
        return Request(config, host, endpoints)
    if name not in PROFILES:
        raise InvalidParameter(
            f"unknown profile {name!r}", resolution=f"there is: {', '.join(PROFILES)}"
        )
    result: HostConfig = {**host}
    if not (host["LogConfig"]["Type"] or host["LogConfig"]["Config"]):
        driver = NONE if config["Tty"] else PASSTHROUGH
        result["LogConfig"] = {"Type": driver, "Config": {}}
    if host["PidsLimit"] is None:
        result["PidsLimit"] = -1
    if not _wants_network(host, endpoints):
        result["NetworkMode"], endpoints = HOST, {}
    quiet: ContainerConfig = {**config}
    if config["Healthcheck"] is None:
        quiet["Healthcheck"] = {"Test": ["NONE"]}  # not the image's
    return Request(quiet, result, endpoints)


def _wants_network(host: HostConfig, endpoints: Mapping[str, EndpointConfig]) -> bool:
    """Whether a network is named, or anything asked for that only one of its own can give."""
    if host["NetworkMode"] not in ("", DEFAULT):
        return True
    asked = (host["PortBindings"], host["PublishAllPorts"], host.get("Links"))
    if any(name.startswith("net.") for name in host["Sysctls"]):
        return True
    return any(asked) or any(
        name != DEFAULT or endpoint != endpoint_config() for name, endpoint in endpoints.items()
    )


def warnings(
    host: HostConfig, able: Abilities, spec_store_bypass: str = SPEC_STORE_BYPASS
) -> list[str]:
    """What the profile cannot do on this host, for the user to know."""
    if not host.get("Profile"):
        return []
    state = text(spec_store_bypass) or ""
    slowed = "seccomp" in state and SPEC_ALLOW not in able.seccomp_flags
    filtered = not host["Privileged"] and "seccomp=unconfined" not in host["SecurityOpt"]
    if not (slowed and filtered):
        return []
    runtime = f"runc {able.version}" if able.version else "this runtime"
    return [
        f"this kernel slows down processes with a seccomp filter, and {runtime} cannot tell it not"
        " to: use runc 1.2 or newer, spec_store_bypass_disable=prctl on the kernel's command line,"
        " or --security-opt seccomp=unconfined"
    ]
