"""Restart policies: how they are written, and the one decision whether to start again.

Rules and words are Docker's (``docker run --restart``); where Docker forgets what was pending
when its daemon went, the decision here is made again from what is written down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from runengine.errors import InvalidParameter
from runengine.linux import clock
from runengine.store.containers import NEVER

if TYPE_CHECKING:
    from typing import Literal

    from runengine.model import RestartPolicy
    from runengine.store.containers import Restarts, State

    Occasion = Literal["exit", "service"]

NO, ALWAYS, ON_FAILURE, UNLESS_STOPPED = "no", "always", "on-failure", "unless-stopped"
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 60.0
LONG_RUN_S = 10.0
"""A run that lasted as long was a good one: the next delay is the first again."""
RUNNING, STOPPED = "running", "stopped"
MAX_DIGITS = 18
"""Of a count: so many fit into 63 bits, which is what readers of the document expect."""


class Decision(NamedTuple):
    """What becomes of a container that does not run."""

    restart: bool
    delay_s: float = 0.0


def parse(text: str) -> RestartPolicy:
    """A policy as the command line has it, ``on-failure:3``; empty is ``no``.

    Raises InvalidParameter.
    """
    name, colon, count = text.partition(":")
    if colon and not name:
        raise InvalidParameter("invalid restart policy format: no policy provided before colon")
    digits = count[1:] if count[:1] in ("-", "+") else count
    if count and not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS):
        raise InvalidParameter(
            "invalid restart policy format: maximum retry count must be an integer"
        )
    policy: RestartPolicy = {"Name": name or NO, "MaximumRetryCount": int(count or 0)}
    check(policy)
    return policy


def check(policy: RestartPolicy) -> None:
    """Raise InvalidParameter for a policy that does not exist or takes no count."""
    name, count = policy["Name"], policy["MaximumRetryCount"]
    if name not in ("", NO, ALWAYS, ON_FAILURE, UNLESS_STOPPED):
        raise InvalidParameter(
            f"invalid restart policy: unknown policy '{name}'; use one of '{NO}', '{ALWAYS}',"
            f" '{ON_FAILURE}', or '{UNLESS_STOPPED}'"
        )
    if name == ON_FAILURE:
        if count < 0:
            raise InvalidParameter(
                "invalid restart policy: maximum retry count cannot be negative"
            )
    elif count:
        also = " and cannot be negative" if count < 0 else ""
        raise InvalidParameter(
            "invalid restart policy: maximum retry count can only be used with"
            f" '{ON_FAILURE}'{also}"
        )


def is_none(policy: RestartPolicy) -> bool:
    """Whether the policy never starts anything."""
    return policy["Name"] in ("", NO)


def is_spent(policy: RestartPolicy, restarts: Restarts) -> bool:
    """Whether no exit, however it is, can lead to a restart any more."""
    limit = policy["MaximumRetryCount"]
    return is_none(policy) or (
        policy["Name"] == ON_FAILURE and 0 < limit <= restarts.times
    )


def decide(
    policy: RestartPolicy, desired: str, state: State, restarts: Restarts, *, at: Occasion
) -> Decision:
    """Whether a container in this state is to be started again, and how long after its exit.

    ``desired`` is its user's last word. ``at`` is ``exit``, or ``service`` when the engine comes
    up and looks at everything: then ``always`` starts also what its user had stopped, and there
    is nothing to wait for.
    """
    if state["Status"] != "exited" or state["StartedAt"] == NEVER:
        return Decision(restart=False)
    if not _is_wanted(policy["Name"], desired, at) or is_spent(policy, restarts):
        return Decision(restart=False)
    if policy["Name"] == ON_FAILURE and state["ExitCode"] == 0:
        return Decision(restart=False)
    return Decision(restart=True, delay_s=0.0 if at == "service" else _delay_s(state, restarts))


def _is_wanted(name: str, desired: str, at: Occasion) -> bool:
    return desired == RUNNING or (name == ALWAYS and at == "service")


def _delay_s(state: State, restarts: Restarts) -> float:
    return FIRST_DELAY_S if ran_s(state) >= LONG_RUN_S else next_delay_s(restarts)


def next_delay_s(restarts: Restarts) -> float:
    """The wait after a run that was a short one, seconds."""
    return min(max(restarts.delay_s * 2, FIRST_DELAY_S), MAX_DELAY_S)


def ran_s(state: State) -> float:
    """How long the last run lasted, seconds; by the times of day only where nobody saw its end."""
    measured = state.get("RanS")
    if measured is not None:
        return measured
    ended, began = clock.parse_ns(state["FinishedAt"]), clock.parse_ns(state["StartedAt"])
    return (ended - began) / 1e9
