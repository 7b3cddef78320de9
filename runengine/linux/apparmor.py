"""Load the default AppArmor profile into the kernel, once per boot (apparmor_parser(8))."""

from __future__ import annotations

import os

LOADED = "/sys/kernel/security/apparmor/profiles"
CONFIG = "/etc/apparmor.d"
_PARSER_TIMEOUT_S = 30.0


def is_loaded(name: str, listing: str = LOADED) -> bool:
    """Whether the kernel has a profile of this name."""
    try:
        with open(listing, encoding="utf-8", errors="replace") as file:
            return any(line.rpartition(" (")[0] == name for line in file)
    except OSError:
        return False


def load(name: str, text: str) -> None:
    """Give the profile's text to the kernel, in place of one of the same name.

    Raises OSError if there is no apparmor_parser or if it refuses the text.
    """
    import subprocess

    done = subprocess.run(
        ["apparmor_parser", "--replace", "--skip-cache"],
        input=text.encode(),
        capture_output=True,
        timeout=_PARSER_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise OSError(f"apparmor_parser refused {name}: {done.stderr.decode().strip()}")


def ensure(name: str, text: str) -> None:
    """Load the profile unless the kernel has it. Raises OSError."""
    if not is_loaded(name):
        load(name, text)


def has_tunables(config: str = CONFIG) -> bool:
    """Whether the distribution's definitions of @{PROC} and the like are there."""
    return os.path.exists(f"{config}/tunables/global")

