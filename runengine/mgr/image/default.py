"""The embedded image ``runengine/busybox:latest``, made of this host's static busybox.

The same busybox gives the same image id every time: the tar is written in one order, with the
times of the program itself.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from runengine.errors import NotFound, Unavailable
from runengine.mgr.image import naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from runengine.mgr.image.context import ImageContext

NAME = "runengine/busybox:latest"
BUSYBOX = "/bin/busybox"
CHANGES = (
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    'CMD ["sh"]',
    "LABEL org.opencontainers.image.title=busybox",
)
_TIMEOUT_S = 10.0
_DIRECTORIES = (
    ("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("lib", 0o755),
    ("proc", 0o755), ("root", 0o700), ("run", 0o755), ("sbin", 0o755), ("sys", 0o755),
    ("tmp", 0o1777), ("usr", 0o755), ("usr/bin", 0o755), ("usr/sbin", 0o755), ("var", 0o755),
    ("var/log", 0o755), ("var/spool", 0o755), ("var/tmp", 0o1777),
)  # fmt: skip
_FILES = {
    "etc/group": """\
root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
adm:x:4:
tty:x:5:
disk:x:6:
mail:x:8:
www-data:x:33:
utmp:x:43:
staff:x:50:
users:x:100:
nogroup:x:65534:
""",
    "etc/passwd": """\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
operator:x:37:37:Operator:/var:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
""",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/profile": "export PS1='\\u@\\h:\\w\\$ '\n",
    "etc/shadow": "root:*:::::::\n",
}
_MODES = {"etc/shadow": 0o600}


def ensure_default(context: ImageContext) -> str:
    """Make the image if no image has its name; its id either way. Raises Unavailable."""
    try:
        return naming.find(context.store.images, NAME).image.image_id
    except NotFound:
        pass
    from runengine.mgr.image import importing

    if not Path(BUSYBOX).is_file():
        raise Unavailable(f"no {BUSYBOX}", resolution="apt-get install busybox-static")
    description = importing.Description(
        changes=CHANGES,
        message="busybox-static of this host",
        created=importing.modified_at(BUSYBOX),
    )
    tar = rootfs_tar(BUSYBOX, applets(BUSYBOX))
    return importing.import_rootfs(context, io.BytesIO(tar), NAME, description)


def applets(busybox: str) -> list[str]:
    """Paths below the root where busybox wants to be found, sorted."""
    import subprocess

    try:
        done = subprocess.run(
            [busybox, "--list-full"],
            capture_output=True,
            check=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable(
            f"{busybox} does not run", details=str(error), resolution="reinstall busybox-static"
        ) from error
    return sorted(set(done.stdout.split()))


def rootfs_tar(busybox: str, links: Iterable[str]) -> bytes:
    """The root filesystem; what is in it depends on the program and the links alone."""
    program = Path(busybox)
    mtime = int(program.stat().st_mtime)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for entry, content in _entries(program.read_bytes(), links):
            entry.mtime = mtime
            tar.addfile(entry, io.BytesIO(content))
    return target.getvalue()


def _entries(program: bytes, links: Iterable[str]) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    known = {path for path, _ in _DIRECTORIES}
    for path, mode in _DIRECTORIES:
        yield _entry(path, mode, tarfile.DIRTYPE), b""
    yield _file("bin/busybox", 0o755, program), program
    for path, text in sorted(_FILES.items()):
        content = text.encode()
        yield _file(path, _MODES.get(path, 0o644), content), content
    for path in links:
        if path != "bin/busybox" and os.path.dirname(path) in known:
            entry = _entry(path, 0o777, tarfile.SYMTYPE)
            entry.linkname = "/bin/busybox"
            yield entry, b""


def _file(path: str, mode: int, content: bytes) -> tarfile.TarInfo:
    entry = _entry(path, mode, tarfile.REGTYPE)
    entry.size = len(content)
    return entry


def _entry(path: str, mode: int, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.type = mode, kind
    return entry
