"""Write the default seccomp profile in Docker's form, or look for calls that it does not know.

    python3 scripts/seccomp_profile.py >profile.json      to edit, and to use by
                                                          --security-opt seccomp=profile.json
    python3 scripts/seccomp_profile.py --all              with every table of each machine
    python3 scripts/seccomp_profile.py --unknown /usr/include

The source is ``runengine/oci_spec/seccomp_default.json``: system calls in groups by purpose, each
with the condition under which it is allowed. From there the engine makes the filter of each
container; this is the same, with the conditions left for whoever reads it to decide.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from runengine.oci_spec import seccomp

HEADERS = "**/asm*/unistd*.h"
NO_CALLS = {"arch_specific_syscall", "llseek", "syscalls"}
"""Of the generic header: bounds of its table, and another name for _llseek."""


def docker_form(*, every_table: bool = False) -> dict[str, Any]:
    """The default profile in Docker's form, for all machines at once."""
    return {
        "defaultAction": seccomp.ERRNO,
        "defaultErrnoRet": seccomp.EPERM,
        "archMap": [
            {
                "architecture": machine.scmp,
                "subArchitectures": [scmp for _, scmp in machine.subs] if every_table else [],
            }
            for machine in dict.fromkeys(seccomp.MACHINES.values())
        ],
        "syscalls": [
            _rule(group, every_table=every_table)
            for group in seccomp.groups()
            if "denied" not in group
        ],
    }


def _rule(group: dict[str, Any], *, every_table: bool) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "names": group["calls"],
        "action": seccomp.ERRNO if "errno" in group else seccomp.ALLOW,
        "comment": group["purpose"],
    }
    if "errno" in group:
        rule["errnoRet"] = group["errno"]
    if "args" in group:
        rule["args"] = group["args"]
    includes = {
        "caps": [group["cap"]] if "cap" in group else [],
        "arches": _arches(group, every_table=every_table),
        "minKernel": group.get("since", ""),
    }
    excludes = {
        "caps": [group["without"]] if "without" in group else [],
        "arches": [seccomp.MACHINES[name].docker for name in group.get("not_machines", ())],
    }
    for name, conditions in (("includes", includes), ("excludes", excludes)):
        rule[name] = {key: value for key, value in conditions.items() if value}
    return rule


def _arches(group: dict[str, Any], *, every_table: bool) -> list[str]:
    names = group.get("machines", ())
    if "bits" in group:
        names = [
            name
            for name, machine in seccomp.MACHINES.items()
            if machine.bits == 32 or (every_table and machine.subs)
        ]
    return list(dict.fromkeys(seccomp.MACHINES[name].docker for name in names))


def unknown(include: Path) -> list[str]:
    """Calls in the kernel's headers (asm/unistd_64.h and the like) that no group names."""
    known = {name for group in seccomp.groups() for name in group["calls"]}
    found: set[str] = set()
    for header in include.glob(HEADERS):
        for line in header.read_text().splitlines():
            words = line.split()
            if len(words) == 3 and words[0] == "#define" and words[1].startswith("__NR_"):
                found.add(words[1].removeprefix("__NR_"))
    return sorted(found - known - NO_CALLS)


def main() -> int:
    """Print what was asked for; 1 if there are unknown calls."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="every table of each machine")
    parser.add_argument("--unknown", metavar="DIR", type=Path, help="look through kernel headers")
    options = parser.parse_args()
    if options.unknown is None:
        print(json.dumps(docker_form(every_table=options.all), indent=1))
        return 0
    names = unknown(options.unknown)
    print("\n".join(names), end="\n" if names else "")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
