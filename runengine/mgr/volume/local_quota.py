"""Size limits of plain local volumes, by the filesystem's project quota."""

from __future__ import annotations

from contextlib import suppress

from runengine.errors import EngineError, InvalidParameter, Unsupported
from runengine.linux.locks import locked
from runengine.rootfs import quota

LOCK = "quota.lock"
"""Below the engine's root; held by whoever chooses a project that is free."""


def limit(root: str, place: str, size_bytes: int, name: str) -> None:
    """Limit what a volume's directory may hold. Raises Unsupported where that cannot be done."""
    try:
        with locked(f"{root}/{LOCK}"):
            quota.limit_directory(place, quota.Limits(size_bytes))
    except Unsupported as error:
        raise Unsupported(
            f"volume {name}: size= is not supported: its filesystem has no project quota",
            details=error.details,
            resolution="mount it with prjquota, or use -o type=tmpfs -o size=SIZE, or an image"
            " file: -o type=ext4 -o device=FILE -o o=loop",
        ) from None
    except InvalidParameter as error:
        raise InvalidParameter(f"volume {name}: {error.brief}") from None


def project_of(place: str) -> int:
    """The project that a volume's directory is limited by; 0 for none."""
    try:
        return quota.project_of(place)
    except (EngineError, OSError):
        return 0


def lift(root: str, project: int) -> None:
    """Forget the limit of a volume whose directory is gone: its project is free then."""
    if project:
        with suppress(EngineError, OSError):  # it was switched off meanwhile
            quota.set_limits(root, project, quota.Limits())
