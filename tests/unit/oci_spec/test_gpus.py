"""--gpus as Docker reads it (rows Y-04, Y-06)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.oci_spec import gpus


def request(count=0, ids=None, caps=("gpu",), driver="", options=None):
    return {
        "Driver": driver,
        "Count": count,
        "DeviceIDs": ids,
        "Capabilities": [list(caps)],
        "Options": options or {},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("all", request(-1)),
        ("2", request(2)),
        ("0", request(0)),
        ("count=all", request(-1)),
        ("device=0", request(ids=["0"])),
        ('"device=0,GPU-a1"', request(ids=["0", "GPU-a1"])),
        ("device=1:0", request(ids=["1:0"])),
        ("driver=nvidia", request(1, driver="nvidia")),
        ("capabilities=compute", request(1, caps=("compute", "gpu"))),
        ('all,"capabilities=compute,utility"', request(-1, caps=("compute", "utility", "gpu"))),
        ('1,"options=a=b,c"', request(1, options={"a": "b", "c": ""})),
    ],
)
def test_grammar(text, expected):
    assert gpus.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid --gpus"),
        ("some", "invalid count"),
        ("-2", "invalid count"),
        ("1.5", "invalid count"),
        ("99999", "invalid count"),
        ("count=", "invalid count"),
        ("1,2", "only once"),
        ("1,count=2", "only once"),
        ("device=0,1", "cannot set both"),  # the comma is not in quotes
        ("all,device=0", "cannot set both"),
        ("bogus=1", "unexpected key"),
        ("device=", "invalid device"),
        ("device=/dev/x", "invalid device"),
        ('"device=0', "invalid --gpus"),
        ("1\n2", "invalid"),
    ],
)
def test_refused(text, words):
    with pytest.raises(InvalidParameter, match=words):
        gpus.parse(text)


WORDS = st.text(alphabet='al,="0n\n', max_size=12)


@given(st.text(max_size=20) | WORDS | WORDS.map(lambda word: f"device={word}"))
def test_every_text_is_a_request_or_is_refused(text):
    try:
        made = gpus.parse(text)
    except InvalidParameter:
        return
    gpus.check(made)
    assert gpus.names_of(made) is not None


@pytest.mark.parametrize(
    ("text", "names", "capabilities"),
    [
        ("all", ["all"], []),
        ("3", ["0", "1", "2"], []),
        ("0", [], []),
        ("device=none", [], []),
        ('"device=2,GPU-a"', ["2", "GPU-a"], []),
        ('"capabilities=video,utility,video"', ["0"], ["video", "utility"]),
    ],
)
def test_what_is_meant(text, names, capabilities):
    made = gpus.parse(text)
    assert gpus.names_of(made) == names
    assert gpus.driver_capabilities(made) == capabilities
    assert gpus.is_for_nvidia(made)


@pytest.mark.parametrize("text", ["driver=amd", "capabilities=tpu", "1,capabilities=compute-x"])
def test_whose_it_is_not(text):
    assert not gpus.is_for_nvidia(gpus.parse(text))


def test_a_program_may_name_the_driver_alone():
    bare = gpus.parse("driver=nvidia")
    bare["Capabilities"] = None
    assert gpus.is_for_nvidia(bare)
    bare["Driver"] = ""
    assert not gpus.is_for_nvidia(bare)
