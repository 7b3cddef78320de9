"""Of what there is for the guests, everything runs, and once."""

from __future__ import annotations

from tests.vm import plan


def test_every_file_for_a_guest_is_in_one():
    here = {f"{plan.GUEST}/{path.name}" for path in (plan.REPOSITORY / plan.GUEST).glob("test_*")}
    assert {item.partition("::")[0] for item in plan.everything()} >= here


def test_nothing_runs_twice():
    everything = plan.everything()
    assert len(everything) == len(set(everything))


def test_what_others_need_comes_in_the_boot_before():
    (guest,) = (guest for guest in plan.GUESTS if len(guest.boots) > 1)
    wanted = set(plan.functions(f"{plan.GUEST}/test_after_crash.py"))
    boots = plan.select(guest, wanted)
    assert [boot["ending"] for boot in boots] == ["crash", "reboot"]
    assert boots[0]["items"] == list(plan.functions(f"{plan.GUEST}/test_before_crash.py"))
    assert set(boots[1]["items"]) == wanted


def test_a_guest_without_anything_to_do_does_not_boot():
    first, second = plan.GUESTS
    wanted = set(plan.functions(plan.contents(second)[-1].partition("::")[0]))
    assert plan.select(first, wanted) == []
    assert plan.select(second, wanted)
    assert {plan.guest_of(item) for item in wanted} == {second.name}
