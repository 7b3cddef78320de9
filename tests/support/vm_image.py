"""The guest of tests/vm: Debian with systemd as a disk image, made once and kept in a cache.

``python -m tests.support.vm_image`` makes it if it is missing and says so. Everything in it comes
through the host's own apt mirror and pip settings; nothing in the guest needs a network. Where
those cannot be reached there is no guest, which is no failure: it ends with NOTHING_TO_FETCH_FROM.
"""

from __future__ import annotations

import configparser
import contextlib
import fcntl
import hashlib
import lzma
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import zstandard

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
CACHE = Path(os.environ.get("RUNENGINE_TEST_CACHE", "/var/cache/runengine-test"))
KEPT_S = 24 * 3600
"""How long an image is kept that nobody uses."""
SUITE = "trixie"
NEWER_SUITE = "forky"
"""Has a runc that makes id-mapped mounts itself, which SUITE's does not."""
NEWER_RUNC = "/opt/newer-runc/runc"
PYTHON = "3.13"
"""The suite's, for which wheels are fetched."""
SIZE = "3G"
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "udev", "kmod", "util-linux"),
    *("linux-image-cloud-amd64", "initramfs-tools", "zstd", "apparmor", "procps", "iproute2"),
    *("runc", "busybox-static", "nftables", "tini", "criu", "xfsprogs"),
    *("python3", "python3-venv", "python3-dev", "python3-setuptools", "python3-wheel"),
    *("gcc", "libc6-dev", "libcap-dev"),
)
NOT_INSIDE = ("mypy", "ruff", "types-")
"""Of the test tools, what only looks at sources."""
SDISTS = ("python-prctl",)
"""Has no wheels: built in the guest's root, natively."""
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
             "manylinux_2_12_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64")  # fmt: skip
FETCHED = "fetched"
"""Of the directory in which the image is made, what came from the network."""
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
MODULES = ("fs/quota/quota_tree", "fs/quota/quota_v2", "drivers/block/virtio_blk")
"""What this kernel does not have built in of what mounts the root with project quota."""
QUIET_UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
               "e2scrub_all.timer", "fstrim.timer", "systemd-tmpfiles-clean.timer",
               "systemd-firstboot.service", "systemd-timesyncd.service",
               "modprobe@.service", "dev-hugepages.mount", "sys-kernel-debug.mount",
               "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount",
               "proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service",
               "systemd-pstore.service", "systemd-random-seed.service")  # fmt: skip
NOT_NATIVE = ("boot", "usr/lib/modules", "usr/lib/gcc", "usr/libexec", "usr/include", "usr/share",
              "usr/lib/firmware", "usr/lib/systemd", "usr/lib/udev", "var/cache", "var/lib")
"""Of the guest's files, what is not kept for running its Python on the host."""
APART = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child",
         "--mount-proc", "--propagation", "private")  # fmt: skip
"""For a command all of whose processes and mounts go with this process, however it ends."""
NOTHING_TO_FETCH_FROM = 3
"""Exit status where neither the cache nor the network has what the guest is made of."""

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
# All that the first program of a boot has to do: Debian's own takes four times as long.
FIRST = """\
#!/busybox sh
/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /busybox insmod /$module.ko; done
/busybox mount -t ext4 -o prjquota /dev/vda /root
/busybox mount -t ext4 /dev/vdb /root/carry
/busybox mount --move /dev /root/dev
exec /busybox switch_root /root /sbin/init
"""
AUTOLOGIN = """\
[Service]
ExecStart=
ExecStart=-/sbin/agetty --autologin root --noclear %I 115200 linux
"""


class Unreachable(Exception):
    """What the image is made of cannot be fetched."""


class Image(NamedTuple):
    """What qemu starts from."""

    disk: Path
    kernel: Path
    initrd: Path
    native: Path
    """What the host needs of the guest's files to run its Python."""


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
    """The image, from the cache or newly made, which takes about two minutes.

    Raises Unreachable.
    """
    CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
    place = CACHE / f"vm-{key()}"
    image = Image(*(place / name for name in ("disk.img", "vmlinux", "initrd.img", "native")))
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
        (f"runc of {NEWER_SUITE}", _newer_runc),
        ("kernel and initial ram disk", _kernel),
        ("disk image", _disk),
    ):
        began = time.monotonic()
        step(work, root)
        print(f"guest: {text}: {time.monotonic() - began:.0f} s", flush=True)
    for name in NOT_NATIVE:
        shutil.rmtree(root / name, ignore_errors=True)
    (root / PREFIX.lstrip("/")).mkdir()  # to mount something there
    root.rename(work / "native")
    shutil.rmtree(work / FETCHED)
    work.rename(place)


def _run(*command: str | Path, log: Path) -> None:
    """Run a step; its output goes to a log whose end shows when it fails."""
    with log.open("ab") as file:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False
        )
    if done.returncode:
        raise SystemExit(
            f"guest: {command[0]} failed ({done.returncode}); end of {log}:\n{_end(log, 20)}"
        )


def _end(log: Path, lines: int) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _fetch(*command: str | Path, log: Path) -> None:
    """Run what fails where the network is not there. Raises Unreachable with the reason."""
    try:
        _run(*command, log=log)
    except SystemExit:
        told = _end(log, 20).splitlines()
        # apt's last word is that something is missing.
        reason = next((line for line in told if "Failed to fetch" in line), told[-1])
        raise Unreachable(f"{command[0]}: {reason}") from None


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


def _apt(work: Path, suite: str) -> list[str]:
    """An apt-get that knows the suite from the mirror, and nothing of the host's packages.

    It checks the signatures with Debian's keys, as the host's does. Raises Unreachable.
    """
    place = work / FETCHED / suite
    for name in ("etc", "state/lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True)
    (place / "state/status").touch()
    source = f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n"
    (place / "etc/sources.list").write_text(source)
    options = {
        "Dir::Etc": place / "etc",
        "Dir::State": place / "state",
        "Dir::State::status": place / "state/status",
        "Dir::Cache": place / "cache",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    if not Path(KEYRING).exists() or not shutil.which("apt-get"):
        raise Unreachable("no apt-get here, or no debian-archive-keyring")
    words = ["apt-get", "-q", *(f"--option={name}={value}" for name, value in options.items())]
    # Else what cannot be fetched is a warning only.
    _fetch(*words, "--error-on=any", "update", log=work / "log")
    return words


def _debootstrap(work: Path, root: Path) -> None:
    _apt(work, SUITE)  # tells apart what cannot be fetched and what cannot be made
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    _run(*APART, *command, SUITE, root, mirror(), log=work / "log")


def _newer_runc(work: Path, root: Path) -> None:
    """Put it beside the suite's own; where it cannot be had, the reason is in its place."""
    place = root / NEWER_RUNC.lstrip("/")
    place.parent.mkdir(parents=True)
    unpacked = work / FETCHED / "runc"
    try:
        apt = _apt(work, NEWER_SUITE)
        inside = ["sh", "-ec", 'cd "$1"; shift; exec "$@"', "sh"]
        _fetch(*inside, work / FETCHED, *apt, "download", "runc", log=work / "log")
    except Unreachable as error:
        place.with_name("missing").write_text(f"{error}\n")
        return
    (package,) = (work / FETCHED).glob("runc_*.deb")
    _run("dpkg-deb", "--extract", package, unpacked, log=work / "log")
    shutil.copy(next(unpacked.glob("usr/*bin/runc")), place)


def _chroot(work: Path, root: Path, script: str) -> None:
    """Run shell commands inside."""
    inside = (
        'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" &&'
        ' exec chroot "$1" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root'
        ' LC_ALL=C.UTF-8 /bin/sh -ec "$2"'
    )
    _run(*APART, "sh", "-ec", inside, "sh", root, script, log=work / "log")


def _configure(work: Path, root: Path) -> None:
    files = {
        "etc/hostname": "guest\n",
        "etc/hosts": "127.0.0.1 localhost guest\n",
        # Without one, systemd would take every boot for the first and ask questions.
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/systemd/journald.conf.d/keep.conf":
            "[Journal]\nStorage=persistent\nMaxLevelConsole=notice\nRateLimitIntervalSec=0\n",
        # A host that others use as well may take a minute for what takes a second elsewhere.
        "etc/systemd/system.conf.d/patience.conf": "[Manager]\nDefaultTimeoutStartSec=10min\n",
        "etc/systemd/system/carry.service": CARRY_UNIT,
        "etc/systemd/system/serial-getty@ttyS0.service.d/login.conf": AUTOLOGIN,
    }  # fmt: skip
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    (root / "carry").mkdir()
    for profile in (root / "etc/apparmor.d").iterdir():
        if profile.is_file() and profile.name not in APPARMOR_KEPT:
            profile.unlink()
    # D-Bus starts it for whoever logs in.
    wanted = "usr/lib/systemd/system/multi-user.target.wants/systemd-logind.service"
    (root / wanted).unlink()
    quiet = " ".join(QUIET_UNITS)
    _chroot(work, root, f"passwd -d root; systemctl mask {quiet}; systemctl enable carry.service")


def _python(work: Path, root: Path) -> None:
    """Fetch with the host's pip and its settings; build and install inside, without a network."""
    wanted = requirements()
    wheels, sources = wanted.split()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    platforms = [f"--platform={name}" for name in PLATFORMS]
    target = [f"--python-version={PYTHON}", "--implementation=cp", "--only-binary=:all:"]
    found = work / FETCHED / "wheels"
    _fetch(*pip, "--dest", found, *target, *platforms, *wheels, log=work / "log")
    _fetch(*pip, "--dest", found, "--no-deps", "--no-binary=:all:", *sources, log=work / "log")
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
        {TESTS_VENV}/bin/pytest --version
        python3 -m venv {PREFIX}/venv
        {PREFIX}/venv/bin/pip install {offline} {program}
        mv {PREFIX} {PREPARED}
    """)


def _kernel(work: Path, root: Path) -> None:
    """The kernel as the loader has it in the end, and an initial ram disk of four files."""
    (packed,) = (root / "boot").glob("vmlinuz-*")
    version = packed.name.removeprefix("vmlinuz-")
    (work / "vmlinux").write_bytes(_unpacked(packed.read_bytes()))
    top = root / "tmp/first"
    for name in ("dev", "root"):
        (top / name).mkdir(parents=True)
    names = [name.rpartition("/")[2] for name in MODULES]
    (top / "init").write_text(FIRST.format(modules=" ".join(names)))
    (top / "init").chmod(0o755)
    shutil.copy(root / "usr/bin/busybox", top / "busybox")
    for name, path in zip(names, MODULES, strict=True):
        module = root / f"usr/lib/modules/{version}/kernel/{path}.ko.xz"
        (top / f"{name}.ko").write_bytes(lzma.decompress(module.read_bytes()))
    _chroot(work, root, "cd /tmp/first; find . | busybox cpio -o -H newc >/tmp/initrd.img")
    shutil.move(root / "tmp/initrd.img", work / "initrd.img")
    shutil.rmtree(top)
    # Else the first boot does what package installation has done: systemd-update-done.service(8).
    script = "apt-get clean; rm -rf /var/lib/apt/lists/*; ldconfig"
    _chroot(work, root, f"{script}; touch /etc/.updated /var/.updated")


def _unpacked(kernel: bytes) -> bytes:
    """The ELF file that unpacks itself at a boot otherwise; qemu starts it by its PVH note."""
    start = kernel.find(b"\x28\xb5\x2f\xfd")
    while start >= 0:
        with contextlib.suppress(zstandard.ZstdError):
            found = zstandard.ZstdDecompressor().decompressobj().decompress(kernel[start:])
            if found.startswith(b"\x7fELF"):
                return found
        start = kernel.find(b"\x28\xb5\x2f\xfd", start + 1)
    return kernel


def _disk(work: Path, root: Path) -> None:
    options = ("-q", "-t", "ext4", "-O", "project,quota", "-d")
    _run("mke2fs", *options, root, work / "disk.img", SIZE, log=work / "log")


if __name__ == "__main__":
    missing = [name for name in ("qemu-system-x86_64", "debootstrap", "mke2fs", "debugfs")
               if not shutil.which(name)]  # fmt: skip
    if missing:
        raise SystemExit(f"guest: not installed: {' '.join(missing)}")
    try:
        print(f"guest: {ensure().disk}")
    except Unreachable as error:
        print(f"guest: what it is made of cannot be fetched: {error}")
        sys.exit(NOTHING_TO_FETCH_FROM)
