"""Many commands at the same time: none fails, none gets another's result, nothing is left."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.support import needs
from tests.support.command_line import WarmCommandLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command_line import CommandLine, Done

pytestmark = [
    pytest.mark.root,
    pytest.mark.ways("cold", "warm"),
    needs("runc", "overlay", "busybox"),
    pytest.mark.timeout(600),
]

HUNDRED = 100
AT_ONCE = 16


def many(cli: CommandLine) -> int:
    """A hundred; where each is an interpreter that starts, a few."""
    return HUNDRED if isinstance(cli, WarmCommandLine) else few(cli)


def few(cli: CommandLine) -> int:
    """As many as run at a time, of which half keep the processors busy without a service."""
    return AT_ONCE if isinstance(cli, WarmCommandLine) else AT_ONCE // 2


def at_once(action: Callable[[int], Done], count: int) -> list[Done]:
    """Results by number, of as many calls as may run at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(action, range(count)))


def left_behind(cli: CommandLine) -> list[str]:
    """Directories of containers; mounts, cgroups and processes are looked for by ``_no_leaks``."""
    places = (cli.root / "containers", cli.state / "containers", cli.state / "runc")
    return [str(path) for place in places if place.is_dir() for path in place.iterdir()]


def run_numbered(cli: CommandLine, number: int) -> Done:
    script = f"echo out{number}; echo err{number} >&2; exit {number}"
    return cli.call("run", "--rm", "busybox", "sh", "-c", script)


def test_a_hundred_runs_each_get_their_own_end(cli: CommandLine):
    done = at_once(partial(run_numbered, cli), many(cli))
    expected = [(n, f"out{n}\n", f"err{n}\n") for n in range(many(cli))]
    assert [tuple(one) for one in done] == expected
    assert cli.names() == []
    assert left_behind(cli) == []


def test_a_hundred_running_ones_go_in_one_command(cli: CommandLine):
    image = ("busybox", "sleep", "600")
    started = at_once(lambda n: cli.call("run", "-d", "--name", f"p{n}", *image), many(cli))
    assert [one for one in started if one.code or one.err] == []
    assert sorted(cli.names("status=running")) == sorted(f"p{n}" for n in range(many(cli)))
    cli.ok("rm", "-f", *(one.out.strip() for one in started))
    assert cli.names() == []
    assert left_behind(cli) == []


def test_a_name_goes_to_one_only(cli: CommandLine):
    done = at_once(lambda _: cli.call("create", "--name", "same", "busybox", "true"), few(cli))
    winners = [one for one in done if one.code == 0]
    assert len(winners) == 1
    losers = [one for one in done if one.code]
    assert {one.code for one in losers} == {125}
    assert all('"same" already existed: in use by container' in one.err for one in losers)
    assert cli.names() == ["same"]
    assert os.listdir(cli.root / "containers") == [winners[0].out.strip()]


def test_execs_do_not_mix(cli: CommandLine):
    cli.ok("run", "-d", "--name", "one", "busybox", "sleep", "600")
    script = "echo {0}; exit {0}"
    done = at_once(lambda n: cli.call("exec", "one", "sh", "-c", script.format(n)), few(cli))
    assert [tuple(one) for one in done] == [(n, f"{n}\n", "") for n in range(few(cli))]


def test_one_container_asked_by_many(cli: CommandLine):
    """Starts and stops of one container queue on its lock; the end is a state, not a mixture."""
    cli.ok("create", "--name", "one", "busybox", "sleep", "600")
    lines = ("start one", "stop -t 0 one", "restart -t 0 one", "ps -a")
    done = at_once(lambda n: cli.call(*lines[n % len(lines)].split()), few(cli))
    assert [one for one in done if one.code or one.err] == []
    cli.ok("start", "one")
    assert cli.state_of("one") == "running"
    cli.ok("rm", "-f", "one")
    assert left_behind(cli) == []
