"""Totals of pytest reports: "passed failed skipped", then a line for each thing worth telling.

A later report has the tests of the first one that failed, run once more: its word counts.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import NamedTuple
from xml.etree import ElementTree


class Totals(NamedTuple):
    """How many tests passed, failed (an error counts) and were skipped, and what to say of it."""

    passed: int
    failed: int
    skipped: int
    remarks: list[str]


def outcomes(path: str) -> dict[str, tuple[str, str]]:
    """Each test's outcome in a report, with the reason for a skip."""
    found: dict[str, tuple[str, str]] = {}
    for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314 (our own pytest's report)
        name = f"{case.get('classname')}::{case.get('name')}"
        skipped = case.find("skipped")
        # One whose teardown fails stands there twice.
        if case.find("failure") is not None or case.find("error") is not None:
            found[name] = ("failed", "")
        elif skipped is not None:
            found[name] = ("skipped", skipped.get("message") or "no reason given")
        else:
            found.setdefault(name, ("passed", ""))
    return found


def totals(paths: list[str]) -> Totals:
    """Of the first report, as the later ones correct it."""
    last: dict[str, tuple[str, str]] = {}
    mended = []
    for path in paths:
        found = outcomes(path)
        mended += [name for name in found if last.get(name, ("",))[0] == "failed"
                   and found[name][0] == "passed"]  # fmt: skip
        last |= found
    counts = Counter(outcome for outcome, _ in last.values())
    reasons = Counter(reason for outcome, reason in last.values() if outcome == "skipped")
    remarks = [f"{count} skipped: {reason}" for reason, count in reasons.most_common()]
    remarks += [f"failed at first, passed when run again: {name}" for name in mended]
    return Totals(counts["passed"], counts["failed"], counts["skipped"], remarks)


def main() -> None:
    """Print the totals of the reports named on the command line."""
    found = totals(sys.argv[1:])
    sys.stdout.write(f"{found.passed} {found.failed} {found.skipped}\n")
    sys.stdout.writelines(f"{remark}\n" for remark in found.remarks)


if __name__ == "__main__":
    main()
