"""``rmi``: names go first, the image goes with its last name, content with its last image."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runengine.errors import Conflict
from runengine.ids import chain_ids, short
from runengine.mgr.image import garbage, marking, naming
from runengine.mgr.image.listing import readable, section

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runengine.mgr.image.context import ImageContext
    from runengine.store.images import StoredImage

RUNNING = frozenset({"running", "paused", "restarting"})
Removed = list[dict[str, str]]


def remove(context: ImageContext, text: str, *, force: bool) -> Removed:
    """Remove a name, or an image by id with all its names: Docker's list of what went.

    Raises NotFound; Conflict while containers use the image, or where an id has names in several
    repositories, unless forced. Forced, containers keep their layers, and an image with a running
    container only loses its names.
    """
    began_ns = time.monotonic_ns()
    images = context.store.images
    found = naming.find(images, text)
    image_id = found.image.image_id
    names = images.names_of(image_id)
    users = context.store.containers.image_users(image_id)
    if found.name:
        _check_name(text, image_id, names, users, force=force)
        going = _names_with(found.name, names)
    else:
        _check_id(image_id, names, users, force=force)
        going = names
    with garbage.in_use(context.paths):
        garbage.note(context.paths, _blobs(context, found.image).union(found.image.layers))
        removed = [
            {"Untagged": naming.familiar(name)} for name in going if images.remove_name(name)
        ]
        is_last = not images.names_of(image_id)
        if is_last and not _running(users):
            images.remove_image(image_id)
            removed.append({"Deleted": image_id})
    _note(context, found.image, removed, began_ns)
    if removed and "Deleted" in removed[-1]:
        swept = garbage.sweep(context)
        removed += deleted_layers(found.image, swept.layers if swept else ())
    return removed


def remove_unused(context: ImageContext, image: StoredImage) -> Removed:
    """Remove an image with all its names, unless a container uses it; a sweep takes its content.

    The caller is ``garbage.in_use`` and sweeps.
    """
    began_ns = time.monotonic_ns()
    images = context.store.images
    if context.store.containers.image_users(image.image_id):
        return []
    names = images.names_of(image.image_id)
    garbage.note(context.paths, _blobs(context, image).union(image.layers))
    removed = [{"Untagged": naming.familiar(name)} for name in names if images.remove_name(name)]
    images.remove_image(image.image_id)
    removed.append({"Deleted": image.image_id})
    _note(context, image, removed, began_ns)
    return removed


def untag(context: ImageContext, text: str, names: Sequence[str]) -> list[str]:
    """Take these names, or all, from an image, which stays; the names as Docker shows them.

    Raises NotFound, also for a name that is not the image's.
    """
    began_ns = time.monotonic_ns()
    images = context.store.images
    image = naming.find(images, text).image
    known = images.names_of(image.image_id)
    going = [naming.name_of(known, name, text) for name in names] or known
    with_digests = [one for name in going for one in _names_with(name, known)]
    removed: Removed = [
        {"Untagged": naming.familiar(name)}
        for name in dict.fromkeys(with_digests)
        if images.remove_name(name)
    ]
    _note(context, image, removed, began_ns)
    return [entry["Untagged"] for entry in removed]


def _note(context: ImageContext, image: StoredImage, removed: Removed, began_ns: int) -> None:
    """``untag`` for each name, ``delete`` for the image; by now its record may be gone."""
    labels = section(readable(image)).get("Labels")
    for entry in removed:
        action, name = ("untag", entry["Untagged"]) if "Untagged" in entry else ("delete", "")
        context.events.image(
            action, image.image_id, name or image.image_id, labels=labels, began_ns=began_ns
        )


def _check_name(
    text: str, image_id: str, names: list[str], users: list[tuple[str, str, str]], *, force: bool
) -> None:
    if users and not force and _is_single(names):
        raise Conflict(
            f'conflict: unable to remove repository reference "{text}" (must force) - container '
            f"{short(users[0][0])} ({users[0][1]}) is using its referenced image "
            f"{short(image_id)}",
            resolution="remove the container first, or use rmi --force",
        )


def _check_id(
    image_id: str, names: list[str], users: list[tuple[str, str, str]], *, force: bool
) -> None:
    where = f"conflict: unable to delete {short(image_id)}"
    if force and (names or not _running(users)):
        return
    if len({naming.repository(name) for name in names}) > 1:
        raise Conflict(
            f"{where} (must be forced) - image is referenced in multiple repositories",
            resolution="must force: use rmi --force, or remove it by its names",
        )
    if not users:
        return
    container, state = (_running(users) or users)[0], "running" if _running(users) else "stopped"
    raise Conflict(
        f"{where} ({'cannot' if force else 'must'} be forced) - image is being used by {state} "
        f"container {short(container[0])} ({container[1]})",
        resolution="remove the container first" + ("" if force else ", or use rmi --force"),
    )


def _running(users: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    return [user for user in users if user[2] in RUNNING]


def _is_single(names: list[str]) -> bool:
    """Whether there is one real name: one tag with its digests, or digests of one repository."""
    tags = [name for name in names if naming.is_tag(name)]
    return len(tags) <= 1 and len({naming.repository(name) for name in names}) <= 1


def _names_with(name: str, names: list[str]) -> list[str]:
    """The name, and its repository's digests where it is the last tag of the repository."""
    repository = naming.repository(name)
    others = [other for other in names if other != name and naming.repository(other) == repository]
    if not naming.is_tag(name) or any(naming.is_tag(other) for other in others):
        return [name]
    return [name, *others]


def _blobs(context: ImageContext, image: StoredImage) -> set[str]:
    """Every blob that the image, under any of its names, refers to."""
    rows = [row for row in context.store.images.names() if row.image_id == image.image_id]
    manifests = {image.manifest_digest, *(row.manifest_digest for row in rows)}
    digests = {row.name.partition("@")[2] for row in rows} - {""}
    found = {image.image_id, *digests, *marking.layer_blobs(context, image.layers)}
    return found.union(*(marking.document_blobs(context, digest) for digest in manifests))


def deleted_layers(image: StoredImage, gone: Iterable[str]) -> Removed:
    """Docker's entries for those of the image's layers whose keys are in ``gone``."""
    keys = set(gone)
    chain = chain_ids((readable(image).get("rootfs") or {}).get("diff_ids") or [])
    pairs = zip(reversed(image.layers), reversed(chain), strict=False)
    return [{"Deleted": chain_id} for key, chain_id in pairs if key in keys]
