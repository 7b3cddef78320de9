"""Docker and Podman out of a newer Debian: ``python -m scripts.bench.peer_root [DIRECTORY]``.

The budgets are ratios to Docker 28.5 and Podman 5.8, and Debian 12 has older ones. A Debian that
has them is unpacked, but nothing is run in it: in there scratch directories would be elsewhere,
and the host's runc would find another libseccomp. Copies of the programs are told instead where
their loader and libraries are; they run on the host like its own, beside its runc.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from scripts.bench.ending import orderly
from scripts.bench.harness import check_run

DEFAULT = Path("/var/cache/runengine-bench/forky")
SUITE, MIRROR = "forky", "http://deb.debian.org/debian"
SCRIPT = "/usr/share/debootstrap/scripts/sid"
"""An older debootstrap does not know the suite by its name."""
PACKAGES = ("docker.io", "docker-cli", "podman", "netavark", "aardvark-dns", "patchelf")
PROGRAMS = (
    "usr/bin/docker",
    "usr/sbin/dockerd",
    "usr/sbin/docker-proxy",
    "usr/bin/containerd",
    "usr/bin/containerd-shim-runc-v2",
    "usr/bin/podman",
    "usr/bin/conmon",
    "usr/lib/podman/netavark",
    "usr/lib/podman/aardvark-dns",
)
"""All that the engines start of their own; runc is not among them."""
SHOWN = ("dockerd", "docker", "containerd", "podman", "conmon", "netavark")
LIBRARIES = "usr/lib/x86_64-linux-gnu"
"""Of the machines that the budgets are for."""
LOADER = f"{LIBRARIES}/ld-linux-x86-64.so.2"
FOLDER = "programs"


def main() -> None:
    """Make the directory, unless it is there, and show what it has."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench.peer_root",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", nargs="?", type=Path, default=DEFAULT)
    root = parser.parse_args().directory.absolute()
    orderly()
    if not root.exists():
        make(root)
    for name in SHOWN:
        print(check_run([str(programs(root) / name), "--version"]).splitlines()[0])
    print(f"\npython -m scripts.bench --peers-root {root} …")


def programs(root: Path) -> Path:
    """The directory of the programs, for ``PATH``; exits where there is none."""
    found = root.absolute() / FOLDER
    if not found.is_dir():
        sys.exit(
            f"bench: there are no engines in {root}; "
            "'python -m scripts.bench.peer_root DIRECTORY' puts some into a new directory"
        )
    return found


def make(root: Path) -> None:
    """Unpack and install beside the final place, which is taken when all is there."""
    if not shutil.which("debootstrap"):
        sys.exit("bench: no debootstrap on PATH (apt-get install debootstrap)")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{root.name}-", dir=root.parent) as name:
        unfinished = Path(name, "root")
        say(f"unpacking Debian {SUITE}")
        check_run(["debootstrap", "--variant=minbase", SUITE, str(unfinished), MIRROR, SCRIPT])
        say(f"installing {', '.join(PACKAGES)}")
        install(unfinished)
        take(unfinished, root)
        unfinished.rename(root)


def install(root: Path) -> None:
    """Install the packages; no daemon is started."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")  # invoke-rc.d(8): not allowed
    policy.chmod(0o755)
    apt = ["chroot", str(root), "apt-get", "-q", "-y"]
    settings = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    check_run([*apt, "install", "--no-install-recommends", *PACKAGES], env=settings)
    check_run([*apt, "clean"])


def take(root: Path, final: Path) -> None:
    """Copy the programs, and tell them where loader and libraries will be.

    In two calls: after one of both, patchelf 0.18 has left programs that crash.
    """
    folder = root / FOLDER
    folder.mkdir()
    for program in PROGRAMS:
        shutil.copy2(root / program, folder)
    copies = [f"/{FOLDER}/{Path(program).name}" for program in PROGRAMS]
    # Not RUNPATH, which does not hold for the libraries of libraries.
    for change in (
        ["--force-rpath", "--set-rpath", f"{final}/{LIBRARIES}"],
        ["--set-interpreter", f"{final}/{LOADER}"],
    ):
        check_run(["chroot", str(root), "patchelf", *change, *copies])


def say(what: str) -> None:
    """It takes two minutes."""
    print(f"{what} …", file=sys.stderr)


if __name__ == "__main__":
    main()
