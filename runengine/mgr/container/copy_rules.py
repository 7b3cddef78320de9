"""Where a copy goes, and what may not be copied: Docker's rules and, mostly, its words."""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import Conflict, EngineError, InvalidParameter, NotFound
from runengine.rootfs.places import MissingParent

if TYPE_CHECKING:
    from runengine.mgr.container.view import View
    from runengine.rootfs.places import Entry, Places, Target


class Destination(NamedTuple):
    """A name in an open directory; '.' is that directory itself."""

    dir_fd: int
    base: str


class Side(NamedTuple):
    """Where names are looked up: on the host, or in a container."""

    places: Places
    container: str = ""
    """Its name; empty for the host."""

    def describe(self, path: str) -> str:
        """A file for messages."""
        return f"{self.container}:{path}" if self.container else path


def names_contents(path: str) -> bool:
    """Whether the path means what is in a directory: ``dir/.``."""
    return posixpath.basename(path) == "."


def asserts_directory(path: str) -> bool:
    """Whether the path can only be that of a directory."""
    return posixpath.basename(path) in ("", ".", "..")


def own_name(path: str) -> str:
    """The name under which something is copied into a directory."""
    return posixpath.basename(posixpath.normpath(path)) or "."


def find_source(side: Side, path: str, *, follow: bool) -> Entry:
    """What is to be copied. Raises NotFound, InvalidParameter."""
    try:
        return side.places.source(path, follow=follow)
    except FileNotFoundError:
        raise no_file(side, path) from None
    except NotADirectoryError:
        raise InvalidParameter(f"{side.describe(path)}: not a directory") from None
    except OSError as error:
        raise _refused(side, path, error) from None


def find_target(side: Side, path: str) -> Target:
    """Where it is to go. Raises NotFound, InvalidParameter."""
    try:
        return side.places.target(path)
    except MissingParent as error:
        if side.container:
            raise no_file(side, str(error.filename)) from None
        raise NotFound(
            f'invalid output path: directory "{error.filename}" does not exist'
        ) from None
    except NotADirectoryError:
        raise InvalidParameter(
            f"{side.describe(path)}: no such directory",
            resolution="something on the way there is a file",
        ) from None
    except OSError as error:
        raise _refused(side, path, error) from None


def no_file(side: Side, path: str) -> EngineError:
    """The error for what is not there."""
    if side.container:
        return NotFound(f"Could not find the file {path} in container {side.container}")
    return NotFound(f"lstat {path}: no such file or directory")


def _refused(side: Side, path: str, error: OSError) -> EngineError:
    return InvalidParameter(f"{side.describe(path)}: {error.strerror}")


def decide(source: Entry, source_path: str, side: Side, target: Target, path: str) -> Destination:
    """The place of the copy, by what there is on both sides.

    Raises InvalidParameter and Conflict with Docker's words.
    """
    if target.is_dir:
        contents = source.is_dir and names_contents(source_path)
        return Destination(target.dir_fd, "." if contents else own_name(source_path))
    if target.seen is not None:
        if source.is_dir:
            raise InvalidParameter(
                "cannot copy directory", details=f"{side.describe(path)} is a file"
            )
        _refuse_special(target.seen, side.describe(path))
    elif asserts_directory(path) and not source.is_dir:
        raise NotFound(
            "no such directory", details=f"{side.describe(path)} would have to be made first"
        )
    return Destination(target.dir_fd, target.base)


def _refuse_special(seen: os.stat_result, where: str) -> None:
    """A device or a pipe is not replaced by a file."""
    if not stat.S_ISREG(seen.st_mode) and not stat.S_ISLNK(seen.st_mode):
        raise Conflict(
            f'invalid output path: "{where}" must be a directory or a regular file'
        )


def check_writable(side: Side, opened: View, target: Target) -> None:
    """Raise Conflict if the container has the place read-only, or only while it runs."""
    where = side.places.name_of(target.dir_fd)
    for path in opened.volatile:
        if f"{where}/".startswith(f"{path}/"):
            raise Conflict(
                f"{side.describe(path)} is a tmpfs, which is there only while the container runs",
                resolution="start the container first",
            )
    if not os.fstatvfs(target.dir_fd).f_flag & os.ST_RDONLY:
        return
    if os.fstat(target.dir_fd).st_dev == os.stat(".", dir_fd=opened.root_fd).st_dev:
        raise Conflict(
            "container rootfs is marked read-only",
            resolution=f"copy to a volume of {side.container}, or create it without --read-only",
        )
    raise Conflict("mounted volume is marked read-only")
