"""Identifiers: container ids and names, digests."""

from __future__ import annotations

import os
import re
from typing import NewType

from runengine.errors import InvalidParameter

Digest = NewType("Digest", str)
"""Hash of a blob as stored or transferred, ``sha256:<64 hex>`` (image-spec, descriptor.md)."""
DiffID = NewType("DiffID", str)
"""Hash of a layer's uncompressed tar (image-spec, config.md)."""
ChainID = NewType("ChainID", str)
"""Hash of a stack of layers (image-spec, config.md#layer-chainid)."""

SHORT_ID_LENGTH = 12
_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"/?[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def new_id() -> str:
    """A fresh container, exec or network id: 64 hex digits from the kernel's random source."""
    return os.urandom(32).hex()


def is_id(text: str) -> bool:
    """Whether ``text`` is a full id."""
    return _ID.fullmatch(text) is not None


def short(identifier: str) -> str:
    """First 12 digits, without a digest's algorithm."""
    return identifier.removeprefix("sha256:")[:SHORT_ID_LENGTH]


def check_name(name: str) -> str:
    """Return the container name without its optional leading slash.

    Raises InvalidParameter for anything but ``[a-zA-Z0-9][a-zA-Z0-9_.-]+``.
    """
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        )
    return name.removeprefix("/")


def is_digest(text: str) -> bool:
    """Whether ``text`` is a well-formed sha256 digest."""
    return _DIGEST.fullmatch(text) is not None


def check_digest(text: str) -> Digest:
    """Return ``text`` as a digest. Raises InvalidParameter if it is not ``sha256:<64 hex>``."""
    if not is_digest(text):
        raise InvalidParameter(f"invalid digest {text!r}: expected sha256:<64 lower-case hex>")
    return Digest(text)


def hex_of(digest: str) -> str:
    """The part behind ``sha256:``; safe as a file name once checked."""
    return digest.partition(":")[2]


def chain_ids(diff_ids: list[DiffID]) -> list[ChainID]:
    """Chain id of every prefix of a layer stack (image-spec, config.md#layer-chainid)."""
    import hashlib

    chain: list[ChainID] = []
    for diff_id in diff_ids:
        if chain:
            text = f"{chain[-1]} {diff_id}".encode()
            chain.append(ChainID("sha256:" + hashlib.sha256(text).hexdigest()))
        else:
            chain.append(ChainID(diff_id))
    return chain
