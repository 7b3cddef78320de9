"""``ps``: columns, truncation, formats and filters as docker prints them."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.cli import call

ID = "0123456789ab" + "c" * 52
NOW = 1_700_000_000.0


def entry(**changes):
    return {
        "Id": ID,
        "Names": ["/web"],
        "Image": "debian:12",
        "ImageID": "sha256:" + "ab" * 32,
        "Command": "sh -c 'sleep 1000000'",
        "Created": int(NOW) - 7200,
        "Ports": [],
        "Labels": {"b": "2", "com.example.role": "x"},
        "State": "running",
        "Status": "Up 3 seconds",
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {"none": {}}},
        "Mounts": [],
        **changes,
    }


class Containers:
    def __init__(self, *entries):
        self.entries = entries
        self.asked = {}

    def list(self, **options):
        self.asked = options
        return list(self.entries)


@pytest.fixture(autouse=True)
def _fixed_time(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr("time.time", lambda: NOW)


def ps(*words, **changes):
    return call("ps", *words, containers=Containers(entry(**changes))).stdout


def test_the_table():
    assert ps() == (
        "CONTAINER ID   IMAGE       COMMAND                  CREATED       STATUS         PORTS"
        "     NAMES\n"
        "0123456789ab   debian:12   \"sh -c 'sleep 100000…\"   2 hours ago   Up 3 seconds        "
        "     web\n"
    )


def test_no_trunc_shows_everything():
    text = ps("--no-trunc")
    assert ID in text
    assert "\"sh -c 'sleep 1000000'\"" in text


def test_order_and_heading():
    both = Containers(entry(Names=["/b"], Created=2), entry(Names=["/a"], Created=1))
    for by, order in (("names", "a b"), ("created", "b a"), ("runningfor", "a b"), ("", "b a")):
        result = call("ps", "--sort", by, "--format", "{{.Names}}", containers=both)
        assert result.stdout.split() == order.split()
    assert ps("--noheading") == ps().partition("\n")[2]
    assert ps("--noheading", "--format", "table {{.Names}}") == "web\n"
    assert call("ps", "--noheading", containers=Containers()).stdout == ""
    result = call("ps", "--sort", "weight", containers=both)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot sort by 'weight' (one of command, created, " in result.stderr


def test_sorting_by_size_shows_it():
    both = Containers(entry(SizeRw=2), entry(SizeRw=1))
    assert call("ps", "--sort", "size", containers=both).stdout.splitlines()[1].endswith("  1B")
    assert both.asked["size"]


def test_size_is_the_last_column():
    header, row = ps("-s", SizeRw=12345, SizeRootFs=123456789).splitlines()
    assert header.endswith("NAMES     SIZE")
    assert row.endswith("web       12.3kB (virtual 123MB)")


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ("debian", "debian"),
        ("docker.io/library/debian:12", "debian:12"),
        ("docker.io/a/b", "a/b"),
        ("localhost:5000/a@sha256:" + "cd" * 32, "localhost:5000/a"),
        ("sha256:" + "ab" * 32, "abababababab"),
        ("abababababab", "abababababab"),
        ("", "<no image>"),
    ],
)
def test_images_are_shown_short(image, shown):
    assert ps("--format", "{{.Image}}", Image=image) == f"{shown}\n"


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("{{.ID}} {{.Names}} {{.State}} {{.Status}}", "0123456789ab web running Up 3 seconds"),
        ("{{.Labels}}|{{.Label `b`}}|{{.Label `c`}}", "b=2,com.example.role=x|2|"),
        ("{{.RunningFor}}|{{.CreatedAt}}", "2 hours ago|2023-11-14 20:13:20 +0000 UTC"),
        ("{{.Networks}}|{{.Mounts}}|{{.LocalVolumes}}|{{.Ports}}|{{.Size}}", "none||0||0B"),
        (r"{{.ID}}\t{{upper .Names}}", "0123456789ab\tWEB"),
    ],
)
def test_templates(form, shown):
    assert ps("--format", form) == f"{shown}\n"


def test_a_template_table():
    assert ps("--format", r"table {{.Names}}\t{{.Label `com.example.my-role`}}\t{{.Image}}") == (
        "NAMES     my role   IMAGE\nweb                 debian:12\n"
    )


def test_json_has_every_column():
    row = json.loads(ps("--format", "json"))
    assert row["ID"] == "0123456789ab"
    assert row["LocalVolumes"] == "0"
    assert list(row) == sorted(row)


def test_mounts_and_ports():
    mounts = [{"Source": "/a/very/long/source"}, {"Name": "data", "Driver": "local"}]
    ports = [
        {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
        {"PrivatePort": 443, "Type": "tcp"},
    ]
    shown = ps("--format", "{{.Mounts}}|{{.LocalVolumes}}|{{.Ports}}", Mounts=mounts, Ports=ports)
    assert shown == "/a/very/long/s…,data|1|443/tcp, [::]:8080->80/tcp\n"


def test_commands_are_quoted_as_in_go():
    shown = ps("--no-trunc", "--format", "{{.Command}}", Command='a "b"\t\x1b\udcff\\')
    assert shown == '"a \\"b\\"\\t\\x1b\\xff\\\\"\n'


def test_quiet_prints_ids_alone_and_warns_about_a_format():
    result = call("ps", "-q", "--format", "{{.Names}}", containers=Containers(entry()))
    assert result.stdout == "0123456789ab\n"
    assert "Ignoring custom format" in result.stderr
    assert ps("-q", "--no-trunc") == f"{ID}\n"


def test_filters_are_gathered_by_name():
    containers = Containers()
    words = ["-f", "status=running", "--filter", "STATUS = paused", "-f", "label=a=b=c"]
    assert call("ps", *words, "-f", "status=running", containers=containers).exit_code == 0
    assert containers.asked["filters"] == {"status": ["running", "paused"], "label": ["a=b=c"]}


def test_sizes_are_measured_only_when_shown():
    for words, expected in (
        ((), False),
        (("--format", "{{.ID}}"), False),
        (("--format", "{{.Size}}"), True),
        (("-s",), True),
    ):
        containers = Containers()
        call("ps", *words, containers=containers)
        assert containers.asked["size"] is expected


def test_a_long_list_is_written_at_once(monkeypatch):
    written: list[bytes] = []
    monkeypatch.setattr("runengine.cli.context.write_bytes", written.append)
    call("ps", containers=Containers(*[entry() for _ in range(1000)]))
    assert len(written) == 1
    assert written[0].count(b"\n") == 1001
