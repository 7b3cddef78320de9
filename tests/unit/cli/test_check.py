"""``system check``."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from runengine.mgr.check.run import Outcome, Report
from tests.support.cli import call

FOUND = Outcome("Mounts", "mount", "/a", "nobody's\nmount", "unmount it", "found")
REPAIRED = FOUND._replace(state="repaired")
FAILED = FOUND._replace(section="Images", state="failed", error="it is busy")


def check(*words, outcomes=()):
    asked = []

    def answer(*, repair):
        asked.append(repair)
        return Report(list(outcomes))

    done = call("system", "check", *words, system=SimpleNamespace(check=answer))
    return done, asked


def test_nothing_differs():
    done, asked = check()
    assert (done.exit_code, done.stdout) == (0, "Everything is as it should be\n")
    assert asked == [False]


def test_what_differs_and_what_to_do():
    done, _ = check(outcomes=[FOUND])
    assert done.exit_code == 1
    assert done.stdout == (
        "Mounts\n  DIFFERENCE  mount /a: nobody's mount\n    -> unmount it\n1 difference\n"
    )


def test_what_was_repaired_and_what_was_not():
    done, asked = check("--repair", outcomes=[REPAIRED])
    assert (done.exit_code, asked) == (0, [True])
    assert done.stdout.endswith("  repaired  mount /a: nobody's mount\n1 difference, 1 repaired\n")
    done, _ = check("--repair", outcomes=[REPAIRED, FAILED])
    assert done.exit_code == 1
    assert done.stdout.endswith(
        "Images\n  NOT REPAIRED  mount /a: nobody's mount\n    -> it is busy\n"
        "2 differences, 1 repaired, 1 left\n"
    )


@pytest.mark.parametrize("outcomes", [[], [FOUND]])
def test_as_json(outcomes):
    done, _ = check("--format", "json", outcomes=outcomes)
    document = json.loads(done.stdout)
    assert document["Clean"] == (not outcomes)
    assert len(document["Differences"]) == len(outcomes)
    done, _ = check("--format", "{{.Clean}}", outcomes=outcomes)
    assert done.stdout == f"{str(not outcomes).lower()}\n"
