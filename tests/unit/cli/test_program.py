"""The program itself: groups, help, flags as pflag takes them, errors and exit codes."""

from __future__ import annotations

import errno
import io
import os
import re

import click
import pytest

from runengine.cli import context, main, table_of_commands
from runengine.cli.command import Command
from runengine.cli.context import App
from runengine.cli.lazy import LazyGroup
from runengine.errors import CommandNotFound, EngineError, NotFound, NotModified
from tests.support.cli import FakeEngine, call

TABLES = {
    "": table_of_commands.TOP_LEVEL,
    "container": table_of_commands.CONTAINER,
    "image": table_of_commands.IMAGE,
    "system": table_of_commands.SYSTEM,
}


class Containers:
    """A list that remembers what it was asked."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error
        self.asked: dict[str, object] = {}

    def list(self, **options):
        if self.error is not None:
            raise self.error
        self.asked = options
        return []


@pytest.mark.parametrize(
    ("group", "name"), [(group, name) for group, table in TABLES.items() for name in table]
)
def test_every_command_in_the_table_has_a_help_page(group, name):
    result = call(*filter(None, (group, name)), "--help")
    path = " ".join(filter(None, ("runengine", group, name)))
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage:  {path}")


def test_h_is_help_where_it_is_nothing_else():
    assert call("ps", "-ah").stdout == call("ps", "--help").stdout
    assert call("-h").stdout == call("--help").stdout == call().stdout
    assert call("run", "-h").exit_code == 125


def test_an_option_named_like_a_value_is_no_request_for_help():
    result = call("pull", "--platform", "--help", engine=object())
    assert "requires 1 argument" in result.stderr


def test_help_pages_show_short_and_long_names_types_and_defaults():
    page = call("ps", "--help").stdout
    assert "\nOptions:\n  -a, --all             Show all containers" in page
    assert "  -n, --last int        Show n last created containers" in page
    assert "(default -1)" in page
    assert "--help" not in page


def test_commands_have_the_same_brief_in_the_table_and_on_their_own_page():
    for table in TABLES.values():
        group = LazyGroup("x", table=table)
        for name, entry in table.items():
            found = group.get_command(click.Context(group), name)
            if isinstance(found, Command) and not entry.hidden:
                assert (found.help or "").strip().startswith(entry.brief), name


def test_without_a_command_the_help_is_shown():
    result = call()
    assert result.exit_code == 0
    assert "Management Commands:\n" in result.stdout
    assert re.search(r"\n  container +Manage containers\n", result.stdout)
    assert "cleanup" not in call("container").stdout


def test_version_needs_no_root_and_no_engine():
    result = call("--version", engine=object())
    assert (result.exit_code, result.stdout) == (0, "runengine version 0.1.0\n")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("ps", "--foo"), 125, "unknown flag: --foo"),
        (("ps", "-x"), 125, "unknown shorthand flag: 'x' in -x"),
        (("ps", "-f"), 125, "flag needs an argument: 'f' in -f"),
        (("ps", "--format"), 125, "flag needs an argument: --format"),
        (("ps", "--all=maybe"), 125, 'invalid argument "maybe" for "-a, --all" flag'),
        (("ps", "-a=maybe"), 125, 'invalid argument "maybe" for "-a, --all" flag'),
        (("ps", "-n", "x"), 125, 'invalid argument for "-n, --last" flag'),
        (("ps", "-f", "x"), 125, "bad format of filter (expected name=value)"),
        (("--foo", "ps"), 125, "unknown flag: --foo"),
        (("ps", "x"), 1, "runengine: 'runengine ps' accepts no arguments"),
        (("pull",), 1, "runengine: 'runengine pull' requires 1 argument"),
        (("tag", "a"), 1, "runengine: 'runengine tag' requires 2 arguments"),
        (("images", "a", "b"), 1, "runengine: 'runengine images' requires at most 1 argument"),
        (("image", "rm"), 1, "runengine: 'runengine image rm' requires at least 1 argument"),
        (("foo",), 1, "runengine: unknown command: runengine foo"),
        (("netwrok",), 1, "unknown command: runengine netwrok (did you mean network?)"),
        (("ps", "--no-trnc"), 125, "unknown flag: --no-trnc (did you mean --no-trunc?)"),
        (("image", "foo"), 1, "runengine: unknown command: runengine image foo"),
    ],
)
def test_wrong_usage_is_docker_s(words, code, message):
    result = call(*words, engine=object())
    first, blank, usage, blank_too, see = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in first
    assert (blank, blank_too) == ("", "")
    assert usage.startswith("Usage:  runengine")
    assert see.startswith("See 'runengine")
    assert see.endswith("--help' for more information")


@pytest.mark.parametrize(
    ("words", "everything", "limit"),
    [
        (("-a",), True, 0),
        (("--all=false",), False, 0),
        (("-a=0",), False, 0),
        (("-a", "--all=F"), False, 0),
        (("-an3",), True, 3),
        (("-an=3",), True, 3),
        (("-n", "3"), False, 3),
        (("--last=3",), False, 3),
        (("-n", "-7"), False, 0),
        (("-l",), False, 1),
    ],
)
def test_flags_are_read_as_pflag_reads_them(words, everything, limit):
    containers = Containers()
    assert call("ps", *words, containers=containers).exit_code == 0
    assert (containers.asked["all"], containers.asked["limit"]) == (everything, limit)


def test_words_behind_two_dashes_are_arguments():
    removed = []

    class Images:
        def remove(self, name, *, force, prune):
            removed.append((name, force, prune))
            return [{"Untagged": name}]

    result = call("rmi", "-f", "--", "-x", "--help", images=Images())
    assert result.stdout == "Untagged: -x\nUntagged: --help\n"
    assert removed == [("-x", True, True), ("--help", True, True)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (NotFound("No such container: x"), "Error: No such container: x\n"),
        (EngineError("a", details="b", resolution="c"), "Error: a: b (c)\n"),
        (EngineError("two\nlines \x1b[31m"), "Error: two lines \\x1b[31m\n"),
        (OSError(28, "No space left on device", "/x"), "Error: '/x': No space left on device\n"),
        (CommandNotFound("no sh"), "Error: no sh\n"),
    ],
)
def test_errors_are_one_line_and_exit_1(error, message):
    result = call("ps", containers=Containers(error))
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)


def test_an_unforeseen_error_asks_for_a_report_and_shows_no_traceback():
    result = call("ps", containers=Containers(KeyError("x")))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: internal error: KeyError: 'x'")
    assert result.stderr.count("\n") == 1


def test_debug_shows_the_traceback():
    result = call("--debug", "ps", containers=Containers(KeyError("x")))
    assert "Traceback" in result.stderr


def test_an_interrupt_exits_130_without_a_word():
    result = call("ps", containers=Containers(KeyboardInterrupt()))
    assert (result.exit_code, result.stderr) == (130, "")


def test_the_engine_is_closed_after_success_and_failure():
    for error in (None, NotFound("x")):
        engine = FakeEngine(containers=Containers(error))
        call("ps", engine=engine)
        assert engine.closed


def test_directories_come_from_the_global_options(tmp_path):
    asked = []

    def open_engine(paths):
        asked.append(paths)
        return FakeEngine(containers=Containers())

    words = ["--root", str(tmp_path / "r"), f"--state={tmp_path}/s", "ps"]
    assert main.execute(words, App(open_engine)) == 0
    assert [(p.root, p.state) for p in asked] == [(f"{tmp_path}/r", f"{tmp_path}/s")]


def test_who_is_not_root_is_told_at_once(monkeypatch, capsys):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main.execute(["ps"]) == 1
    assert "'runengine ps' must be run as root (try: sudo runengine ps)" in capsys.readouterr().err
    assert main.execute(["run", "x"]) == 125
    assert capsys.readouterr().err.startswith("runengine: 'runengine run' must be run as root")
    assert main.execute(["ps", "--help"]) == 0


def test_several_targets_go_on_after_an_error(capsys):
    def act(name):
        if name == "bad":
            raise NotFound(f"No such container: {name}")
        if name == "done":
            raise NotModified("already stopped")

    with pytest.raises(click.exceptions.Exit) as caught:
        context.for_each(["a", "bad", "done", "b"], act)
    out = capsys.readouterr()
    assert (out.out, out.err) == ("a\ndone\nb\n", "Error: No such container: bad\n")
    assert caught.value.exit_code == 1


def test_any_text_can_be_written(capfdbinary):
    context.write("é\udcff\ud800")
    assert capfdbinary.readouterr().out in (b"\xc3\xa9??", "é\udcff".encode(errors="replace"))


class FullDisk(io.StringIO):
    """A stream that takes nothing."""

    def flush(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_complaint_that_cannot_be_written_is_no_error(monkeypatch):
    """Else a warning would end what it only warns of, with a container half made."""
    monkeypatch.setattr("sys.stderr", FullDisk())
    context.warn("a limit cannot be enforced")
    assert main.execute(["bogus"], App()) == 1


def test_the_cgroup_manager_goes_to_the_engine(monkeypatch):
    from runengine.mgr.engine import Engine

    asked = []

    def opened(paths, **options):
        asked.append(options)
        return FakeEngine(containers=Containers())

    monkeypatch.setattr(Engine, "open", opened)
    for words in (["--cgroup-manager", "systemd", "ps"], ["ps"]):
        app = App()
        app.check_root = False
        assert main.execute(words, app) == 0
    assert [one["cgroup_driver"] for one in asked] == ["systemd", None]


def test_docker_s_global_options(monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", "before")
    containers = Containers()
    words = ["--config", "/tmp/logins", "-l", "debug", "--log-level=fatal", "ps"]
    assert call(*words, containers=containers).exit_code == 0
    assert os.environ["DOCKER_CONFIG"] == "/tmp/logins"
