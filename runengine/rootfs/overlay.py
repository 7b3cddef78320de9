"""Overlay mounts: a stack of read-only layers with a writable one on top (overlayfs.rst)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, NoReturn

from runengine.errors import Conflict, EngineError, InvalidParameter, Unsupported
from runengine.linux import fscontext, holders, kernel, libc, mount

if TYPE_CHECKING:
    from collections.abc import Sequence

OPAQUE_XATTR = "trusted.overlay.opaque"
MAX_LAYERS = 500
"""Lower directories that the kernel stacks (OVL_MAX_STACK)."""
_OPTIONS = {
    # Layers are plain trees: nothing in them points elsewhere, whoever made them, and what
    # differs from them can be told by looking at names alone.
    "redirect_dir": "nofollow",
    "metacopy": "off",
    # An index would tie the writable layer to the very inodes of these lower directories.
    "index": "off",
}
ONE_BY_ONE = (6, 7)
"""The kernel that learnt to take layers one at a time."""
_CLONE_FS = 0x200
_UNMOUNT_ATTEMPTS = 12


def mount_overlay(
    lowers: Sequence[str],
    upper: str | None,
    work: str | None,
    merged: str,
    *,
    readonly: bool = False,
    label: str = "",
) -> None:
    """Show ``lowers`` (top first) with ``upper`` above them at ``merged``, which must be empty.

    Without ``upper`` the view is read-only. ``label`` is what SELinux takes for the label of every
    file, whatever it has on the disk. Whatever the propagation of the surrounding mount,
    this one's is private. Raises Conflict if the directories are in use by another mount,
    InvalidParameter for more than 500 layers, Unsupported or EngineError for what the kernel
    refuses.
    """
    stack = _stack(lowers, upper, merged)
    _refuse_reuse(upper, merged)
    directories = {"upperdir": upper, "workdir": work} if upper and work else {}
    options = {**_OPTIONS, "context": label} if label else _OPTIONS
    try:
        if not stack:
            _mount_nothing(merged)
        elif not _mount_by_context(stack, directories, merged, options, readonly=readonly):
            _mount_by_options(stack, directories, merged, options, readonly=readonly)
    except OSError as error:
        _explain(error, merged)


def _stack(lowers: Sequence[str], upper: str | None, merged: str) -> list[str]:
    """The lower directories that count, top first, and as many as the kernel wants."""
    stack = list(lowers)
    for number, path in enumerate(stack):
        if _is_opaque(path):
            # The kernel heeds the mark on every directory but the root of a layer.
            del stack[number + 1 :]
            break
    # It wants one lower directory below a writable one, two otherwise: the mount point, which is
    # empty, makes up the number.
    if len(stack) < (1 if upper else 2) and (stack or upper):
        stack.append(merged)
    if len(stack) > MAX_LAYERS:
        raise InvalidParameter(
            f"the image has {len(stack)} layers, and the kernel stacks {MAX_LAYERS} at most",
            resolution="squash the image",
        )
    return stack


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, OPAQUE_XATTR) == b"y"
    except OSError:
        return False


def _refuse_reuse(upper: str | None, merged: str) -> None:
    """Two mounts that write one upper directory corrupt it, and without an index nothing stops it.

    Sees this mount namespace only: nobody else mounts there.
    """
    with open("/proc/self/mountinfo", "rb") as file:
        table = file.read()
    if b" %b " % os.fsencode(merged) in table:
        raise Conflict(f"{merged} is already mounted", resolution=f"umount {merged}")
    if upper is not None and b"upperdir=%b," % os.fsencode(upper) in table:
        others = [e.target for e in mount.mounts() if f"upperdir={upper}," in e.super_options]
        raise Conflict(
            f"{upper} is in use by the mount at {', '.join(others)}",
            resolution="unmount that one first",
        )


def _mount_nothing(merged: str) -> None:
    """The view of no layers at all."""
    libc.mount("none", merged, "tmpfs", mount.MS_RDONLY | mount.MS_NODEV, "mode=755,size=4k")
    libc.mount("none", merged, None, mount.MS_PRIVATE, None)


def _mount_by_context(
    stack: Sequence[str],
    directories: dict[str, str],
    merged: str,
    options: dict[str, str],
    *,
    readonly: bool,
) -> bool:
    """Mount with the new API; False if this kernel cannot take layers one by one.

    The version is asked because an older kernel takes every option at first, and complains in the
    kernel log when it comes to mounting.
    """
    if not kernel.probe().at_least(*ONE_BY_ONE):
        return False
    try:
        context = fscontext.fsopen("overlay")
    except OSError as error:
        if error.errno in (errno.ENOSYS, errno.EPERM):
            return False
        raise
    try:
        if not _configure(context, stack, directories, options):
            return False
        try:
            fscontext.create(context)
        except OSError as error:
            raise OSError(error.errno, fscontext.messages(context) or error.strerror) from error
        mounted = fscontext.fsmount(context, fscontext.MOUNT_ATTR_RDONLY if readonly else 0)
    finally:
        os.close(context)
    try:
        fscontext.attach(mounted, merged)
        # Below a shared mount it has become shared by this.
        fscontext.set_propagation(mounted, mount.MS_PRIVATE)
    finally:
        os.close(mounted)
    return True


def _configure(
    context: int, stack: Sequence[str], directories: dict[str, str], options: dict[str, str]
) -> bool:
    """Set everything; False if the kernel does not take a directory in the way it is given."""
    fscontext.set_string(context, "source", "overlay")
    for key, path in [*(("lowerdir+", lower) for lower in stack), *directories.items()]:
        try:
            _set_directory(context, key, path)
        except OSError as error:
            if error.errno == errno.EINVAL:
                return False  # by descriptor only since 6.13
            raise OSError(error.errno, error.strerror, path) from error
    for key, value in options.items():
        fscontext.set_string(context, key, value)
    return True


def _set_directory(context: int, key: str, path: str) -> None:
    """Name a directory by its path, or by a descriptor if the path cannot be given as it is."""
    if len(os.fsencode(path)) <= fscontext.MAX_STRING and not set(path) & set("\\:,"):
        fscontext.set_string(context, key, path)
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fscontext.set_fd(context, key, fd)
    finally:
        os.close(fd)


def _mount_by_options(
    stack: Sequence[str],
    directories: dict[str, str],
    merged: str,
    options: dict[str, str],
    *,
    readonly: bool,
) -> None:
    """Mount with mount(2), whose options end at a page: every layer goes by a short name.

    The names are descriptor numbers, relative to /proc/self/fd, as the working directory of a
    thread that does not share it with the others.
    """
    import threading

    failures: list[OSError] = []
    fds: list[int] = []

    def work() -> None:
        try:
            libc.unshare(_CLONE_FS)
            os.chdir("/proc/self/fd")
            flags = mount.MS_RDONLY if readonly else 0
            libc.mount("overlay", merged, "overlay", flags, _words(fds, directories, options))
            libc.mount("none", merged, None, mount.MS_PRIVATE, None)
        except OSError as error:
            failures.append(error)

    try:
        for path in stack:
            fds.append(os.open(path, os.O_PATH | os.O_CLOEXEC))  # noqa: PERF401 - one may be missing
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        for fd in fds:
            os.close(fd)
    if failures:
        raise failures[0]


def _words(fds: Sequence[int], directories: dict[str, str], options: dict[str, str]) -> str:
    """The option string, with layers by the numbers of their descriptors."""
    # A label has commas of its own, for which SELinux knows quotes.
    words = {key: f'"{value}"' if "," in value else value for key, value in options.items()}
    words.update({key: _escape(path) for key, path in directories.items()})
    words["lowerdir"] = ":".join(map(str, fds))
    return ",".join(f"{key}={value}" for key, value in words.items())


def _escape(path: str) -> str:
    """A path in an option string: the kernel splits at commas, and layers at colons."""
    return path.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def _explain(error: OSError, merged: str) -> NoReturn:
    brief = f"cannot mount the root filesystem at {merged}"
    details = f"{error.strerror}" + (f": {error.filename}" if error.filename else "")
    if error.errno == errno.ENODEV:
        raise Unsupported(
            f"{brief}: the kernel has no overlay filesystem", resolution="modprobe overlay"
        ) from error
    if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
        raise Unsupported(
            brief,
            details=details,
            resolution="the engine's root directory must be on ext4, xfs, btrfs or tmpfs",
        ) from error
    if error.errno == errno.ENOENT:
        raise EngineError(
            brief, details=details, resolution="a layer is missing: pull the image again"
        ) from error
    raise EngineError(brief, details=details) from error


def unmount(merged: str, *, lazy: bool = False) -> bool:
    """Unmount the view; True if it was mounted.

    Somebody on the way out gets half a second. Then ``lazy`` detaches it, to vanish with its last
    user; otherwise Conflict names who holds it. Raises EngineError for anything else.
    """
    for attempt in range(_UNMOUNT_ATTEMPTS):
        try:
            libc.umount(merged, mount.UMOUNT_NOFOLLOW)
            return True
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return False
            if error.errno != errno.EBUSY:
                raise EngineError(f"cannot unmount {merged}", details=error.strerror) from error
        _pause(attempt)
    if lazy:
        libc.umount(merged, mount.UMOUNT_NOFOLLOW | mount.MNT_DETACH)
        return True
    raise Conflict(
        f"{merged} is busy",
        details=holders.describe(merged),
        resolution="end what uses it and try again",
    )


def _pause(attempt: int) -> None:
    import time

    time.sleep(min(0.1, 0.001 * 2**attempt))
