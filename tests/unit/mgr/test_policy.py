"""When a container is started again: Docker's rules, as tables and as properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.linux import clock
from runengine.mgr.container import policy
from runengine.store.containers import Restarts, created_state
from tests.support.documents import changed

SECOND = 1_000_000_000


def ended(code, ran_s=1.0):
    """A container that ended with this code after so many seconds."""
    start = 1_700_000_000 * SECOND
    return changed(
        created_state(),
        {
            "Status": "exited",
            "ExitCode": code,
            "StartedAt": clock.format_ns(start),
            "FinishedAt": clock.format_ns(start + int(ran_s * SECOND)),
        },
    )


def restarts(text, *, code=1, desired="running", times=0, at="exit", state=None):
    decision = policy.decide(
        policy.parse(text), desired, state or ended(code), Restarts(times, 0.0), at=at
    )
    return decision.restart


@pytest.mark.parametrize(
    ("text", "name", "count"),
    [
        # U-01, U-02, U-03
        ("", "no", 0),
        ("no", "no", 0),
        ("always", "always", 0),
        ("always:", "always", 0),
        ("always:0", "always", 0),
        ("unless-stopped", "unless-stopped", 0),
        ("on-failure", "on-failure", 0),
        ("on-failure:0", "on-failure", 0),
        ("on-failure:+7", "on-failure", 7),
    ],
)
def test_spellings(text, name, count):
    assert policy.parse(text) == {"Name": name, "MaximumRetryCount": count}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # U-03: the words are Docker's
        (":", "no policy provided before colon"),
        (":3", "no policy provided before colon"),
        ("on-failure:x", "maximum retry count must be an integer"),
        ("on-failure:1.5", "maximum retry count must be an integer"),
        ("on-failure:3:4", "maximum retry count must be an integer"),
        ("on-failure:٣", "maximum retry count must be an integer"),
        ("on-failure:9999999999999999999", "maximum retry count must be an integer"),
        ("on-failure:" + "9" * 5000, "maximum retry count must be an integer"),
        ("on-failure:-1", "maximum retry count cannot be negative"),
        ("always:3", "can only be used with 'on-failure'$"),
        ("no:1", "can only be used with 'on-failure'$"),
        ("unless-stopped:-1", "can only be used with 'on-failure' and cannot be negative"),
        ("Always", "unknown policy 'Always'; use one of 'no', 'always', 'on-failure'"),
        ("sometimes", "unknown policy 'sometimes'"),
    ],
)
def test_refused(text, words):
    with pytest.raises(InvalidParameter, match=words):
        policy.parse(text)


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        # U-04
        ("no", 1, False),
        ("always", 0, True),
        ("always", 1, True),
        ("unless-stopped", 0, True),
        ("on-failure", 0, False),
        ("on-failure", 1, True),
        ("on-failure", 137, True),
        ("on-failure", None, True),  # nobody saw it: not known to be a success
    ],
)
def test_at_an_exit(text, code, expected):
    assert restarts(text, code=code) is expected


@pytest.mark.parametrize("text", ["no", "always", "unless-stopped", "on-failure"])
def test_the_user_s_stop_is_the_last_word_at_an_exit(text):
    # U-05
    assert not restarts(text, desired="stopped")


@pytest.mark.parametrize(
    ("text", "desired", "expected"),
    [
        # L-05, L-08, U-06
        ("no", "running", False),
        ("always", "running", True),
        ("always", "stopped", True),
        ("unless-stopped", "running", True),
        ("unless-stopped", "stopped", False),
        ("on-failure", "running", True),
        ("on-failure", "stopped", False),
    ],
)
def test_when_the_service_comes_up(text, desired, expected):
    assert restarts(text, desired=desired, at="service") is expected


@pytest.mark.parametrize(("times", "expected"), [(0, True), (2, True), (3, False), (9, False)])
def test_on_failure_has_a_limit(times, expected):
    assert restarts("on-failure:3", times=times) is expected
    assert restarts("on-failure", times=times)


@pytest.mark.parametrize("status", ["created", "creating", "running", "paused", "removing"])
@pytest.mark.parametrize("at", ["exit", "service"])
def test_only_what_has_ended_is_started(status, at):
    # L-03
    state = changed(ended(1), {"Status": status})
    assert not restarts("always", state=state, at=at)


@pytest.mark.parametrize("at", ["exit", "service"])
def test_what_never_ran_is_not_started(at):
    state = changed(created_state(), {"Status": "exited", "ExitCode": 127})
    assert not restarts("always", state=state, at=at)


def test_the_delay_doubles_up_to_a_minute():
    # U-04
    account, delays = Restarts(), []
    for _ in range(12):
        decision = policy.decide(policy.parse("always"), "running", ended(1), account, at="exit")
        account = Restarts(account.times + 1, decision.delay_s)
        delays.append(decision.delay_s)
    assert delays[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert delays[-2:] == [60.0, 60.0]


@pytest.mark.parametrize(("ran_s", "delay_s"), [(9.9, 60.0), (10.0, 0.1)])
@pytest.mark.parametrize("by_the_clock_s", [-3600.0, 0.0, 3600.0])
def test_setting_the_clock_changes_no_delay(ran_s, delay_s, by_the_clock_s):
    state = changed(ended(1, by_the_clock_s), {"RanS": ran_s})
    decision = policy.decide(
        policy.parse("always"), "running", state, Restarts(10, 40.0), at="exit"
    )
    assert decision.delay_s == delay_s


@pytest.mark.parametrize(("ran_s", "delay_s"), [(9.9, 60.0), (10.0, 0.1), (86400.0, 0.1)])
def test_a_long_run_makes_the_delay_short_again(ran_s, delay_s):
    decision = policy.decide(
        policy.parse("always"), "running", ended(1, ran_s), Restarts(10, 40.0), at="exit"
    )
    assert decision.delay_s == delay_s


def test_the_service_does_not_wait():
    decision = policy.decide(
        policy.parse("always"), "running", ended(1), Restarts(10, 40.0), at="service"
    )
    assert decision == policy.Decision(restart=True, delay_s=0.0)


policies = st.sampled_from(["no", "always", "unless-stopped", "on-failure", "on-failure:3"])
codes = st.none() | st.integers(0, 255)
runs = st.floats(-1e6, 1e6)
accounts = st.builds(Restarts, st.integers(0, 10), st.floats(0, 1e4))
wills = st.sampled_from(["running", "stopped"])


@given(policies, wills, codes, runs, accounts, st.sampled_from(["exit", "service"]))
def test_any_exit(text, desired, code, ran_s, account, at):
    chosen = policy.parse(text)
    decision = policy.decide(chosen, desired, ended(code, ran_s), account, at=at)
    assert 0 <= decision.delay_s <= policy.MAX_DELAY_S
    if decision.restart:
        assert not policy.is_spent(chosen, account)
        assert desired == "running" or (text == "always" and at == "service")
        assert not (text.startswith("on-failure") and code == 0)
    else:
        assert decision.delay_s == 0
    if at == "exit" and decision.restart:
        assert decision.delay_s in (policy.FIRST_DELAY_S, policy.next_delay_s(account))
        # What would be decided at the service's start is never less.
        assert policy.decide(chosen, desired, ended(code), account, at="service").restart


@given(st.text(alphabet="alwysno-fiure:0123+x ", max_size=20))
def test_any_text_is_a_policy_or_refused(text):
    try:
        chosen = policy.parse(text)
    except InvalidParameter:
        return
    policy.check(chosen)
    assert policy.parse(f"{chosen['Name']}:{chosen['MaximumRetryCount']}") == chosen
