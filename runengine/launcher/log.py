"""The service's log: lines on standard error, which the service manager keeps."""

from __future__ import annotations

import os
from contextlib import suppress


def log(text: str) -> None:
    """One line. Its reader may have gone and its disk may be full: that ends no service."""
    with suppress(OSError):
        os.write(2, f"runengine: {text}\n".encode(errors="backslashreplace"))
