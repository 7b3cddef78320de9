"""Where everything lives. One object, so that many engines can run side by side."""

from __future__ import annotations

import os
from typing import NamedTuple

DEFAULT_ROOT = "/var/lib/runengine"
DEFAULT_STATE = "/run/runengine"


class Paths(NamedTuple):
    """Directories of one engine: ``root`` survives a reboot, ``state`` dies with the boot."""

    root: str = DEFAULT_ROOT
    state: str = DEFAULT_STATE

    @property
    def database(self) -> str:
        """SQLite database with containers, image names and leases."""
        return f"{self.root}/state.db"

    @property
    def blobs(self) -> str:
        """Content store; blobs are at ``blobs/sha256/<hex>``."""
        return f"{self.root}/blobs"

    @property
    def layers(self) -> str:
        """Unpacked layers, ``layers/<hex>/diff``."""
        return f"{self.root}/layers"

    @property
    def journal(self) -> str:
        """What happened: the events of every object, newest file."""
        return f"{self.root}/events/journal.jsonl"

    def container(self, container_id: str) -> str:
        """Persistent directory of a container: writable layer, logs, exit record."""
        return f"{self.root}/containers/{container_id}"

    def container_state(self, container_id: str) -> str:
        """Volatile directory of a container: lock, monitor socket, bundle."""
        return f"{self.state}/containers/{container_id}"

    @property
    def instance(self) -> str:
        """What tells this engine's objects from other engines' where the host has one namespace
        for all: bridges, firewall tables. Empty for the engine on the default root.
        """
        if self.root == DEFAULT_ROOT:
            return ""
        import hashlib

        return hashlib.sha256(self.root.encode()).hexdigest()[:8]

    @property
    def firewall_table(self) -> str:
        """This engine's nftables table, of the family inet."""
        return f"runengine-{self.instance}" if self.instance else "runengine"

    @property
    def runtime_root(self) -> str:
        """``--root`` of the OCI runtime."""
        return f"{self.state}/runc"


def resolve(root: str | None = None, state: str | None = None) -> Paths:
    """Paths from flags, then ``RUNENGINE_ROOT`` and ``RUNENGINE_STATE``, then the defaults."""
    return Paths(
        os.path.abspath(root or os.environ.get("RUNENGINE_ROOT") or DEFAULT_ROOT),  # noqa: PTH100
        os.path.abspath(state or os.environ.get("RUNENGINE_STATE") or DEFAULT_STATE),  # noqa: PTH100
    )
