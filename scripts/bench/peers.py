"""The engines that are compared, each on a scratch root of its own with the same image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from scripts.bench.harness import check_run

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "bench/busybox:latest"
DAEMON_START_S = 60


class Peer(NamedTuple):
    """An engine's command line up to the verb."""

    name: str
    argv: list[str]

    def run(self, *arguments: str) -> str:
        """Run a verb that must succeed; returns its output."""
        return check_run([*self.argv, *arguments])


@contextmanager
def peers(scratch: Path) -> Iterator[dict[str, Peer]]:
    """Our engine, and Docker and Podman where they are installed, with ``IMAGE`` in each."""
    tarball = busybox_tar(scratch)
    with ExitStack() as stack:
        found = {"runengine": runengine(scratch)}
        if shutil.which("dockerd") and shutil.which("docker"):
            found["docker"] = stack.enter_context(docker(scratch))
        if shutil.which("podman"):
            found["podman"] = podman(scratch)
        for peer in found.values():
            peer.run("import", str(tarball), IMAGE)
        yield found


def runengine(scratch: Path) -> Peer:
    """This checkout's engine, run by the interpreter that runs the benchmark."""
    roots = ["--root", str(scratch / "root"), "--state", str(scratch / "state")]
    command = os.environ.get("RUNENGINE", str(Path(sys.executable).parent / "runengine"))
    return Peer("runengine", [command, *roots])


@contextmanager
def docker(scratch: Path) -> Iterator[Peer]:
    """A dockerd of our own, without networks, ended with the benchmark."""
    socket = f"unix://{scratch}/docker.sock"
    argv = ["dockerd", "--host", socket, "--data-root", f"{scratch}/docker"]
    argv += ["--exec-root", f"{scratch}/docker-run", "--pidfile", f"{scratch}/docker.pid"]
    argv += ["--bridge", "none", "--iptables=false", "--ip6tables=false"]
    with (scratch / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(argv, stdout=log, stderr=log)
    peer = Peer("docker", ["docker", "--host", socket])
    try:
        deadline = time.monotonic() + DAEMON_START_S
        while subprocess.run([*peer.argv, "info"], capture_output=True, check=False).returncode:
            if time.monotonic() > deadline or daemon.poll() is not None:
                sys.exit(f"bench: dockerd does not start, see {scratch}/dockerd.log")
            time.sleep(0.2)
        yield peer
    finally:
        daemon.terminate()
        daemon.wait()


def podman(scratch: Path) -> Peer:
    """Podman on scratch storage, with the runtime that the others have."""
    # Its own defaults raise limits, which takes CAP_SYS_RESOURCE.
    limits = '"nofile=1024:4096", "nproc=4096:4096"'
    settings = scratch / "containers.conf"
    settings.write_text(f"[containers]\ndefault_ulimits = [{limits}]\n")
    argv = ["env", f"CONTAINERS_CONF={settings}"]
    argv += ["podman", "--root", f"{scratch}/podman", "--runroot", f"{scratch}/podman-run"]
    argv += ["--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "file"]
    return Peer("podman", argv)


def busybox_tar(scratch: Path) -> Path:
    """A root filesystem with every applet of the host's static busybox."""
    root = scratch / "rootfs"
    (root / "bin").mkdir(parents=True)
    for name in ("tmp", "etc", "proc", "sys", "dev"):
        (root / name).mkdir()
    shutil.copy2("/bin/busybox", root / "bin/busybox")
    for applet in check_run(["/bin/busybox", "--list"]).split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    target = scratch / "rootfs.tar"
    check_run(["tar", "-C", str(root), "-cf", str(target), "."])
    return target


def bundle(scratch: Path, ours: Peer, *command: str) -> Path:
    """A bundle for a bare ``runc run``, with the very spec that our engine runs."""
    target = scratch / "bundle"
    ours.run("spec", "--bundle", str(target), "--network", "none", IMAGE, *command)
    spec = json.loads((target / "config.json").read_text())
    spec["process"]["terminal"] = False
    (target / "config.json").write_text(json.dumps(spec))
    return target
