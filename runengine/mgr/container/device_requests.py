"""Devices that were asked for by what they are: CDI names, and ``--gpus``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import Unavailable
from runengine.mgr.container import cdi as host_cdi
from runengine.oci_spec import cdi, gpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.model import DeviceRequest
    from runengine.oci_spec.users import User

HOOK = "nvidia-container-runtime-hook"
"""NVIDIA's own way from before CDI, where it is installed."""


def resolve(
    requests: Sequence[DeviceRequest], directories: Sequence[str], user: User
) -> list[cdi.Edits]:
    """What the container gets. Raises NotFound, InvalidParameter, Unavailable, Unsupported."""
    registry = host_cdi.Registry(directories)
    names: list[cdi.Name] = []
    edits: list[cdi.Edits] = []
    for request in requests:
        if request["Driver"] == cdi.DRIVER:
            names += map(cdi.parse_name, request["DeviceIDs"] or ())
        elif not gpus.is_for_nvidia(request):
            raise _unknown(request)
        elif registry.has_kind(gpus.KIND):
            names += [cdi.Name(gpus.KIND, name) for name in gpus.names_of(request)]
        elif gpus.names_of(request):
            edits.append(_by_hook(request, registry))
    return [*edits, *host_cdi.edits_of(registry, names, user)]


def _by_hook(request: DeviceRequest, registry: host_cdi.Registry) -> cdi.Edits:
    import shutil

    from runengine.runtime.runc import ENVIRONMENT

    program = shutil.which(HOOK, path=ENVIRONMENT["PATH"])
    if program is None:
        raise _no_driver(request, registry)
    env = [f"NVIDIA_VISIBLE_DEVICES={','.join(gpus.names_of(request))}"]
    capabilities = gpus.driver_capabilities(request)
    if capabilities:
        env.append(f"NVIDIA_DRIVER_CAPABILITIES={','.join(capabilities)}")
    path = f"PATH={ENVIRONMENT['PATH']}"
    section = {"path": program, "args": [program, "prestart"], "env": [path]}
    return cdi.Edits(env=tuple(env), hooks=(cdi.Hook("prestart", section),))


def _no_driver(request: DeviceRequest, registry: host_cdi.Registry) -> Unavailable:
    damage = "; ".join(str(error) for error in registry.damaged)
    directory = registry.directories[0] if registry.directories else "/etc/cdi"
    return Unavailable(
        _brief(request),
        details=damage or f"no CDI specification of {gpus.KIND}, and no {HOOK}",
        resolution="install NVIDIA's driver and container toolkit, then: "
        f"nvidia-ctk cdi generate --output={directory}/nvidia.yaml",
    )


def _unknown(request: DeviceRequest) -> Unavailable:
    return Unavailable(
        _brief(request), resolution="name the device itself: --device VENDOR/CLASS=NAME"
    )


def _brief(request: DeviceRequest) -> str:
    """Docker's words, with Go's brackets."""
    wanted = " ".join(f"[{' '.join(words)}]" for words in request["Capabilities"] or ())
    return f'could not select device driver "{request["Driver"]}" with capabilities: [{wanted}]'
