"""``completion``: what is offered at which place of a command line."""

from __future__ import annotations

import pytest
from click import Argument, Context

from runengine.cli import completion_words, image_list, main, ps, table_of_commands
from runengine.cli.lazy import LazyGroup
from runengine.errors import EngineError, InvalidParameter
from runengine.mgr import event_filters, log_options
from runengine.mgr.container import listing, wait
from runengine.mgr.image import listing as image_listing
from runengine.mgr.network import filters as network_filters
from runengine.mgr.registry import search
from runengine.mgr.volume import filters as volume_filters
from tests.support.cli import call


class Listed:
    def __init__(self, *entries):
        self.entries = entries

    def list(self, **_options):
        return self.entries


def container(name, state):
    return {"Names": [f"/{name}"], "State": state, "Image": "debian", "Status": "Up 3 seconds"}


MANAGERS = {
    "containers": Listed(
        container("web", "running"), container("db", "exited"), container("worker", "paused")
    ),
    "images": Listed(
        {"RepoTags": ["debian:12", "app:1"], "Size": 1000}, {"RepoTags": [], "Size": 0}
    ),
    "networks": Listed(
        {"Name": "bridge", "Driver": "bridge"}, {"Name": "front", "Driver": "bridge"}
    ),
    "volumes": Listed({"Name": "data", "Driver": "local"}),
}


def complete(*words):
    result = call("__complete", "--", *words, **MANAGERS)
    assert (result.exit_code, result.stderr) == (0, "")
    return [line.partition("\t")[0] for line in result.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["netw"], ["network"]),
        (["container", "unp"], ["unpause"]),
        (["--root", "/x", "-D", "netw"], ["network"]),
        (["--st"], ["--state"]),
        (["stop", ""], ["web", "worker"]),
        (["start", ""], ["db"]),
        (["unpause", ""], ["worker"]),
        (["rm", "-f", "web", ""], ["db", "worker"]),
        (["rm", "w"], ["web", "worker"]),
        (["container", "rm", "--", "d"], ["db"]),
        (["exec", "-it", "w"], ["web", "worker"]),
        (["exec", "-u", "w", "web", "--he"], [":files"]),
        (["run", "-it", ""], ["debian:12", "app:1"]),
        (["run", "-it", "debian:12", ""], [":files"]),
        (["run", "--network", ""], ["bridge", "front", "container:web", "container:worker"]),
        (["run", "--network=f"], ["--network=front"]),
        (["run", "--bogus="], []),
        (["run", "-v", "d"], ["data:", ":files", ":nospace"]),
        (["run", "-iv", "d"], ["data:", ":files", ":nospace"]),
        (["run", "-v/x:/y", "app"], ["app:1"]),
        (["run", "--memory", ""], []),
        (["run", "--restart", "on"], ["on-failure", "on-failure:"]),
        (["run", "--cap-add", "SYS_ADM"], ["SYS_ADMIN"]),
        (["kill", "-s", "HU"], ["HUP"]),
        (["ps", "--filter", "sta"], ["status="]),
        (["stop", "--filter", "sta"], ["status="]),
        (["ps", "--filter", "status=ex"], ["status=exited"]),
        (["network", "connect", "f"], ["front"]),
        (["network", "connect", "front", "w"], ["web", "worker"]),
        (["network", "connect", "front", "web", ""], [":files"]),
        (["network", "create", "--driver", "m"], ["macvlan"]),
        (["volume", "rm", ""], ["data"]),
        (["inspect", "d"], ["db", "debian:12", "data"]),
        (["cp", "web"], ["web:", ":files", ":nospace"]),
        (["cp", "web:"], [":files"]),
        (["cp", "./x"], [":files"]),
        (["save", "-o", ""], [":files"]),
        (["network", "create", ""], []),
        (["build", ""], [":directories"]),
        (["ps", "--sort", "n"], ["names"]),
        (["artifact", "push", "x:1", ""], [":files"]),
        (["save", "--format", "o"], ["oci-archive"]),
        (["spec", "--bundle", ""], [":directories"]),
        (["help", "netw"], ["network"]),
        (["help", "network", "conn"], ["connect"]),
        (["help", "run", ""], []),
        (["nothing", ""], []),
        (["serve", "x"], [":files"]),
    ],
)
def test_what_is_offered(words, offered):
    assert complete(*words) == offered


def test_options_come_with_what_they_are_for():
    result = call("__complete", "--", "run", "--memory-sw")
    assert result.stdout.startswith("--memory-swap\tLimit on memory plus swap")
    assert "--kernel-memory" not in complete("run", "--")


def test_a_failing_engine_means_no_names_and_no_noise():
    class Failing:
        def list(self, **_options):
            raise EngineError("the disk is gone")

    result = call("__complete", "--", "stop", "", containers=Failing())
    assert (result.exit_code, result.output) == (0, "")


def test_the_scripts():
    for shell in ("bash", "fish", "zsh"):
        result = call("completion", shell)
        assert result.exit_code == 0
        assert "runengine __complete -- " in result.stdout
    result = call("completion", "ksh")
    assert result.exit_code == 1
    assert "no completion for 'ksh' (one of bash, fish, zsh)" in result.stderr


def test_help_for_a_command():
    assert call("help").stdout == call("--help").stdout
    assert call("help", "network", "ls").stdout == call("network", "ls", "--help").stdout
    for words in (["nope"], ["run", "nope"], ["network", "nope"]):
        result = call("help", *words)
        assert result.exit_code == 1
        assert f"unknown help topic: {' '.join(words)}\n" in result.stderr


# The tables against what they are about


def commands(group, table):
    for name, entry in table.items():
        found = group.get_command(Context(group), name)
        if isinstance(found, LazyGroup):
            yield from commands(found, found.table)
        else:
            yield entry.target, found


def every_command():
    return dict(commands(main.program, table_of_commands.TOP_LEVEL))


def test_the_tables_name_what_there_is():
    known = every_command()
    options = {name for one in known.values() for param in one.params for name in param.opts}
    options |= {name for param in main.program.params for name in param.opts}
    assert set(completion_words.ARGUMENTS) <= set(known)
    assert set(completion_words.FILTERS) <= set(known)
    assert set(completion_words.VALUES) <= options
    for target, option in completion_words.OWN_VALUES:
        assert option in {name for param in known[target].params for name in param.opts}


def test_every_command_with_arguments_has_a_row():
    with_arguments = {
        target
        for target, one in every_command().items()
        if not one.hidden and any(isinstance(param, Argument) for param in one.params)
    }
    known = set(completion_words.ARGUMENTS) | {"help:help_command", "moving:import_container"}
    assert with_arguments <= known


def test_the_words_are_the_commands_own():
    words = completion_words.WORDS
    assert set(words["container_order"]) == set(ps._ORDERS)
    assert set(words["image_order"]) == set(image_list._ORDERS)
    assert set(words["condition"]) == set(wait.CONDITIONS)
    assert set(words["log_driver"]) == set(log_options.DRIVERS)


def test_every_command_with_a_filter_offers_its_names():
    filtering = {
        target
        for target, one in every_command().items()
        if any("--filter" in param.opts for param in one.params)
        and not any("--cidfile" in param.opts for param in one.params)
    }
    assert filtering == set(completion_words.FILTERS)


def test_the_filters_are_the_managers():
    offered = completion_words.FILTERS
    assert set(offered["ps:ps"]) == set(listing._FILTERS)
    assert set(offered["image_list:images"]) == image_listing.FILTERS
    assert set(offered["registry_search:search"]) == set(search.FILTERS)
    for target, check in (
        ("events:events", event_filters.compile_filters),
        ("network:ls", lambda names: network_filters.for_list(names, ())),
        ("volume:ls", lambda names: volume_filters.for_list(names, ())),
    ):
        with pytest.raises(InvalidParameter) as caught:
            check({"bogus": ["x"]})
        known = str(caught.value).partition("filters are: ")[2].rstrip(")")
        assert set(offered[target]) == set(known.replace(",", "").split())
