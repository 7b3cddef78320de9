"""What ``volume create`` is asked for, in Docker's words (Docker Engine API, VolumeCreate)."""

from __future__ import annotations

from typing import TypedDict


class VolumeConfig(TypedDict):
    """A volume that is to be created; an empty name lets the engine choose one."""

    Name: str
    Driver: str
    DriverOpts: dict[str, str]
    Labels: dict[str, str]


def volume_config(name: str = "", driver: str = "") -> VolumeConfig:
    """A volume with every default: a directory below the engine's root."""
    return {"Name": name, "Driver": driver, "DriverOpts": {}, "Labels": {}}
