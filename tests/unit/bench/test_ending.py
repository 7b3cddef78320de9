"""A benchmark that is told to end: when the exit comes, and that it comes once."""

from __future__ import annotations

import signal
import threading

import pytest

from scripts.bench import ending
from scripts.bench.ending import held, orderly


@pytest.fixture(autouse=True)
def _handlers(monkeypatch):
    monkeypatch.setattr(ending._State, "held", 0)
    monkeypatch.setattr(ending._State, "told", 0)
    before = {number: signal.getsignal(number) for number in ending.SIGNALS}
    orderly()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ending.SIGNALS)
def test_a_signal_is_an_exit(number, capsys):
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    assert ended.value.code == 128 + number
    assert number.name in capsys.readouterr().err


def test_further_ones_do_not_disturb_the_clearing_up():
    with pytest.raises(SystemExit):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    with held():
        signal.raise_signal(signal.SIGINT)


def test_a_command_is_let_end_first():
    done = []

    def two_commands() -> None:
        with held():
            with held():
                signal.raise_signal(signal.SIGTERM)
                done.append("inner")
            done.append("outer")

    with pytest.raises(SystemExit) as ended:
        two_commands()
    assert done == ["inner", "outer"]
    assert ended.value.code == 128 + signal.SIGTERM


def test_commands_of_other_threads_hold_nothing_up():
    inside, go_on = threading.Event(), threading.Event()

    def command() -> None:
        with held():
            inside.set()
            go_on.wait()

    thread = threading.Thread(target=command)
    thread.start()
    inside.wait()
    try:
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)
    finally:
        go_on.set()
        thread.join()
