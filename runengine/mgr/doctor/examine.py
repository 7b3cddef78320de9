"""Run every check on this host."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

from runengine import __version__, config
from runengine.errors import EngineError
from runengine.mgr.doctor import (
    cgroups,
    engine,
    kernel,
    limits,
    measuring,
    network,
    programs,
    security,
    service,
    storage,
)
from runengine.mgr.doctor.host import (
    NOTE,
    OK,
    PROBLEM,
    PROGRAM_TIMEOUT_S,
    SEARCHED,
    Finding,
    Hidden,
    Host,
    Probes,
    Section,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runengine.paths import Paths

    Check = Callable[[Host], Iterator[Finding]]

SECTIONS: tuple[tuple[str, tuple[Check, ...]], ...] = (
    ("Engine", engine.CHECKS),
    ("Kernel", kernel.CHECKS),
    ("Security", security.CHECKS),
    ("Control groups", cgroups.CHECKS),
    ("Network", network.CHECKS),
    ("Programs", programs.CHECKS),
    ("Storage", storage.CHECKS),
    ("Limits", limits.CHECKS),
    ("Measurements", measuring.CHECKS),
    ("Service", service.CHECKS),
)


def examine(paths: Paths) -> list[Section]:
    """Everything about the host that this process runs on."""
    return examine_host(this_host(paths))


def this_host(paths: Paths) -> Host:
    """The host that this process runs on, with what the configuration file says."""
    error: Exception | None = None
    try:
        settings = config.load(paths)
    except (EngineError, OSError) as caught:
        settings, error = config.defaults(paths), caught
    is_root = os.geteuid() == 0
    return Host(paths, real_probes(), settings, error, is_root=is_root)


def examine_host(host: Host) -> list[Section]:
    """Everything about this host."""
    return [
        Section(title, tuple(finding for check in checks for finding in _run(check, host)))
        for title, checks in SECTIONS
    ]


def _run(check: Check, host: Host) -> list[Finding]:
    """The findings of one check; where it fails, that is one."""
    found: list[Finding] = []
    try:
        found.extend(check(host))
    except Hidden as hidden:
        found.append(Finding(_name(check), NOTE, str(hidden)))
    except Exception as error:  # noqa: BLE001 - a report with a hole is better than none
        words = str(error) or type(error).__name__
        found.append(Finding(_name(check), NOTE, f"cannot be seen here: {words}"))
    return found


def _name(check: Check) -> str:
    return getattr(check, "__name__", "check").replace("_", " ")


def is_healthy(sections: Sequence[Section]) -> bool:
    """Whether nothing is missing that is needed."""
    return not any(f.status == PROBLEM for section in sections for f in section.findings)


def document(sections: Sequence[Section]) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "Version": __version__,
        "Healthy": is_healthy(sections),
        "Sections": [
            {
                "Title": section.title,
                "Findings": [
                    {"Name": f.name, "Status": f.status, "Seen": f.seen, "Remedy": f.remedy}
                    for f in section.findings
                ],
            }
            for section in sections
        ],
    }


def count(sections: Sequence[Section]) -> dict[str, int]:
    """How many findings there are of each status."""
    statuses = [finding.status for section in sections for finding in section.findings]
    return {status: statuses.count(status) for status in (OK, NOTE, PROBLEM)}


def real_probes() -> Probes:
    """What asks this kernel and this host's programs."""
    from runengine.linux import dtype, syscalls
    from runengine.netns import capabilities, nftables
    from runengine.runtime import runc

    def nftables_there() -> None:
        try:
            nftables.chains()
        except OSError as error:
            raise nftables.refused("look at the firewall", error) from error

    return Probes(
        system_call=syscalls.is_there,
        driver=capabilities.driver_available,
        nftables=nftables_there,
        d_type=dtype.tells_types,
        output=_output,
        features=lambda words: runc.Runtime(words).features(),
    )


def _output(words: Sequence[str]) -> str:
    done = subprocess.run(
        words,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        timeout=PROGRAM_TIMEOUT_S,
        env={"PATH": SEARCHED, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        cwd="/",
        check=False,
    )
    return done.stdout or done.stderr
