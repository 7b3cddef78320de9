"""Totals of a pytest report: "passed failed skipped", then a line for each reason to skip."""

from __future__ import annotations

import sys
from collections import Counter
from xml.etree import ElementTree


def totals(path: str) -> tuple[int, int, int, Counter[str]]:
    """How many tests passed, failed (an error counts) and were skipped, and why those were."""
    passed = failed = 0
    reasons: Counter[str] = Counter()
    for case in ElementTree.parse(path).iter("testcase"):  # noqa: S314 (our own pytest's report)
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skipped is not None:
            reasons[skipped.get("message") or "no reason given"] += 1
        else:
            passed += 1
    return passed, failed, sum(reasons.values()), reasons


def main() -> None:
    """Print the totals of the report named on the command line."""
    passed, failed, skipped, reasons = totals(sys.argv[1])
    sys.stdout.write(f"{passed} {failed} {skipped}\n")
    for reason, count in reasons.most_common():
        sys.stdout.write(f"{count} skipped: {reason}\n")


if __name__ == "__main__":
    main()
