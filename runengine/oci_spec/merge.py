"""What a container takes over from its image (Docker's rules; image-spec config.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from runengine.errors import InvalidParameter
from runengine.oci_spec.env import merge_env

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runengine.model import ContainerConfig, HealthConfig


def merge_image(config: ContainerConfig, image: Mapping[str, Any]) -> ContainerConfig:
    """A copy of the user's configuration, completed from the image's ``config`` object.

    With an entrypoint of the user's, the image's entrypoint and command are ignored; ``[""]``
    stands for "no entrypoint". Env is merged by name; labels, ports and volumes are united.
    """
    merged = config.copy()
    _merge_command(merged, image)
    merged["Env"] = merge_env(image.get("Env") or (), config["Env"])
    for key in ("Labels", "ExposedPorts", "Volumes"):
        merged[key] = {**(image.get(key) or {}), **config[key]}
    for key in ("User", "WorkingDir", "StopSignal"):
        merged[key] = config[key] or image.get(key) or ""  # type: ignore[literal-required]
    merged["Healthcheck"] = _merge_health(config["Healthcheck"], image.get("Healthcheck"))
    if config["Shell"] is None:
        merged["Shell"] = image.get("Shell")
    return merged


def _merge_command(merged: ContainerConfig, image: Mapping[str, Any]) -> None:
    if merged["Entrypoint"]:
        if merged["Entrypoint"] == [""]:
            merged["Entrypoint"] = None
        return
    merged["Entrypoint"] = list(image.get("Entrypoint") or ()) or None
    if not merged["Cmd"]:
        merged["Cmd"] = list(image.get("Cmd") or ()) or None


def _merge_health(own: HealthConfig | None, image: HealthConfig | None) -> HealthConfig | None:
    """The user's health check; what it leaves open (nothing, or 0) is the image's."""
    if own is None or image is None:
        return own if image is None else image
    given = {key: value for key, value in own.items() if value}
    return cast("HealthConfig", {**image, **given})


def command(config: ContainerConfig) -> list[str]:
    """Entrypoint and command of a merged configuration. Raises InvalidParameter if empty."""
    args = [*(config["Entrypoint"] or ()), *(config["Cmd"] or ())]
    if not args:
        raise InvalidParameter(
            "no command specified", resolution="the image has none: give one after the image"
        )
    if any("\0" in arg for arg in args):
        raise InvalidParameter("an argument of the command holds a NUL character")
    return args
