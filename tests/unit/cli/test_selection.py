"""Which containers a verb acts on: by ``--latest``, ``--all``, ``--filter``, ``--cidfile``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from runengine.errors import NotFound
from tests.support.cli import call

STATES = {"new": "created", "web": "running", "worker": "paused", "loop": "restarting",
          "db": "exited"}


class Containers:
    """Containers in these states; notes what was done, and to whom."""

    def __init__(self, states=None, gone=()):
        self.states = STATES if states is None else states
        self.gone = gone
        self.done = []
        self.asked = {}

    def list(self, *, all=False, filters=None, limit=0):
        assert all
        self.asked = dict(filters or {})
        entries = [
            {"Id": f"id-of-{name}", "Names": [f"/{name}"], "State": state}
            for name, state in self.states.items()
        ]
        return entries[: limit or None]

    def resolve(self, name):
        if name not in self.states and name.removeprefix("id-of-") not in self.states:
            raise NotFound(f"No such container: {name}")
        return name

    def _act(self, name, *_words, **_options):
        if name in self.gone:
            raise NotFound(f"No such container: {name}")
        self.resolve(name)
        self.done.append(name)

    start = stop = restart = kill = pause = unpause = remove = _act

    def wait(self, name, condition):
        self._act(name)
        return SimpleNamespace(exit_code=0 if condition == "not-running" else 9)


def act(*words, **options):
    containers = Containers(**options)
    result = call(*words, containers=containers)
    return result, sorted(containers.done)


@pytest.mark.parametrize(
    ("words", "acted_on"),
    [
        (["stop", "--all"], ["loop", "web", "worker"]),
        (["kill", "-a"], ["loop", "web", "worker"]),
        (["start", "--all"], ["db", "new"]),
        (["pause", "-a"], ["web"]),
        (["unpause", "-a"], ["worker"]),
        (["restart", "-a"], sorted(STATES)),
        (["restart", "--running"], ["web"]),
        (["rm", "-fa"], sorted(STATES)),
        (["container", "rm", "--all"], sorted(STATES)),
    ],
)
def test_all_are_those_in_which_the_verb_does_something(words, acted_on):
    result, done = act(*words)
    assert (result.exit_code, done) == (0, acted_on)
    assert sorted(result.stdout.split()) == acted_on


def test_a_filter_goes_to_the_manager():
    containers = Containers()
    assert call("stop", "--filter", "label=x", containers=containers).exit_code == 0
    assert containers.asked == {"label": ["x"]}


def test_nothing_found_is_nothing_to_do():
    result, done = act("stop", "-a", states={})
    assert (result.exit_code, result.output, done) == (0, "", [])


def test_what_goes_meanwhile_was_nobodys_wish():
    result, done = act("rm", "-a", gone=("web",))
    assert (result.exit_code, done) == (0, sorted({*STATES} - {"web"}))
    result, _ = act("rm", "web", "db", gone=("web",))
    assert (result.exit_code, result.stderr) == (1, "Error: No such container: web\n")


@pytest.mark.parametrize("flag", ["-l", "--latest"])
def test_the_latest(flag):
    result, done = act("stop", flag)
    assert (result.stdout, done) == ("id-of-new\n", ["id-of-new"])
    result, done = act("wait", flag, states={})
    assert (result.exit_code, done) == (1, [])
    assert "there is none that --latest could mean" in result.stderr


def test_l_stays_what_it_is_with_docker():
    result, done = act("rm", "-l", "web")
    assert (result.exit_code, done) == (1, [])
    assert "--latest is the newest container" in result.stderr
    assert act("rm", "--latest")[1] == ["id-of-new"]


def test_ids_from_files(tmp_path):
    (tmp_path / "id").write_text("web\n")
    (tmp_path / "other").write_text("a b")
    assert act("stop", "--cidfile", f"{tmp_path}/id", "db")[1] == ["db", "web"]
    result, done = act("stop", "--cidfile", f"{tmp_path}/nothing")
    assert (result.exit_code, done) == (1, [])
    assert "there is no container ID file" in result.stderr
    result, done = act("stop", "--cidfile", f"{tmp_path}/other")
    assert (result.exit_code, done) == (1, [])
    assert "is no container ID file" in result.stderr
    result, done = act("rm", "--ignore", "--cidfile", f"{tmp_path}/nothing")
    assert (result.exit_code, result.output, done) == (0, "", [])


def test_ignoring_what_is_not_there():
    result, done = act("stop", "-i", "nothing", "web")
    assert (result.exit_code, result.output, done) == (0, "web\n", ["web"])
    assert act("wait", "--ignore", "nothing")[0].stdout == "-1\n"


def test_conditions_of_wait():
    assert act("wait", "web")[0].stdout == "0\n"
    assert act("wait", "--condition", "stopped", "web")[0].stdout == "0\n"
    assert act("wait", "--condition", "next-exit", "web")[0].stdout == "9\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["stop"], "'runengine stop' requires at least 1 argument"),
        (["stop", "-a", "web"], "'runengine stop' takes no names with --all"),
        (["stop", "-al"], "'runengine stop' takes no names with --all"),
        (["rm", "--filter", "label=x", "web"], "'runengine rm' takes no names with --filter"),
        (["start", "-a"], "'runengine start' requires at least 1 argument"),
    ],
)
def test_refused(words, complaint):
    result, done = act(*words)
    assert (result.exit_code, done) == (1, [])
    assert result.stderr.startswith(f"runengine: {complaint}\n\nUsage:")


def test_attaching_needs_one_container():
    result, done = act("start", "-a", "new", "db")
    assert (result.exit_code, done) == (1, [])
    assert "cannot start and attach multiple containers" in result.stderr
