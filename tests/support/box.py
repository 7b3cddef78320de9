"""A root filesystem in which real runc runs built specs."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from runengine.cgroups import features, layout, limits
from runengine.linux import kernel
from runengine.oci_spec import runtime, user_mounts, users
from runengine.oci_spec.build import SpecFacts, build_spec
from tests.support import specs

if TYPE_CHECKING:
    from pathlib import Path

HERE = kernel.probe()


class Box:
    """A root filesystem and a runtime root of one test."""

    def __init__(self, base: Path, archive: Path) -> None:
        self.base = base
        self.rootfs = base / "rootfs"
        self.rootfs.mkdir()
        with tarfile.open(archive) as tar:
            # Debian 12's Python 3.11.2 has no filters yet, later ones want to be given one.
            known = hasattr(tarfile, "fully_trusted_filter")
            options: dict[str, Any] = {"filter": "fully_trusted"} if known else {}
            tar.extractall(self.rootfs, **options)
        self.name = f"spec-test-{os.getpid()}-{os.urandom(4).hex()}"

    def facts(self, host: Any, args: list[str], **changes: Any) -> SpecFacts:
        passwd = (self.rootfs / "etc/passwd").read_text()
        group = (self.rootfs / "etc/group").read_text()
        fields: dict[str, Any] = {
            "container_id": "a" * 64,
            "rootfs": str(self.rootfs),
            "hostname": "box",
            "args": args,
            "env": [],
            "cwd": "/",
            "user": users.resolve_user(changes.pop("user", ""), passwd, group),
            "kernel": HERE,
            "cgroups_path": layout.container_path(self.name, "", "box"),
            "mounts": user_mounts.resolve_all(host),
        }
        return SpecFacts(**{**fields, **changes})

    def spec(self, *args: str, config: Any = None, **changes: Any) -> dict[str, Any]:
        """Keys of HostConfig begin with a capital; the others are facts."""
        host = specs.host(**{key: value for key, value in changes.items() if key[0].isupper()})
        facts = {key: value for key, value in changes.items() if key[0].islower()}
        checked = limits.check(host, features.probe())
        spec = build_spec(
            specs.config(**(config or {})), checked.host, self.facts(host, list(args), **facts)
        )
        runtime.Spec.model_validate(spec)
        return spec

    def write(self, spec: dict[str, Any]) -> None:
        (self.base / "config.json").write_text(json.dumps(spec))

    def runc(self, *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["runc", "--root", str(self.base / "runc"), *args],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def start(self, spec: dict[str, Any]) -> None:
        """Leave a container running; it must not hold our pipes."""
        self.write(spec)
        null = subprocess.DEVNULL
        subprocess.run(
            ["runc", "--root", self.base / "runc", "run", "--detach", "-b", self.base, self.name],
            stdin=null,
            stdout=null,
            stderr=null,
            check=True,
        )

    def run(self, *args: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of its own."""
        self.write(self.spec(*args, **changes))
        return self.runc("run", "-b", str(self.base), self.name)

    def sh(self, script: str, **changes: Any) -> str:
        """Output of a shell script that has to succeed."""
        done = self.run("/bin/sh", "-ec", script, **changes)
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    def compile(self, name: str, source: str, *flags: str) -> str:
        """A static program in the root filesystem; its path inside."""
        (self.base / f"{name}.c").write_text(source)
        done = subprocess.run(
            ["gcc", "-O1", "-static", *flags, "-o", self.rootfs / "bin" / name,
             self.base / f"{name}.c"],
            capture_output=True,
            text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"gcc {' '.join(flags)} cannot build here: {done.stderr[-200:]}")
        return f"/bin/{name}"

    def clear(self) -> None:
        """Leave nothing behind, whatever the test did."""
        self.runc("delete", "--force", self.name)
        layout.remove(layout.cgroup_dirs(f"/{self.name}"))


def status(text: str) -> dict[str, str]:
    """Fields of a /proc/PID/status."""
    return {key: value.strip() for key, _, value in (x.partition(":") for x in text.splitlines())}


def capabilities(text: str, field: str = "CapEff") -> set[str]:
    """The capabilities in a /proc/PID/status."""
    return set(kernel.capability_names(int(status(text)[field], 16)))
