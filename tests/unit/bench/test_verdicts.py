"""Verdicts of benchmarks: each budget against each engine that was there."""

from __future__ import annotations

import pytest

from scripts.bench import verdicts
from scripts.bench.harness import Sample, compared, host_facts, name_engines, quantile
from scripts.bench.verdicts import Budget, judge, summary

SAMPLES = {
    "ours": [Sample(wall, 0.0) for wall in (0.010, 0.020, 0.900)],
    "theirs": [Sample(wall, 0.0) for wall in (0.040, 0.050, 0.060)],
    "others": [Sample(0.010, 0.0)],
}


@pytest.fixture(autouse=True)
def _none_passed(monkeypatch):
    monkeypatch.setattr(verdicts, "_passed", [])


def test_a_budget_is_met_at_its_limit_and_not_beyond():
    assert judge("a", "b", 0.4, 0.4) == "≤ 0.4: met"
    assert judge("a", "b", 0.401, 0.4) == "≤ 0.4: NOT MET"


def test_the_summary_has_every_verdict_in_order():
    judge("start", "docker", 0.25, 0.4)
    judge("failures", "", 2, 0)
    _head, _rule, first, second = summary()
    assert first == ["start", "docker", "0.25", "≤ 0.4", "met"]
    assert second == ["failures", "", "2", "≤ 0", "NOT MET"]


def test_medians_are_compared_with_every_row_that_has_a_limit():
    budget = Budget("ours", {"theirs": 0.4, "others": 1.5, "absent": 0.1})
    cells = [compared("run", budget, name, SAMPLES) for name in SAMPLES]
    assert cells == ["", "0.40 (≤ 0.4: met)", "2.00 (≤ 1.5: NOT MET)"]
    assert [line[:2] for line in summary()[2:]] == [
        ["ours: run", "theirs"],
        ["ours: run", "others"],
    ]


def test_a_row_without_a_limit_is_compared_but_not_judged():
    assert compared("run", Budget("ours", {}), "theirs", SAMPLES) == "0.40"
    assert len(summary()) == 2


def test_quantiles_are_by_nearest_rank():
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 3.0, 5.0, 5.0]


def test_tables_say_who_was_compared_with():
    try:
        name_engines(["Docker 28.5.2", "runc 1.1.5"])
        assert host_facts().endswith(", Docker 28.5.2, runc 1.1.5")
    finally:
        name_engines([])
