"""How a container ended that is no more, as far as the journal of events goes back.

``id=$(runengine run -d --rm ...); runengine wait $id`` must not depend on who is quicker. Only by
id: a name may have been another container's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from runengine.ids import SHORT_ID_LENGTH
from runengine.mgr.events import UNKNOWN
from runengine.store.journal import parse_block

if TYPE_CHECKING:
    from collections.abc import Iterator

_ID = re.compile(f"[0-9a-f]{{{SHORT_ID_LENGTH},64}}")


class End(NamedTuple):
    """A container's last exit; the code is None where nobody saw it."""

    container_id: str
    exit_code: int | None


def find_end(journal: str, text: str) -> End | None:
    """The end of the container whose id is or begins with ``text``; None if nothing tells."""
    if not _ID.fullmatch(text):
        return None
    needle = f'"id":"{text}'.encode()
    for block in _backwards(journal):
        if needle not in block:
            continue
        for message in reversed(list(parse_block(block))):
            if _is_end(message, text):
                code = message["Actor"]["Attributes"].get("exitCode", UNKNOWN)
                known = code.isascii() and code.isdigit()
                return End(message["Actor"]["ID"], int(code) if known else None)
    return None


def _backwards(journal: str) -> Iterator[bytes]:
    from runengine.mgr.log_files import open_chain

    files = open_chain(journal)
    try:
        for file in reversed(files):
            for _, block in file.blocks_backwards():
                yield block
    finally:
        for file in files:
            file.close()


def _is_end(message: dict[str, Any], text: str) -> bool:
    what = (message["Type"], message["Action"])
    return what == ("container", "die") and message["Actor"]["ID"].startswith(text)
