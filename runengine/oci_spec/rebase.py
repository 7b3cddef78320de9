"""What of a container's configuration is its user's own, and so goes along to another image.

``merge`` completes what the user gave from an image, and the record keeps the result alone. What
is as the image has it counts as the image's here, as nobody can tell any more who wanted it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

from runengine.oci_spec.merge import merge_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.model import ContainerConfig


class Command(NamedTuple):
    """What the user wants run from now on; None leaves it to what there was, or to the image."""

    entrypoint: list[str] | None = None
    """``[""]`` is no entrypoint."""
    cmd: list[str] | None = None


def rebased(
    config: ContainerConfig,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    command: Command,
) -> ContainerConfig:
    """A merged configuration on another image; ``before`` and ``after`` are images' configs.

    A command that is given is taken as ``create`` takes it: with an entrypoint, or for that of the
    new image.
    """
    own = _own(config, before)
    if command.entrypoint is not None or command.cmd is not None:
        own["Entrypoint"], own["Cmd"] = command
    return merge_image(own, after)


def _own(config: ContainerConfig, image: Mapping[str, Any]) -> ContainerConfig:
    own: Any = config.copy()
    own["Env"] = _own_env(config["Env"], image.get("Env") or ())
    for key in ("Labels", "ExposedPorts", "Volumes"):
        known = image.get(key) or {}
        own[key] = {
            name: value
            for name, value in own[key].items()
            if name not in known or known[name] != value
        }
    for key in ("User", "WorkingDir", "StopSignal"):
        if own[key] == (image.get(key) or ""):
            own[key] = ""
    for key in ("Healthcheck", "Shell"):
        if own[key] == image.get(key):
            own[key] = None
    own["Entrypoint"], own["Cmd"] = _own_command(config, image)
    return cast("ContainerConfig", own)


def _own_env(env: Sequence[str], image: Sequence[str]) -> list[str]:
    """The user's variables; a bare name for one of the image's that is gone."""
    names = {line.partition("=")[0] for line in env}
    gone = [line.partition("=")[0] for line in image if line.partition("=")[0] not in names]
    return [line for line in env if line not in image] + gone


def _own_command(config: ContainerConfig, image: Mapping[str, Any]) -> Command:
    entrypoint, cmd = config["Entrypoint"] or [], config["Cmd"] or []
    if entrypoint != (image.get("Entrypoint") or []):
        return Command(entrypoint or [""], cmd)
    return Command(None, None if cmd == (image.get("Cmd") or []) else cmd)
