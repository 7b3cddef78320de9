"""Pulls in processes of their own, to be stopped and looked at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:

    from runengine.paths import Paths

CODE = """
import json, sys
from runengine.paths import Paths
from tests.support.images import image_mgr
with image_mgr(Paths(*sys.argv[1:3]), **json.loads(sys.argv[4])) as images:
    images.pull(sys.argv[3])
"""


def start(paths: Paths, reference: str, **settings: Any) -> subprocess.Popen[str]:
    """A pull that leads a session of its own."""
    argv = [sys.executable, "-c", CODE, paths.root, paths.state, reference, json.dumps(settings)]
    return subprocess.Popen(argv, start_new_session=True, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its exit code and what it said on standard error."""
    errors = process.communicate(timeout=60)[1]
    return process.returncode, errors


def members(group: int) -> list[str]:
    """States of the processes that are left of a session."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if os.getsid(int(entry)) == group:
                    found.append(Path(f"/proc/{entry}/stat").read_text().split()[2])
            except (ProcessLookupError, FileNotFoundError):
                continue
    return [state for state in found if state != "Z"]
