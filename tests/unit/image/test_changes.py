"""``--change`` as ``docker import`` reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.mgr.image import changes


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ('CMD ["a", "b c"]', {"Cmd": ["a", "b c"]}),
        ("cmd echo $HOME 'x'", {"Cmd": ["/bin/sh", "-c", "echo $HOME 'x'"]}),
        ("CMD [broken", {"Cmd": ["/bin/sh", "-c", "[broken"]}),
        ("CMD []", {"Cmd": []}),
        ('ENTRYPOINT ["/init"]', {"Entrypoint": ["/init"]}),
        (
            'ENV A=1 B=\'two words\' C="q\\"x" D=a\\ b',
            {"Env": ["A=1", "B=two words", 'C=q"x', "D=a b"]},
        ),
        ("ENV A  one two", {"Env": ["A=one two"]}),
        ('LABEL a=1 b.c="x y"', {"Labels": {"a": "1", "b.c": "x y"}}),
        (
            "EXPOSE 80 53/udp 7000-7001",
            {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "7000/tcp": {}, "7001/tcp": {}}},
        ),
        ('VOLUME ["/a b", "/c"]', {"Volumes": {"/a b": {}, "/c": {}}}),
        ("VOLUME /a /c", {"Volumes": {"/a": {}, "/c": {}}}),
        ("WORKDIR a/../b", {"WorkingDir": "/b"}),
        ("USER 1000:1000", {"User": "1000:1000"}),
        ("STOPSIGNAL SIGINT", {"StopSignal": "SIGINT"}),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
        ('SHELL ["/bin/ash", "-c"]', {"Shell": ["/bin/ash", "-c"]}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        (
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl x",
            {
                "Healthcheck": {
                    "Test": ["CMD-SHELL", "curl x"],
                    "Interval": 90 * 10**9,
                    "Retries": 3,
                }
            },
        ),
    ],
)
def test_instruction(change, expected):
    assert changes.apply({}, [change]) == expected


def test_later_changes_build_on_earlier_ones():
    section = {"Env": ["PATH=/bin", "A=0"], "WorkingDir": "/srv"}
    changed = changes.apply(section, ["ENV A=1", "WORKDIR x", 'SHELL ["s", "-c"]', "CMD y"])
    assert changed["Env"] == ["PATH=/bin", "A=1"]
    assert changed["WorkingDir"] == "/srv/x"
    assert changed["Cmd"] == ["s", "-c", "y"]
    assert section == {"Env": ["PATH=/bin", "A=0"], "WorkingDir": "/srv"}


@pytest.mark.parametrize(
    "change",
    [
        "", "FROM x", "RUN x", "CMD", "ENV", "ENV A", "ENV A=1 B", "ENV =1", "ENV A='x", "LABEL x",
        "EXPOSE", "EXPOSE 0", "EXPOSE 70000", "EXPOSE x", "EXPOSE 9-8", "USER", "USER a b",
        "WORKDIR", "VOLUME", 'VOLUME [""]', "SHELL sh -c", "ONBUILD", "ONBUILD FROM x",
        "STOPSIGNAL", "HEALTHCHECK", "HEALTHCHECK CMD",
        "HEALTHCHECK --interval=x CMD y", "HEALTHCHECK --foo CMD y",
    ],
)  # fmt: skip
def test_refused(change):
    with pytest.raises(InvalidParameter):
        changes.apply({}, [change])


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text(max_size=20), max_size=4
    )
)
def test_quoted_values_come_through(values):
    if not values:
        return
    words = " ".join(
        key + '="' + value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'
        for key, value in values.items()
    )
    assert changes.apply({}, [f"LABEL {words}"]) == {"Labels": values}


@given(st.text(max_size=60))
def test_any_text_is_taken_or_refused(text):
    for name in ("ENV", "LABEL", "HEALTHCHECK", "EXPOSE", "VOLUME", "CMD"):
        try:
            changes.apply({}, [f"{name} {text}"])
        except InvalidParameter:
            continue
