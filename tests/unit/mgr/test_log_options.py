"""Log drivers and options, and times for --since."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter
from runengine.mgr.log_options import Subject, log_spec, parse_log_options
from runengine.mgr.log_times import parse_time

NOW = 1_700_000_000.0
SECOND = 1_000_000_000
ID = "0123456789abcdef" * 4
SUBJECT = Subject(
    ID,
    name="web",
    image="debian:12",
    image_id="sha256:" + "f" * 64,
    labels={"app": "x", "tier": "db"},
    env=["A=1", "AB=2", "C=3=4", "NOVALUE"],
)


def test_rotation_is_on_by_default():
    # USER-ASKS 25, AD-03
    assert parse_log_options("", {}) == {
        "driver": "cri",
        "path": "",
        "max_size": 10 * 1024 * 1024,
        "max_file": 3,
        "attrs": {},
    }


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("10k", 10_000), ("1g", 10**9), ("1.5M", 1_500_000), ("3Kib", 3000), ("-1", 0)],
)
def test_max_size(text, size):
    # AD-03
    assert parse_log_options("json-file", {"max-size": text})["max_size"] == size


BAD = [
    ("max-size", "0"),
    ("max-size", "-2"),
    ("max-size", "ten"),
    ("max-size", ""),
    ("max-size", "1x"),
    ("max-file", "0"),
    ("max-file", "-1"),
    ("max-file", "1.5"),
    ("max-file", "two"),
    ("compress", "maybe"),
    ("mode", "fast"),
    ("max-buffer-size", "1m"),
    ("root-dir", "relative"),
    ("root-dir", "/a/../b"),
    ("labels-regex", "("),
    ("tag", "{{.Nothing}}"),
    ("tag", "{{range .X}}"),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_bad_values_fail_at_create(key, value):
    # AD-02, AD-03
    with pytest.raises(InvalidParameter) as caught:
        parse_log_options("json-file", {key: value})
    assert key in str(caught.value) or "mode" in str(caught.value)


def test_older_files_may_be_compressed():
    assert parse_log_options("json-file", {"compress": "true"})["compress"] is True


@pytest.mark.parametrize(
    ("text", "size"), [(None, 1 << 20), ("4m", 4 << 20), ("1.5k", 1536), ("100", 100)]
)
def test_the_buffer_of_a_log_that_nobody_waits_for(text, size):
    # AD-02: without a size it is not blocking all the same
    options = {"mode": "non-blocking", **({"max-buffer-size": text} if text else {})}
    found = parse_log_options("json-file", options)
    assert (found["mode"], found["buffer_bytes"]) == ("non-blocking", size)


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "2g"])
def test_a_buffer_that_cannot_be(text):
    with pytest.raises(InvalidParameter, match="max-buffer-size"):
        parse_log_options("cri", {"mode": "non-blocking", "max-buffer-size": text})


def test_the_journal():
    options = {"tag": "{{.Name}}", "labels": "tier", "env": "A,C"}
    spec, outside = log_spec({"Type": "journald", "Config": options}, "/data/x", ID, SUBJECT)
    assert spec == {
        "driver": "journald",
        "path": "",
        "max_size": 0,
        "max_file": 1,
        "attrs": {"A": "1", "C": "3=4", "tag": "web", "tier": "db"},
        "buffer_bytes": 1 << 20,
        "fields": {
            "A": "1",
            "C": "3=4",
            "TIER": "db",
            "CONTAINER_ID": "0123456789ab",
            "CONTAINER_ID_FULL": ID,
            "CONTAINER_NAME": "web",
            "CONTAINER_TAG": "web",
            "IMAGE_NAME": "debian:12",
            "SYSLOG_IDENTIFIER": "web",
        },
    }
    assert outside is None


def test_labels_are_made_names_of_fields_and_hide_none_of_ours():
    labels = {"com.x/rôle": "1", "_PID": "1", "9lives": "2", "container_name": "fake", "...": "3"}
    subject = Subject(ID, name="web", labels=labels)
    fields = parse_log_options("journald", {"labels": ",".join(labels)}, subject)["fields"]
    assert fields["CONTAINER_NAME"] == "web"
    assert fields["CONTAINER_TAG"] == "0123456789ab"
    assert {"COM_X_R_LE", "PID", "LIVES", "LABEL"} <= fields.keys()


@pytest.mark.parametrize("key", ["max-size", "max-file", "compress", "root-dir"])
def test_the_journal_keeps_its_own_size(key):
    with pytest.raises(InvalidParameter, match=f"unknown log opt '{key}' for journald log driver"):
        parse_log_options("journald", {key: "1"})


def test_what_is_the_default_anyway_is_taken():
    parse_log_options("cri", {"compress": "false", "mode": "blocking"})


def test_unknown_option():
    # AD-03
    with pytest.raises(InvalidParameter) as caught:
        parse_log_options("json-file", {"x": "1"})
    assert str(caught.value) == "unknown log opt 'x' for json-file log driver"


def test_unknown_driver():
    # AD-01
    with pytest.raises(InvalidParameter, match="no log driver named 'syslog' is registered"):
        parse_log_options("syslog", {})


def test_none_takes_no_options():
    # AD-01
    assert parse_log_options("none", {})["driver"] == "none"
    with pytest.raises(InvalidParameter) as caught:
        parse_log_options("none", {"max-size": "1m"})
    assert str(caught.value) == "don't allow to set logging opts for driver none"


def test_attrs():
    # AD-03
    options = {"labels": "tier,absent", "env-regex": "^A", "env": "C"}
    attrs = parse_log_options("json-file", options, SUBJECT)["attrs"]
    assert attrs == {"A": "1", "AB": "2", "C": "3=4", "tier": "db"}
    assert parse_log_options("cri", {"labels-regex": "pp"}, SUBJECT)["attrs"] == {"app": "x"}


def test_tag():
    template = "{{.Name}}/{{ .ID }}/{{.ImageName}}/{{.ImageID}}/{{.DaemonName}}"
    attrs = parse_log_options("json-file", {"tag": template}, SUBJECT)["attrs"]
    assert attrs == {"tag": "web/0123456789ab/debian:12/ffffffffffff/runengine"}


def test_where_the_log_goes():
    # G-12, AD-02
    assert log_spec({"Type": "json-file", "Config": {}}, "/data/x", ID)[0]["path"] == (
        "/data/x/json.log"
    )
    spec, outside = log_spec({"Type": "cri", "Config": {"root-dir": "/logs/"}}, "/data/x", ID)
    assert spec["path"] == f"/logs/{ID}/container.log"
    assert outside == f"/logs/{ID}"
    spec, outside = log_spec({"Type": "none", "Config": {}}, "/data/x", ID)
    assert (spec["path"], outside) == ("", None)


TIMES = [
    ("0", 0),
    ("1700000000", 1_700_000_000 * SECOND),
    ("1700000000.5", 1_700_000_000 * SECOND + SECOND // 2),
    ("1.1234567891", SECOND + 123_456_789),
    ("42m", int(NOW - 42 * 60) * SECOND),
    ("1h30m", int(NOW - 5400) * SECOND),
    ("1.5h", int(NOW - 5400) * SECOND),
    ("10ms", int(NOW) * SECOND - 10_000_000),
    ("-1h", int(NOW + 3600) * SECOND),
    ("2023-11-14T22:13:20Z", 1_700_000_000 * SECOND),
    ("2023-11-14T22:13:20.5Z", 1_700_000_000 * SECOND + SECOND // 2),
    ("2023-11-14T22:13:20.000000007Z", 1_700_000_000 * SECOND + 7),
    ("2023-11-15T06:13:20+08:00", 1_700_000_000 * SECOND),
    ("2023-11-14T22:13Z", 1_699_999_980 * SECOND),
    ("2023-11-14Z", 1_699_920_000 * SECOND),
]


@pytest.mark.parametrize(("text", "expected"), TIMES)
def test_time(text, expected):
    # G-07
    assert parse_time(text, NOW) == expected


def test_time_without_zone_is_local(monkeypatch):
    # G-07
    import time

    monkeypatch.setenv("TZ", "Etc/GMT-8")
    time.tzset()
    try:
        assert parse_time("2023-11-15T06:13:20", NOW) == 1_700_000_000 * SECOND
        assert parse_time("2023-11-15", NOW) == 1_699_977_600 * SECOND
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["", "yesterday", "1d", "2023-13-01", "12:00", "2023-01-01 00:00", "1h30", "\u0661"]
)
def test_not_a_time(text):
    with pytest.raises(InvalidParameter, match="invalid time"):
        parse_time(text, NOW)
