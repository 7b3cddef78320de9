"""Units for one container: golden texts, and quoting that systemd reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine import __version__
from runengine.errors import InvalidParameter
from runengine.mgr import systemd_unit
from tests.support import systemd_syntax

PLAIN = systemd_unit.UnitOptions(
    unit="container-web.service",
    container="web",
    program=["/usr/local/bin/runengine"],
    root="/var/lib/runengine",
    environment={},
    stop_signal=15,
    stop_timeout_s=10,
)
# What a command line can carry; systemd reads UTF-8, without NUL.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


def test_a_plain_unit():
    assert systemd_unit.container_unit(PLAIN) == f"""\
# container-web.service: runs the container web.
# Made by runengine {__version__}; make it anew when the container's name changes.

[Unit]
Description=runengine container web
Wants=network-online.target
After=network-online.target runengine.service runengine-containers.service
RequiresMountsFor=/var/lib/runengine

[Service]
Type=exec
Restart=on-failure
TimeoutStopSec=25
SuccessExitStatus=143
ExecStart=/usr/local/bin/runengine start --attach web
ExecStop=/usr/local/bin/runengine stop web

[Install]
WantedBy=multi-user.target
"""


def test_a_unit_with_everything():
    options = PLAIN._replace(
        program=["/opt/x y/runengine", "--root", "/srv/100% $HOME"],
        root="/srv/100% $HOME",
        environment={"RUNENGINE_CONFIG": '/etc/a "b".json'},
        stop_signal=1,
        stop_timeout_s=-1,
        stop_option=True,
        restart_policy="always",
        restart_delay_s=3,
        start_timeout_s=0,
        after=("late.target", "db.service"),
        requires=("db.service",),
        wants=("cache.service",),
    )
    assert systemd_unit.container_unit(options).split("\n\n", 1)[1] == r"""[Unit]
Description=runengine container web
Wants=network-online.target cache.service
Requires=db.service
After=network-online.target runengine.service runengine-containers.service db.service late.target
RequiresMountsFor="/srv/100%% $HOME"

[Service]
Type=exec
Environment="RUNENGINE_CONFIG=/etc/a \"b\".json"
Restart=always
RestartSec=3
TimeoutStartSec=0
TimeoutStopSec=infinity
SuccessExitStatus=129
ExecStart="/opt/x y/runengine" --root "/srv/100%% $$HOME" start --attach web
ExecStop="/opt/x y/runengine" --root "/srv/100%% $$HOME" stop --time -1 web

[Install]
WantedBy=multi-user.target
"""


@given(st.lists(TEXTS, min_size=1))
def test_systemd_reads_the_arguments_back(arguments):
    line = " ".join(map(systemd_unit.quote_argument, arguments))
    assert not set("\n\r") & set(line), "the line would end"
    assert systemd_syntax.words(line) == arguments


@pytest.mark.parametrize(
    "text", ["", ";", "$A", "${A}", "$$", "%i", "%%", "\\", '"', "'", "a b", "é", "\x7f\x01"]
)
def test_words_that_mean_something_to_systemd(text):
    assert systemd_syntax.words(systemd_unit.quote_argument(text)) == [text]


@given(TEXTS.map("/".__add__))
def test_any_directory_gives_a_unit_that_can_be_read(root):
    options = PLAIN._replace(root=root, program=["/r", "--root", root])
    settings = systemd_syntax.settings(systemd_unit.container_unit(options))
    commands = [value for _, key, value in settings if key in ("ExecStart", "ExecStop")]
    assert [systemd_syntax.words(line)[1:3] for line in commands] == [["--root", root]] * 2


def test_a_directory_that_is_not_utf_8_is_refused():
    with pytest.raises(InvalidParameter, match="not UTF-8"):
        systemd_unit.container_unit(PLAIN._replace(program=["/r", "--root", "/\udcff"]))


@pytest.mark.parametrize(
    ("prefix", "separator", "name"),
    [
        ("container", "-", "container-web.service"),
        ("x", "", "xweb.service"),
        ("", "-", "web.service"),
    ],
)
def test_names_of_units(prefix, separator, name):
    assert systemd_unit.unit_name(prefix, separator, "web") == name


@pytest.mark.parametrize(
    ("prefix", "separator"), [("../x", "-"), ("a b", "-"), ("a", "/"), ("a@", "-"), ("a%i", "-")]
)
def test_names_that_no_unit_can_have(prefix, separator):
    with pytest.raises(InvalidParameter, match="invalid --"):
        systemd_unit.unit_name(prefix, separator, "web")


def test_names_that_are_too_long():
    with pytest.raises(InvalidParameter, match="longer than 255"):
        systemd_unit.unit_name("x" * 250, "-", "web")


@pytest.mark.parametrize("name", ["a.service", "x@1.service", "a-b.target", "a\\x2d.mount"])
def test_names_of_other_units(name):
    assert systemd_unit.check_unit_name("--after", name) == name


@pytest.mark.parametrize(
    "name", ["", "a", "a b.service", "a.service\nX=1", "%i.service", "/a.mount"]
)
def test_what_is_no_name_of_a_unit(name):
    with pytest.raises(InvalidParameter, match="invalid --after"):
        systemd_unit.check_unit_name("--after", name)


def test_restart_policies_are_systemds():
    assert systemd_unit.check_restart_policy("on-abnormal") == "on-abnormal"
    with pytest.raises(InvalidParameter, match="unless-stopped"):
        systemd_unit.check_restart_policy("unless-stopped")
