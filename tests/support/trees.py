"""Root filesystems for tests."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
PASSWD = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
GROUP = "root:x:0:\nwheel:x:10:root\nnogroup:x:65534:\n"
DIRECTORIES = {
    "bin": 0o755,
    "dev": 0o755,
    "etc": 0o755,
    "proc": 0o555,
    "root": 0o700,
    "sys": 0o555,
    "tmp": 0o1777,
    "var": 0o755,
}


def write_busybox_tar(path: Path) -> Path:
    """Write a small root filesystem (Debian's static busybox, every applet a link) as a tar."""
    listing = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode in DIRECTORIES.items():
            _add(archive, name, kind=tarfile.DIRTYPE, mode=mode)
        _add(archive, "bin/busybox", BUSYBOX.read_bytes(), mode=0o755)
        for applet in listing.stdout.split():
            if applet != "busybox":
                _add(archive, f"bin/{applet}", kind=tarfile.SYMTYPE, link="busybox")
        _add(archive, "etc/passwd", PASSWD.encode())
        _add(archive, "etc/group", GROUP.encode())
    return path


def _add(
    archive: tarfile.TarFile,
    name: str,
    content: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    mode: int = 0o644,
    link: str = "",
) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.mode, member.linkname = kind, mode, link
    member.size, member.mtime = len(content), 1_700_000_000
    archive.addfile(member, io.BytesIO(content))
