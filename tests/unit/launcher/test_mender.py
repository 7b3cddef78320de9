"""A flush of the firewall that was heard: one child at a time, and once more if need be."""

from __future__ import annotations

from typing import Any

from runengine.launcher.flushes import Mender


class Flushes:
    def __init__(self, *heard):
        self.answers = list(heard)

    def fileno(self):
        return 7

    def heard(self):
        return self.answers.pop(0)


def mender(*heard, pids):
    flushes: Any = Flushes(*heard)
    return Mender(flushes, lambda: pids.pop(0))


def test_what_is_not_ours_starts_nothing():
    one = mender(False, pids=[])
    one.hear()
    assert not one.ended(0)


def test_one_at_a_time_and_once_more_for_all_that_came_meanwhile():
    pids = [10, 11, 12]
    one = mender(True, True, True, True, pids=pids)
    for _ in range(3):
        one.hear()
    assert pids == [11, 12]
    assert not one.ended(9)
    assert one.ended(10)
    assert pids == [12]
    assert one.ended(11)
    assert pids == [12]
    one.hear()
    assert one.ended(12)


def test_a_child_that_cannot_be_is_tried_at_the_next_flush():
    pids = [0, 10]
    one = mender(True, True, pids=pids)
    one.hear()
    assert not one.ended(0)
    one.hear()
    assert one.ended(10)


def test_a_host_without_it():
    one = Mender(None, lambda: 1)
    assert one.fileno() == -1
    one.hear()
    one.forget()
    assert not one.ended(1)
