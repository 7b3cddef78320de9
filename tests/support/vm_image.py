"""The guest of tests/vm: Debian with systemd as a disk image, made once and kept in a cache.

``python -m tests.support.vm_image`` makes it if it is missing and says so. Everything in it comes
through the host's own apt mirror and pip settings; nothing in the guest needs a network.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("RUNENGINE_TEST_CACHE", "/var/cache/runengine-test"))
KEPT_S = 24 * 3600
"""How long an image is kept that nobody uses."""
SUITE = "trixie"
PYTHON = "3.13"
"""The suite's, for which wheels are fetched."""
SIZE = "3G"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev", "kmod", "util-linux"),
    *("linux-image-cloud-amd64", "initramfs-tools", "zstd", "apparmor", "procps", "iproute2"),
    *("runc", "busybox-static", "nftables", "tini"),
    *("python3", "python3-venv", "python3-dev", "python3-setuptools", "python3-wheel"),
    *("gcc", "libc6-dev", "libcap-dev"),
)
NOT_INSIDE = ("mypy", "ruff", "types-")
"""Of the test tools, what only looks at sources."""
SDISTS = ("python-prctl",)
"""Has no wheels: built in the guest's root, natively."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
             "manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64")  # fmt: skip
WHEELS = "/opt/wheels"
TESTS_VENV = "/opt/tests"
PREFIX = "/opt/runengine"
"""Where scripts/install puts the program."""
PREPARED = "/opt/prepared"
"""An environment made for PREFIX, with what the project needs but without the project itself:
making one under emulation takes minutes."""
APPARMOR_KEPT = ("abi", "abstractions", "disable", "force-complain", "local", "tunables",
                 "runc", "crun", "unprivileged_userns")  # fmt: skip
"""Of /etc/apparmor.d: without the profiles of programs that are not there, which take half of the
boot to load."""
MODULES = ("virtio_pci", "virtio_blk", "ext4", "quota_v2")
"""What finds and mounts the root; project quota included."""
QUIET_UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
               "e2scrub_all.timer", "fstrim.timer", "systemd-tmpfiles-clean.timer",
               "systemd-firstboot.service", "systemd-timesyncd.service")  # fmt: skip

# What the carried disk says is started once the guest has booted, as any service would be.
CARRY_UNIT = """\
[Unit]
Description=What the second disk brings
RequiresMountsFor=/carry
ConditionPathExists=/carry/start
After=multi-user.target

[Service]
Type=exec
ExecStart=/carry/start
StandardOutput=journal
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
"""
AUTOLOGIN = """\
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear %I 115200 linux
"""


class Image(NamedTuple):
    """What qemu starts from."""

    disk: Path
    kernel: Path
    initrd: Path


class Requirements(NamedTuple):
    """Of setup.cfg, as pip takes them."""

    program: list[str]
    """What the program needs, and what builds it, for scripts/install without a network."""
    tests: list[str]
    """What its tests need besides."""

    def split(self) -> tuple[list[str], list[str]]:
        """What pip shall fetch as wheels, and as sources."""
        everything = [*self.program, *self.tests]
        sources = [line for line in everything if line.startswith(SDISTS)]
        return [line for line in everything if line not in sources], sources


def requirements() -> Requirements:
    """What the guest's Python packages are."""
    settings = configparser.ConfigParser(inline_comment_prefixes=("#",))
    settings.read(REPOSITORY / "setup.cfg")
    program, tests = (
        [line.strip() for line in text.splitlines() if line.strip()]
        for text in (
            settings["options"]["install_requires"],
            settings["options.extras_require"]["test"],
        )
    )
    tests = [line for line in tests if not line.startswith(NOT_INSIDE)]
    return Requirements([*program, "setuptools>=66", "wheel"], tests)


def key() -> str:
    """Changes with whatever goes into the image."""
    recipe = Path(__file__).read_text(encoding="utf-8")
    text = repr((recipe, requirements()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ensure() -> Image:
    """The image, from the cache or newly made; takes about two minutes then."""
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    place = CACHE / f"vm-{key()}"
    image = Image(place / "disk.img", place / "vmlinuz", place / "initrd.img")
    with _locked(CACHE / "lock"):
        if not place.exists():
            _remove_unused()
            _make(place)
        os.utime(place)
    return image


def _remove_unused() -> None:
    """Other checkouts may be at work with other images: leave those."""
    for old in CACHE.glob("vm-*"):
        if time.time() - old.stat().st_mtime > KEPT_S:
            shutil.rmtree(old)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(place: Path) -> None:
    work = CACHE / "building"
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(mode=0o700)
    root = work / "root"
    for text, step in (
        (f"Debian {SUITE} by debootstrap", _debootstrap),
        ("settings", _configure),
        ("Python packages", _python),
        ("initial ram disk", _initrd),
        ("disk image", _disk),
    ):
        began = time.monotonic()
        step(work, root)
        print(f"guest: {text}: {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(root)
    shutil.rmtree(work / "wheels")
    work.rename(place)


def _run(*command: str | Path, log: Path) -> None:
    """Run a step; its output goes to a log whose end shows when it fails."""
    with log.open("ab") as file:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    if done.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise SystemExit(f"guest: {command[0]} failed ({done.returncode}); end of {log}:\n{end}")


def mirror() -> str:
    """Where the host gets Debian from; Debian's own address if it is not a Debian."""
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(ORIGIN) $(RELEASE)"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        site, _, rest = line.partition(" ")
        # Not the archives of updates and security, which are no base to install from.
        if rest.startswith("Debian ") and not rest.endswith(("-security", "-updates")):
            return site
    return MIRROR


def _debootstrap(work: Path, root: Path) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    # What it mounts below the root must not outlive it, however it ends.
    apart = ["unshare", "--mount", "--propagation", "private"]
    _run(*apart, *command, SUITE, root, mirror(), log=work / "log")


def _chroot(work: Path, root: Path, script: str) -> None:
    """Run shell commands inside; the mounts go with the mount namespace."""
    inside = (
        'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" &&'
        ' exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root'
        ' LC_ALL=C.UTF-8 /bin/sh -ec "$2"'
    )
    _run("unshare", "--mount", "--propagation", "private", "sh", "-ec", inside, "sh", root, script,
         log=work / "log")  # fmt: skip


def _configure(work: Path, root: Path) -> None:
    files = {
        "etc/hostname": "guest\n",
        "etc/hosts": "127.0.0.1 localhost guest\n",
        # Without one, systemd would take every boot for the first and ask questions.
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/fstab": "LABEL=carry /carry ext4 nofail 0 0\n",
        "etc/systemd/journald.conf.d/keep.conf":
            "[Journal]\nStorage=persistent\nMaxLevelConsole=info\nRateLimitIntervalSec=0\n",
        "etc/systemd/system/carry.service": CARRY_UNIT,
        "etc/systemd/system/serial-getty@ttyS0.service.d/login.conf": AUTOLOGIN,
        "etc/initramfs-tools/conf.d/runengine": "MODULES=list\nCOMPRESS=zstd\n",
        "etc/initramfs-tools/modules": "\n".join(MODULES) + "\n",
    }  # fmt: skip
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    (root / "carry").mkdir()
    for profile in (root / "etc/apparmor.d").iterdir():
        if profile.is_file() and profile.name not in APPARMOR_KEPT:
            profile.unlink()
    quiet = " ".join(QUIET_UNITS)
    _chroot(work, root, f"passwd -d root; systemctl mask {quiet}; systemctl enable carry.service")


def _python(work: Path, root: Path) -> None:
    """Fetch with the host's pip and its settings; build and install inside, without a network."""
    wanted = requirements()
    wheels, sources = wanted.split()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    platforms = [f"--platform={name}" for name in PLATFORMS]
    target = [f"--python-version={PYTHON}", "--implementation=cp", "--only-binary=:all:"]
    found = work / "wheels"
    _run(*pip, "--dest", found, *target, *platforms, *wheels, log=work / "log")
    _run(*pip, "--dest", found, "--no-deps", "--no-binary=:all:", *sources, log=work / "log")
    shutil.copytree(found, root / WHEELS.lstrip("/"))
    build = "pip wheel --quiet --no-index --no-deps --no-build-isolation"
    program = " ".join(f"'{line}'" for line in wanted.program)
    tests = " ".join(f"'{line}'" for line in wanted.tests)
    offline = f"--quiet --no-index --find-links {WHEELS}"
    _chroot(work, root, f"""
        python3 -m venv --system-site-packages /tmp/build
        /tmp/build/bin/{build} --wheel-dir {WHEELS} {WHEELS}/*.tar.gz
        rm -rf /tmp/build {WHEELS}/*.tar.gz
        python3 -m venv {TESTS_VENV}
        {TESTS_VENV}/bin/pip install {offline} {program} {tests}
        python3 -m venv {PREFIX}/venv
        {PREFIX}/venv/bin/pip install {offline} {program}
        mv {PREFIX} {PREPARED}
    """)


def _initrd(work: Path, root: Path) -> None:
    _chroot(work, root, "update-initramfs -u -k all; apt-get clean; rm -rf /var/lib/apt/lists/*")
    # Else the first boot does what package installation has done: systemd-update-done.service(8).
    _chroot(work, root, "ldconfig; touch /etc/.updated /var/.updated")
    for name in ("vmlinuz", "initrd.img"):
        (found,) = (root / "boot").glob(f"{name}-*")
        shutil.copy(found, work / name)


def _disk(work: Path, root: Path) -> None:
    options = ("-q", "-t", "ext4", "-O", "project,quota", "-d")
    _run("mke2fs", *options, root, work / "disk.img", SIZE, log=work / "log")


if __name__ == "__main__":
    missing = [name for name in ("qemu-system-x86_64", "debootstrap", "mke2fs", "debugfs")
               if not shutil.which(name)]  # fmt: skip
    if missing:
        raise SystemExit(f"guest: not installed: {' '.join(missing)}")
    print(f"guest: {ensure().disk}")
