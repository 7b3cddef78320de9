"""Which images ``save`` is to save, by what the user typed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter, NotFound
from runengine.mgr.image import naming
from runengine.registry import platform as platforms
from runengine.registry import reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.store.images import ImageRow, Images, StoredImage


class Chosen(NamedTuple):
    """An image, and the tags under which it goes out (none: it was chosen by id or digest)."""

    image: StoredImage
    manifest_digest: str
    tags: list[str]  # normalised

    @property
    def shown(self) -> str:
        """What to call it in an error."""
        return naming.familiar(self.tags[0]) if self.tags else self.image.image_id


def choose(images: Images, names: Sequence[str], platform: str | None) -> list[Chosen]:
    """Each image once for each of its manifests, in the order in which they were named.

    A repository without a tag stands for all of its tags, as in Docker. Raises NotFound, also
    for an image that is not for ``platform``, and InvalidParameter.
    """
    found: dict[tuple[str, str], Chosen] = {}
    for name in names:
        for chosen in _named(images, name):
            key = chosen.image.image_id, chosen.manifest_digest
            known = found.get(key, chosen)
            tags = list(dict.fromkeys([*known.tags, *chosen.tags]))
            found[key] = known._replace(tags=tags)
    if platform is not None:
        _check_platform(list(found.values()), platforms.Platform.parse(platform))
    return list(found.values())


def _named(images: Images, text: str) -> list[Chosen]:
    rows = _of_repository(images, text)
    if rows:
        return [chosen for row in rows if (chosen := _of_row(images, row)) is not None]
    found = naming.find(images, text)
    row = images.find_name(found.name) if found.name else None
    chosen = _of_row(images, row) if row else None
    return [chosen or Chosen(found.image, found.image.manifest_digest, [])]


def _of_repository(images: Images, text: str) -> list[ImageRow]:
    """Every tag of what is a repository and nothing more."""
    try:
        parsed = reference.parse(text, default_tag=None)
    except InvalidParameter:
        return []
    if parsed.tag or parsed.digest:
        return []
    prefix = f"{parsed.name}:"
    return [row for row in images.names() if row.name.startswith(prefix)]


def _of_row(images: Images, row: ImageRow) -> Chosen | None:
    image = images.get_image(row.image_id)
    tags = [row.name] if naming.is_tag(row.name) else []
    return Chosen(image, row.manifest_digest, tags) if image else None


def _check_platform(chosen: Sequence[Chosen], wanted: platforms.Platform) -> None:
    for each in chosen:
        config = json.loads(each.image.config)
        fields = (config.get("os"), config.get("architecture"), config.get("variant"))
        own = platforms.normalised(*(field or "" for field in fields))
        if own != wanted:
            raise NotFound(
                f"image {each.shown} is not here for platform {wanted}",
                details=f"it is for {own}",
                resolution=f"runengine pull --platform {wanted} {each.shown}",
            )
