"""``linux.devices`` and the device cgroup (config-linux.md#devices, #allowed-device-list)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.oci_spec import devices

if TYPE_CHECKING:
    from runengine.linux.devices import DeviceEntry
    from runengine.model import ContainerConfig, HostConfig
    from runengine.oci_spec.facts import SpecFacts


def set_devices(
    spec: dict[str, Any], _config: ContainerConfig, host: HostConfig, facts: SpecFacts
) -> None:
    """Nodes that the runtime makes beside the standard ones, and what may be opened."""
    nodes = {entry.path: entry for entry in (*facts.host_devices, *facts.devices)}
    if nodes:
        spec["linux"]["devices"] = [node(entry) for entry in nodes.values()]
    if host["Privileged"]:
        spec["linux"]["resources"]["devices"] = [{"allow": True, "access": "rwm"}]
        return
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [devices.rule(*number) for number in devices.DEFAULT_ACCESS]
    # Making a node is harmless where opening it is not allowed.
    rules += [devices.rule("c", None, None, "m"), devices.rule("b", None, None, "m")]
    rules += [devices.rule(e.type, e.major, e.minor, e.access) for e in facts.devices]
    for text in host["DeviceCgroupRules"]:
        rules += devices.parse_rule(text)
    spec["linux"]["resources"]["devices"] = rules


def node(entry: DeviceEntry) -> dict[str, Any]:
    """One entry of ``linux.devices``."""
    return {
        "path": entry.path,
        "type": entry.type,
        "major": entry.major,
        "minor": entry.minor,
        "fileMode": entry.mode,
        "uid": entry.uid,
        "gid": entry.gid,
    }
