"""Bare ``runc`` as the floor: nothing but the runtime, on Docker's own spec and on ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.bench.cpu import OWN
from scripts.bench.harness import check_run
from scripts.bench.peers import COLD, DOCKER, IMAGE

if TYPE_CHECKING:
    from scripts.bench.peers import Peer

RUNC = "runc, Docker's spec"
RUNC_OURS = "runc, our spec"
NULL = subprocess.DEVNULL
DEATH_S = 10


class Bundle:
    """A bundle for ``runc``, whose containers have names and cgroups of their own."""

    def __init__(self, scratch: Path, spec: dict[str, Any]) -> None:
        self._scratch = scratch
        self._spec = spec
        self.name = f"{OWN}-{scratch.name}"
        """Nobody else's on this machine."""
        self.root = f"{scratch.parent}/run/{scratch.name}"

    def write(self, name: str, *command: str, netns: str = "") -> str:
        """Write a bundle that runs ``command``; its directory. ``netns``: a namespace to join."""
        directory = self._scratch / "bundles" / name
        directory.mkdir(parents=True, exist_ok=True)
        process = {**self._spec["process"], "args": list(command), "terminal": False}
        linux = {**self._spec["linux"], "cgroupsPath": f"/{OWN}/{name}"}
        if netns:
            own = [one for one in linux["namespaces"] if one["type"] != "network"]
            linux["namespaces"] = [*own, {"type": "network", "path": netns}]
        spec = {**self._spec, "process": process, "linux": linux}
        (directory / "config.json").write_text(json.dumps(spec))
        return str(directory)

    def run(self, name: str, directory: str) -> None:
        """Run it to its end."""
        check_run(["runc", "--root", self.root, "run", "-b", directory, name])

    def start(self, name: str, directory: str) -> None:
        """Start it and leave it running; it must not hold our pipes."""
        argv = ["runc", "--root", self.root, "run", "--detach", "-b", directory, name]
        subprocess.run(argv, stdin=NULL, stdout=NULL, stderr=NULL, check=True)

    def remove(self, name: str) -> None:
        """Kill and delete; ``delete --force`` would sleep for 100 ms in between."""
        check_run(["runc", "--root", self.root, "kill", name, "KILL"])
        deadline = time.monotonic() + DEATH_S
        argv = ["runc", "--root", self.root, "delete", name]
        while subprocess.run(argv, capture_output=True, check=False).returncode:
            if time.monotonic() > deadline:
                raise TimeoutError(f"runc cannot delete {name}")
            time.sleep(0.002)


def bundles(scratch: Path, found: dict[str, Peer]) -> dict[str, Bundle]:
    """What there is: our own spec always, Docker's where Docker is."""
    made = {RUNC_OURS: Bundle(scratch / "floor-ours", our_spec(scratch, found[COLD]))}
    if DOCKER in found:
        return {RUNC: Bundle(scratch / "floor", docker_spec(scratch, found[DOCKER])), **made}
    return made


def our_spec(scratch: Path, ours: Peer) -> dict[str, Any]:
    """What our engine gives to the runtime."""
    target = scratch / "bundle"
    ours.run("spec", "--bundle", str(target), "--network", "none", IMAGE, "true")
    spec: dict[str, Any] = json.loads((target / "config.json").read_text())
    return spec


def docker_spec(scratch: Path, docker: Peer) -> dict[str, Any]:
    """What Docker gives to it, with the same root file system and without Docker's hook."""
    name = docker.run("run", "-d", "--network", "none", IMAGE, "sleep", "1000").strip()
    tasks = scratch / "run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby"
    spec: dict[str, Any] = json.loads((tasks / name / "config.json").read_text())
    kept = scratch / "floor-files"
    kept.mkdir()
    for mount in spec["mounts"]:
        if mount["source"].startswith(str(scratch)):  # /etc/hosts and the like go with Docker's
            source = Path(mount["source"])
            mount["source"] = str(kept / source.name)
            if source.is_file():
                shutil.copy2(source, kept)
            else:
                (kept / source.name).mkdir()
    docker.run("rm", "-f", name)
    spec["root"] = {**spec["root"], "path": str(scratch / "rootfs")}
    spec.pop("hooks", None)
    return spec
