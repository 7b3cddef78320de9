"""The engines that are compared, each on a scratch root of its own with the same image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runengine.netns import namespace
from scripts.bench.ending import daemon, held
from scripts.bench.harness import check_run, name_engines
from scripts.bench.hosts import host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scripts.bench.hosts import Host

REPOSITORY = Path(__file__).parents[2]
IMAGE = "bench/busybox:latest"
DAEMON_START_S = 60


class Peer(NamedTuple):
    """An engine's command line up to the verb, and what it needs in the environment.

    ``daemon`` is the pid of its service, 0 without one.
    """

    name: str
    argv: list[str]
    settings: dict[str, str]
    host: Host
    daemon: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """What its commands run with."""
        return {**os.environ, **self.settings}

    def run(self, *arguments: str) -> str:
        """Run a verb that must succeed, on the engine's host; returns its output."""
        with namespace.entered(self.host.inside):
            return check_run([*self.argv, *arguments], env=self.environment)

    def call(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Run a verb that may fail."""
        argv = [*self.argv, *arguments]
        with namespace.entered(self.host.inside), held():
            return subprocess.run(argv, capture_output=True, check=False, env=self.environment)

    def clear(self) -> None:
        """Remove every container."""
        names = self.run("ps", "-aq").split()
        # Podman's waits ten seconds for what does not heed SIGTERM.
        at_once = ["-t", "0"] if self.name == PODMAN else []
        if names:
            self.run("rm", "-f", *at_once, *names)


WARM, COLD, DOCKER, PODMAN = "runengine", "runengine cold", "docker", "podman"


@contextmanager
def peers(scratch: Path, programs: Path | None) -> Iterator[dict[str, Peer]]:
    """Our engine with its service and without, on the same containers; Docker and Podman.

    The last two from ``programs`` or, without it, as they are installed on the host, if they are.
    All have ``IMAGE``; at the end no container is left.
    """
    tarball = busybox_tar(scratch)
    search = os.pathsep.join([*([str(programs)] if programs else []), os.environ["PATH"]])
    theirs = {"PATH": search}
    with ExitStack() as stack:
        cold = runengine(scratch, stack.enter_context(host()))
        found = {WARM: stack.enter_context(service(cold, scratch)), COLD: cold}
        if shutil.which("dockerd", path=search) and shutil.which("docker", path=search):
            own = stack.enter_context(host())
            found[DOCKER] = stack.enter_context(docker(scratch, own, theirs))
        if shutil.which("podman", path=search):
            found[PODMAN] = podman(scratch, stack.enter_context(host()), theirs, programs)
        name_engines(versions(found))
        for peer in found.values():
            if peer is not cold:
                peer.run("import", str(tarball), IMAGE)
        try:
            yield found
        finally:
            for peer in found.values():
                with suppress(SystemExit):  # the others are to be cleared as well
                    peer.clear()


def runengine(scratch: Path, own: Host) -> Peer:
    """This checkout's engine as ``scripts/install`` puts it, but for the service."""
    command = scratch / "bin/runengine"
    command.parent.mkdir()
    folders = [str(REPOSITORY), *dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))]
    command.write_text(
        f"#!{sys.executable} -IS\nimport sys\n\nsys.path += {folders!r}\n"
        "from runengine.front import main\n\nmain()\n"
    )
    command.chmod(0o755)
    argv = [str(command), "--root", str(scratch / "root"), "--state", str(scratch / "run/state")]
    return Peer(COLD, argv, {"RUNENGINE_LAUNCHER": "off"}, own)


@contextmanager
def service(cold: Peer, scratch: Path) -> Iterator[Peer]:
    """``runengine serve`` on the same directories, ended with the benchmark.

    A warm call that would run cold fails, so that no figure is another's.
    """
    log = scratch / "serve.log"
    with daemon([*cold.argv, "serve"], log, where=cold.host.inside) as process:
        settings = {"RUNENGINE_LAUNCHER": "require"}
        warm = Peer(WARM, cold.argv, settings, cold.host, process.pid)
        await_daemon(warm, "version", process, log)
        yield warm


def await_daemon(peer: Peer, verb: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until ``verb`` succeeds; exits with the daemon's last words if it never does."""
    deadline = time.monotonic() + DAEMON_START_S
    while peer.call(verb).returncode:
        if time.monotonic() > deadline or process.poll() is not None:
            sys.exit(f"bench: the service of {peer.name} does not start: {log.read_text()}")
        time.sleep(0.2)


@contextmanager
def docker(scratch: Path, own: Host, settings: dict[str, str]) -> Iterator[Peer]:
    """A dockerd of our own, ended with the benchmark."""
    socket = f"unix://{scratch}/docker.sock"
    argv = ["dockerd", "--host", socket, "--data-root", f"{scratch}/docker"]
    argv += ["--exec-root", f"{scratch}/run/docker", "--pidfile", f"{scratch}/docker.pid"]
    log = scratch / "dockerd.log"
    environment = {**os.environ, **settings}
    with daemon(argv, log, where=own.inside, environment=environment) as process:
        peer = Peer(DOCKER, ["docker", "--host", socket], settings, own, process.pid)
        await_daemon(peer, "info", process, log)
        yield peer


def podman(scratch: Path, own: Host, theirs: dict[str, str], programs: Path | None) -> Peer:
    """Podman on scratch storage, with the runtime that the others have, and netavark."""
    (scratch / "podman-tmp").mkdir()
    settings = scratch / "containers.conf"
    settings.write_text(podman_settings(scratch, programs))
    argv = ["podman", "--root", f"{scratch}/podman", "--runroot", f"{scratch}/run/podman"]
    argv += ["--cgroup-manager", "cgroupfs", "--runtime", "runc", "--events-backend", "file"]
    argv += ["--storage-driver", "overlay"]
    quiet = {"PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    return Peer(PODMAN, argv, {**theirs, **quiet, "CONTAINERS_CONF": str(settings)}, own)


def podman_settings(scratch: Path, programs: Path | None) -> str:
    """What its command line has no flags for; it does not look for its helpers along ``PATH``."""
    # Its own defaults raise limits, which takes CAP_SYS_RESOURCE.
    containers = ['default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]']
    engine = [f'image_copy_tmp_dir = "{scratch}/podman-tmp"']  # not /var/tmp: another disk
    if programs:
        profile = programs.parent / "usr/share/containers/seccomp.json"
        containers += [f'seccomp_profile = "{profile}"']
        engine += [f'conmon_path = ["{programs}/conmon"]', f'helper_binaries_dir = ["{programs}"]']
    network = [f'network_config_dir = "{scratch}/podman-networks"', 'network_backend = "netavark"']
    sections = {"containers": containers, "engine": engine, "network": network}
    return "".join(f"[{name}]\n" + "\n".join([*lines, ""]) for name, lines in sections.items())


def versions(found: dict[str, Peer]) -> list[str]:
    """What the others are, and the runtime that all have."""
    asked = {DOCKER: "Docker {{.Server.Version}}", PODMAN: "Podman {{.Client.Version}}"}
    theirs = [
        found[name].run("version", "--format", words).strip()
        for name, words in asked.items()
        if name in found
    ]
    return [*theirs, check_run(["runc", "--version"]).splitlines()[0].replace(" version", "")]


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
