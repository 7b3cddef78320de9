"""``linux.namespaces``, ``hostname`` and ``linux.sysctl`` (config-linux.md#namespaces)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter
from runengine.oci_spec import idmaps, namespaces, sysctls

if TYPE_CHECKING:
    from runengine.model import ContainerConfig, HostConfig
    from runengine.oci_spec.facts import SpecFacts, UserFacts

_ORDER = ("mount", "network", "uts", "pid", "ipc", "cgroup")


def set_namespaces(
    spec: dict[str, Any], config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """New, joined and host namespaces; what may only be set in an own one."""
    modes = namespaces.modes(host, facts.kernel)
    resolved = {kind: _resolve(kind, modes[kind], facts) for kind in _ORDER if kind != "mount"}
    section: list[dict[str, str]] = []
    for kind in _ORDER:
        path = resolved.get(kind)
        if path == namespaces.HOST:
            continue
        section.append({"type": kind, "path": path} if path else {"type": kind})
    if facts.userns is not None:
        section.insert(0, {"type": "user", "path": facts.userns.path})
        _set_maps(spec["linux"], facts.userns)
    spec["linux"]["namespaces"] = section
    # Only a namespace of its own: setting them in a joined one would change the other container.
    own = {kind for kind, mode in modes.items() if mode.kind == namespaces.PRIVATE}
    if "uts" in own and facts.hostname:
        spec["hostname"] = facts.hostname
    limits = {"last_gid": idmaps.last_after_root(facts.userns.maps.gids)} if facts.userns else {}
    values = sysctls.effective(config, host, own=own, kernel=facts.kernel, **limits)
    if values:
        spec["linux"]["sysctl"] = values


def _set_maps(linux: dict[str, Any], userns: UserFacts) -> None:
    if not userns.path_alone:
        linux["uidMappings"] = idmaps.section(userns.maps.uids)
        linux["gidMappings"] = idmaps.section(userns.maps.gids)


def _resolve(kind: str, mode: namespaces.Mode, facts: SpecFacts) -> str | None:
    if kind in facts.namespaces:
        return facts.namespaces[kind]
    if mode.kind == namespaces.HOST:
        return namespaces.HOST
    if mode.kind == namespaces.PRIVATE:
        return None
    raise InvalidParameter(
        f"cannot join the {kind} namespace of container {mode.container}: it is not running",
        resolution=f"start {mode.container} first",
    )
