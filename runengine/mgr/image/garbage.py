"""Mark and sweep of blobs and layers, and the lock that keeps a sweep away from users.

What an image or a container refers to stays (``marking``). Of the rest goes what was noted as
garbage when its last user went, and what nobody has referred to for a day: until then a pull that
broke off finds the layers that it had finished.

A sweep that is cut short anywhere has deleted less, and nothing else: every blob and layer goes
by one unlink or rename, and notes are only forgotten when all is done.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import NotFound, TimedOut, Unauthorized, Unavailable
from runengine.linux import fsatomic, locks
from runengine.mgr.image import marking
from runengine.mgr.image.context import disk_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from runengine.mgr.image.context import ImageContext
    from runengine.paths import Paths

GRACE_S = 86400.0
_INTERRUPTIONS = (KeyboardInterrupt, NotFound, TimedOut, Unauthorized, Unavailable)


class Swept(NamedTuple):
    """What a sweep deleted."""

    blobs: list[str]  # digests
    layers: list[str]  # keys
    freed_bytes: int


class Garbage(NamedTuple):
    """One thing that a sweep would delete."""

    kind: str
    """``blob``, ``layer``, ``partial`` (a download cut short) or ``staging`` (an unpacking)."""
    name: str
    size_bytes: int


def lock_path(paths: Paths) -> str:
    """Held shared by whoever needs content that no record refers to yet."""
    return f"{paths.root}/images.lock"


def _notes_path(paths: Paths) -> str:
    return f"{paths.root}/images.garbage"


@contextmanager
def in_use(paths: Paths) -> Iterator[None]:
    """Until the block ends nothing is swept: hold it from lookup until the record is written.

    Never waits for other users; waits for a sweep that is under way.
    """
    with locks.locked(lock_path(paths), shared=True):
        yield


def note(paths: Paths, names: Iterable[str]) -> None:
    """Write down digests and layer keys that may have lost their last user, under ``in_use``.

    To be done before the record goes: a note about something in use costs nothing.
    """
    text = "".join(f"{name}\n" for name in names)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    fd = os.open(_notes_path(paths), flags, 0o600)
    try:
        fsatomic.write_all(fd, text.encode())
    finally:
        os.close(fd)


@contextmanager
def arriving(context: ImageContext, *, resumable: bool) -> Iterator[None]:
    """Around whatever brings an image in: no sweep meanwhile, and no traces of a refused one.

    What a ``resumable`` operation had finished stays when it was interrupted or the other side
    broke off, so that the next attempt goes on from there. Disk errors become one line.
    """
    with disk_errors(context.paths.root):
        before = _present(context)
        partials = set(_names(_partials(context.paths)))
    try:
        with disk_errors(context.paths.root), in_use(context.paths):
            context.layers.sweep_staging()
            yield
    except BaseException as error:
        with suppress(OSError):
            if resumable and isinstance(error, _INTERRUPTIONS):
                _clean_up(context, set())
            else:
                _remove_partials(context, keep=partials)
                _clean_up(context, _present(context) - before)
        raise


def _clean_up(context: ImageContext, refused: set[str]) -> None:
    """Sweep at once; while others are at work only note, for the next sweep."""
    if sweep(context, also=refused) is None:
        context.layers.sweep_staging()
        note(context.paths, refused)


def _partials(paths: Paths) -> str:
    return f"{paths.blobs}/partial"


def partial_names(paths: Paths) -> list[str]:
    """Beginnings of blobs, whether somebody writes them or not."""
    return sorted(_names(_partials(paths)))


def _remove_partials(context: ImageContext, *, keep: Collection[str]) -> None:
    """Delete beginnings of blobs that are new and that nobody writes."""
    directory = _partials(context.paths)
    for name in _names(directory):
        if name not in keep and (fd := locks.try_lock(f"{directory}/{name}")) is not None:
            try:
                os.unlink(f"{directory}/{name}")
            finally:
                os.close(fd)


def _present(context: ImageContext) -> set[str]:
    """Blobs and layers that there are. Of what came since a sweep spares what is referred to."""
    # By name, not by time: the clock may be set meanwhile, or may have been ahead before.
    return {*context.content.digests(), *context.layers.keys()}


def is_pending(paths: Paths) -> bool:
    """Whether there is noted garbage: cheap, for whoever just removed a container."""
    try:
        return os.stat(_notes_path(paths)).st_size > 0
    except FileNotFoundError:
        return False


def sweep(
    context: ImageContext, *, grace_s: float = GRACE_S, also: Iterable[str] = ()
) -> Swept | None:
    """Delete garbage, unless somebody is at work: then None, and the next sweep does it.

    ``grace_s`` is how old unreferenced content must be that nobody noted, neither in the file nor
    in ``also``; 0 takes everything.
    """
    paths = context.paths
    fd = _try_exclusive(paths)
    if fd is None:
        return None
    try:
        marked = marking.mark(context)
        noted = _notes(paths).union(also)
        keep_blobs, keep_layers = _kept(context, marked, noted, grace_s)
        life_s = _partial_life(grace_s)
        blobs, freed = context.content.sweep(keep_blobs, partial_life_s=life_s)
        layers, freed_layers = context.layers.sweep(keep_layers)
        _remove_files(f"{paths.root}/pulls", "")
        _remove_files(_partials(paths), "incoming-")
        _remove_files(paths.root, "images.garbage.")
        _keep_notes(paths, noted & marked.container_layers - marked.image_layers)
        return Swept([str(digest) for digest in blobs], list(layers), freed + freed_layers)
    finally:
        os.close(fd)


def find(context: ImageContext, *, grace_s: float = GRACE_S) -> list[Garbage]:
    """What ``sweep`` would delete now, the largest first; changes nothing and waits for nobody.

    What others are bringing in just now is not known to be theirs, so of that too much may be
    listed: a sweep waits for them.
    """
    content, layers = context.content, context.layers
    with in_use(context.paths):
        keep_blobs, keep_layers = _kept(
            context, marking.mark(context), _notes(context.paths), grace_s
        )
        blobs = sorted(content.digests() - keep_blobs)
        keys = [key for key in layers.keys() if key not in keep_layers]  # noqa: SIM118
        found = [
            *(Garbage("blob", digest, _size(content.path(digest))) for digest in blobs),
            *(Garbage("layer", key, layers.size_or_zero(key)) for key in keys),
            *(Garbage("partial", *one) for one in content.stale_partials(_partial_life(grace_s))),
            *(Garbage("staging", *one) for one in layers.abandoned()),
        ]
    return sorted(found, key=lambda one: -one.size_bytes)


def _partial_life(grace_s: float) -> float:
    """A beginning of a blob is worth more than the grace of the rest, unless all is to go."""
    from runengine.registry.content import PARTIAL_LIFE_S

    return PARTIAL_LIFE_S if grace_s else 0.0


def _kept(
    context: ImageContext, marked: marking.Marked, noted: set[str], grace_s: float
) -> tuple[set[str], set[str]]:
    """Digests of blobs and keys of layers that stay: marked ones, and others for a while."""
    content, layers = context.content, context.layers
    now = time.time()

    def is_new(path: str) -> bool:
        # What comes from the future is as old as the day on which the clock was set back.
        return abs(now - _changed_at(path)) < grace_s

    blobs = {
        str(digest)
        for digest in content.digests()
        if digest in marked.blobs or (digest not in noted and is_new(content.path(digest)))
    }
    used = marked.image_layers | marked.container_layers
    keys = {
        key
        for key in layers.keys()  # noqa: SIM118 (a store, not a mapping)
        if key in used or (key not in noted and is_new(layers.directory(key)))
    }
    return blobs, keys


def _try_exclusive(paths: Paths) -> int | None:
    os.close(os.open(lock_path(paths), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    return locks.try_lock(lock_path(paths))


def _notes(paths: Paths) -> set[str]:
    """Noted digests and layer keys; they cannot be confused, only digests have a colon."""
    data = fsatomic.read_optional(_notes_path(paths)) or b""
    return set(data.decode(errors="replace").split())


def _keep_notes(paths: Paths, layers: Collection[str]) -> None:
    """Layers that only containers hold now are garbage the day these go."""
    text = "".join(f"{key}\n" for key in sorted(layers))
    fsatomic.replace(_notes_path(paths), text.encode(), durable=False)


def _remove_files(directory: str, prefix: str) -> None:
    """Lock files, unnamed blobs and unfinished notes of dead processes: nobody is at work now."""
    for name in _names(directory):
        if name.startswith(prefix):
            os.unlink(f"{directory}/{name}")


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _changed_at(path: str) -> float:
    """When it came here: the inode's change time, as archives set the other times."""
    try:
        return os.stat(path).st_ctime
    except (FileNotFoundError, NotADirectoryError):
        return 0.0


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
