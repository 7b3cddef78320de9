"""Names of images: finding an image by what the user typed, and tagging."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import AmbiguousName, InvalidParameter, NotFound
from runengine.registry import reference

if TYPE_CHECKING:
    from runengine.registry.reference import Reference
    from runengine.store.images import Images, StoredImage

_ID = re.compile(r"(?:sha256:)?[0-9a-f]{1,64}")
_FULL_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class Found(NamedTuple):
    """An image, and the name that led to it (None: it was named by its id)."""

    image: StoredImage
    name: str | None


def find(images: Images, text: str) -> Found:
    """The image that ``text`` means: a full id, then a name, then a unique id prefix.

    Names come before prefixes, so that ``beef`` is the repository while there is one. Raises
    NotFound, AmbiguousName, or InvalidParameter for a text that can be neither.
    """
    parsed = None if _FULL_ID.fullmatch(text) else _parsed(text)
    if parsed is not None:
        row = images.find_name(str(parsed))
        image = images.get_image(row.image_id) if row else None
        if row and image:
            return Found(image, row.name)
    image = _by_id(images, text) if _ID.fullmatch(text) else None
    if image is None:
        raise NotFound(
            f"No such image: {parsed.familiar if parsed else text}",
            resolution="see `runengine images`, or pull it",
        )
    return Found(image, None)


def _parsed(text: str) -> Reference | None:
    try:
        return reference.parse(text)
    except InvalidParameter:
        if _ID.fullmatch(text):
            return None
        raise


def _by_id(images: Images, text: str) -> StoredImage | None:
    ids = images.find_ids(text)
    if len(ids) > 1:
        raise AmbiguousName(
            f"image {text}: too many: {len(ids)} images have this prefix",
            resolution="give more digits of the id",
        )
    return images.get_image(ids[0]) if ids else None


def familiar(name: str) -> str:
    """A stored name as Docker shows it."""
    return reference.parse(name, default_tag=None).familiar


def repository(name: str) -> str:
    """``docker.io/library/debian`` of a stored name, tagged or by digest."""
    return reference.parse(name, default_tag=None).name


def is_tag(name: str) -> bool:
    """Whether a stored name is a tag (otherwise it is by digest)."""
    return "@" not in name


def shown(names: list[str]) -> tuple[list[str], list[str]]:
    """Docker's RepoTags and RepoDigests of an image's names."""
    tags = [familiar(name) for name in names if is_tag(name)]
    return tags, [familiar(name) for name in names if not is_tag(name)]


def name_of(names: list[str], text: str, image: str) -> str:
    """The one of an image's ``names`` that ``text`` is. Raises NotFound, InvalidParameter."""
    wanted = str(reference.parse(text))
    if wanted not in names:
        raise NotFound(
            f"{familiar(wanted)} is not a name of image {image}",
            resolution=f"see `runengine image inspect {image}`",
        )
    return wanted


def target(text: str) -> Reference:
    """A name that ``tag``, ``import`` or ``commit`` may set; ``latest`` where there is no tag.

    Raises InvalidParameter for a digest, and for a last component ``sha256``: with a tag it
    would read like an id.
    """
    if "@" in text:
        raise InvalidParameter(
            f"refusing to create a tag with a digest reference: {text}",
            resolution="name a tag, as in name:tag",
        )
    parsed = reference.parse(text)
    if parsed.repository.rpartition("/")[2] == "sha256":
        raise InvalidParameter(
            f"refusing to create an ambiguous tag: {text}",
            details="a repository named sha256 reads like an image id",
        )
    return parsed


def tag(images: Images, source: str, name: str) -> str:
    """Point ``name`` at the image ``source``, also when it points elsewhere now.

    Returns the normalised name. Raises NotFound for the source, InvalidParameter for the name.
    """
    wanted = str(target(name))
    found = find(images, source)
    row = images.find_name(found.name) if found.name else None
    manifest_digest = row.manifest_digest if row else found.image.manifest_digest
    try:
        images.set_name(wanted, found.image.image_id, manifest_digest)
    except sqlite3.IntegrityError:
        raise NotFound(f"No such image: {source}: it was just removed") from None
    return wanted
