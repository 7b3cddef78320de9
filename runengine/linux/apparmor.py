"""Load the default AppArmor profile into the kernel, once per boot (apparmor_parser(8))."""

from __future__ import annotations

import os

from runengine.linux import fsatomic

LOADED = "/sys/kernel/security/apparmor/profiles"
CONFIG = "/etc/apparmor.d"
_PARSER_TIMEOUT_S = 30.0


def is_loaded(name: str, listing: str = LOADED) -> bool:
    """Whether the kernel has a profile of this name."""
    return name in (_names(listing) or ())


def is_known_to_lack(name: str, listing: str = LOADED) -> bool:
    """Whether the kernel says that it has none; it may say nothing at all.

    Profiles of another namespace (``:name:profile``) are not in its list.
    """
    names = None if name.startswith(":") else _names(listing)
    return names is not None and name not in names


def _names(listing: str) -> set[str] | None:
    """The names of all loaded profiles; None where the list cannot be read."""
    try:
        with open(listing, encoding="utf-8", errors="replace") as file:
            return {line.rpartition(" (")[0] for line in file}
    except OSError:
        return None


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


def ensure(name: str, text: str, note: str) -> None:
    """Load the profile unless the kernel has it, with this very text. Raises OSError.

    The kernel tells no text, so the file ``note``, which must die with the boot, holds what was
    loaded last: another version of the engine has another profile under the same name.
    """
    data = text.encode()
    if is_loaded(name) and fsatomic.read_optional(note) == data:
        return
    load(name, text)
    fsatomic.replace(note, data, durable=False)


def has_tunables(config: str = CONFIG) -> bool:
    """Whether the distribution's definitions of @{PROC} and the like are there."""
    return os.path.exists(f"{config}/tunables/global")

