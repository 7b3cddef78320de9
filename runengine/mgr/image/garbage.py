"""Mark and sweep of blobs and layers, and the lock that keeps a sweep away from users.

What an image or a container refers to stays. Of the rest goes what was noted as garbage when its
last user went, and what nobody has referred to for a day: until then a pull that broke off finds
the layers that it had finished.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import NotFound, TimedOut, Unauthorized, Unavailable
from runengine.linux import fsatomic, locks
from runengine.mgr.image.context import disk_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from runengine.mgr.image.context import ImageContext
    from runengine.paths import Paths

GRACE_S = 86400.0
_CLOCK_SLACK_S = 1.0
_INTERRUPTIONS = (KeyboardInterrupt, NotFound, TimedOut, Unauthorized, Unavailable)


class Swept(NamedTuple):
    """What a sweep deleted."""

    blobs: list[str]  # digests
    layers: list[str]  # keys
    freed_bytes: int


class Marked(NamedTuple):
    """What must stay."""

    blobs: set[str]
    image_layers: set[str]
    container_layers: set[str]


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
    started = time.time() - _CLOCK_SLACK_S
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
                _clean_up(context, _arrived_since(context, started))
        raise


def _clean_up(context: ImageContext, refused: set[str]) -> None:
    """Sweep at once; while others are at work only note, for the next sweep."""
    if sweep(context, also=refused) is None:
        context.layers.sweep_staging()
        note(context.paths, refused)


def _partials(paths: Paths) -> str:
    return f"{paths.blobs}/partial"


def _remove_partials(context: ImageContext, *, keep: Collection[str]) -> None:
    """Delete beginnings of blobs that are new and that nobody writes."""
    directory = _partials(context.paths)
    for name in _names(directory):
        if name not in keep and (fd := locks.try_lock(f"{directory}/{name}")) is not None:
            try:
                os.unlink(f"{directory}/{name}")
            finally:
                os.close(fd)


def _arrived_since(context: ImageContext, started: float) -> set[str]:
    """Blobs and layers that came since; the sweep spares what something refers to."""
    content, layers = context.content, context.layers
    found = {digest for digest in content.digests() if _changed_at(content.path(digest)) > started}
    return {
        *found,
        *(key for key in layers.keys() if _changed_at(layers.directory(key)) > started),  # noqa: SIM118
    }


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
        noted = _notes(paths).union(also)
        marked = mark(context)
        oldest = time.time() - grace_s
        blobs, freed = _sweep_blobs(context, marked, noted, oldest)
        layers, freed_layers = _sweep_layers(context, marked, noted, oldest)
        _remove_files(f"{paths.root}/pulls", "")
        _remove_files(_partials(paths), "incoming-")
        _keep_notes(paths, noted & marked.container_layers - marked.image_layers)
        return Swept(blobs, layers, freed + freed_layers)
    finally:
        os.close(fd)


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


def mark(context: ImageContext) -> Marked:
    """Everything that an image, a name or a container refers to."""
    images, containers = context.store.images, context.store.containers
    manifests: set[str] = set()
    blobs: set[str] = set()
    for row in images.names():
        manifests.add(row.manifest_digest)
        blobs.add(row.name.partition("@")[2])
    image_layers: set[str] = set()
    for image in images.all():
        manifests.add(image.manifest_digest)
        blobs.add(image.image_id)
        image_layers.update(image.layers)
    for digest in manifests:
        blobs.update(manifest_blobs(context, digest))
    blobs.update(layer_blobs(context, image_layers))
    return Marked(blobs - {""}, image_layers, containers.used_layers())


def manifest_blobs(context: ImageContext, digest: str) -> set[str]:
    """The manifest itself, its config and its layers; only itself where it is not here."""
    import json

    from runengine.errors import EngineError

    try:
        document = json.loads(context.content.read(digest, 1 << 24))
        config = [document["config"]] if "config" in document else []
        return {
            digest,
            *(str(entry["digest"]) for entry in [*config, *document.get("layers", [])]),
        }
    except (EngineError, ValueError, KeyError, TypeError):
        return {digest}


def layer_blobs(context: ImageContext, keys: Iterable[str]) -> set[str]:
    """Blobs that these layers came from: an image's manifest may name others, same inside."""
    from runengine.errors import EngineError

    found = set()
    for key in keys:
        try:
            found.add(context.layers.info(key).blob)
        except EngineError:
            continue
    return found


def _sweep_blobs(
    context: ImageContext, marked: Marked, noted: set[str], oldest: float
) -> tuple[list[str], int]:
    content = context.content
    keep = {
        digest
        for digest in content.digests()
        if digest in marked.blobs
        or (digest not in noted and _changed_at(content.path(digest)) > oldest)
    }
    removed, freed = content.sweep(keep)
    return [str(digest) for digest in removed], freed


def _sweep_layers(
    context: ImageContext, marked: Marked, noted: set[str], oldest: float
) -> tuple[list[str], int]:
    layers = context.layers
    used = marked.image_layers | marked.container_layers
    keep = {
        key
        for key in layers.keys()  # noqa: SIM118 (a store, not a mapping)
        if key in used or (key not in noted and _changed_at(layers.directory(key)) > oldest)
    }
    removed, freed = layers.sweep(keep)
    return list(removed), freed


def _remove_files(directory: str, prefix: str) -> None:
    """Lock files and unnamed blobs of dead processes: nobody else is at work now."""
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
