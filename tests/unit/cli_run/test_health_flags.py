"""``--health-*``: what they make, and Docker's words for what is wrong."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.cli.run_values import duration
from runengine.errors import InvalidParameter
from runengine.mgr.container.health import duration_text
from tests.unit.cli_run.test_run_flags import build, config

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("words", "check"),
    [
        ([], None),
        (["--health-cmd", "a b"], {"Test": ["CMD-SHELL", "a b"]}),
        (["--health-cmd", ""], None),
        (["--health-interval", "1m30s"], {"Interval": 90 * SECOND}),
        (["--health-interval", "0", "--health-retries", "0"], None),
        (
            ["--health-cmd", "x", "--health-timeout", "100ms", "--health-retries", "2",
             "--health-start-period", "1.5h", "--health-start-interval", "2us"],
            {"Test": ["CMD-SHELL", "x"], "Timeout": SECOND // 10, "Retries": 2,
             "StartPeriod": 5400 * SECOND, "StartInterval": 2000},
        ),
        (["--no-healthcheck"], {"Test": ["NONE"]}),
        (["--no-healthcheck", "--health-interval", "0s"], {"Test": ["NONE"]}),
    ],
)  # fmt: skip
def test_the_check_they_make(words, check):
    assert config(*words, "busybox")["Healthcheck"] == check


@pytest.mark.parametrize(
    "words",
    [["--health-cmd", "x"], ["--health-interval", "1s"], ["--health-retries", "1"],
     ["--health-timeout", "1s"], ["--health-start-period", "1s"],
     ["--health-start-interval", "1s"]],
)  # fmt: skip
def test_no_healthcheck_stands_alone(words):
    with pytest.raises(InvalidParameter, match="--no-healthcheck conflicts with --health-"):
        build("--no-healthcheck", *words, "busybox")


@pytest.mark.parametrize(
    "flag", ["interval", "timeout", "start-period", "start-interval", "retries"]
)
def test_negative_values(flag):
    value = "-1" if flag == "retries" else "-1s"
    with pytest.raises(InvalidParameter, match=f"--health-{flag} cannot be negative"):
        build(f"--health-{flag}={value}", "busybox")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("1m5", 'time: missing unit in duration "1m5"'),
        ("5x", 'time: unknown unit "x" in duration "5x"'),
        ("1 s", 'time: unknown unit " s" in duration "1 s"'),
        ("-", 'time: invalid duration "-"'),
        ("x", 'time: invalid duration "x"'),
        (".s", 'time: invalid duration ".s"'),
        ("٣s", 'time: invalid duration "٣s"'),
        ("9999999999h", 'time: invalid duration "9999999999h"'),
        ("1" * 1000 + "s", "time: invalid duration"),
    ],
)
def test_bad_durations(text, message):
    with pytest.raises(click.UsageError) as caught:
        build("--health-interval", text, "busybox")
    assert message in caught.value.message
    assert '"--health-interval" flag' in caught.value.message


def test_retries_are_a_number():
    with pytest.raises(click.UsageError, match="health-retries"):
        build("--health-retries", "some", "busybox")


@pytest.mark.parametrize(
    ("text", "ns"),
    [("0", 0), ("+1s", SECOND), ("1h2m3.5s", 3723 * SECOND + SECOND // 2), (".5s", SECOND // 2),
     ("1.s", SECOND), ("1µs2μs3us", 6000), ("1.0000000019s", SECOND + 1), ("-2ms", -2_000_000)],
)  # fmt: skip
def test_durations(text, ns):
    assert duration(text) == ns


@given(st.integers(0, (1 << 63) - 1))
def test_a_written_duration_is_read_back(ns):
    assert duration(duration_text(ns)) == ns


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_refused(text):
    try:
        ns = duration(text)
    except ValueError as error:
        message = str(error)
    else:
        assert abs(ns) < 1 << 63
        return
    assert f'duration "{text}"' in message
