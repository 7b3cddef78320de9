"""References: Docker's reading of names (N-03, N-04, N-05)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runengine.errors import InvalidParameter
from runengine.registry.reference import Reference, parse

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "expected", "familiar"),
    [
        ("debian", ("docker.io", "library/debian", "latest", None), "debian:latest"),
        ("debian:12", ("docker.io", "library/debian", "12", None), "debian:12"),
        ("user/app", ("docker.io", "user/app", "latest", None), "user/app:latest"),
        ("docker.io/debian", ("docker.io", "library/debian", "latest", None), "debian:latest"),
        ("index.docker.io/a/b:c", ("docker.io", "a/b", "c", None), "a/b:c"),
        ("localhost/x", ("localhost", "x", "latest", None), "localhost/x:latest"),
        ("localhost:5000/a/b", ("localhost:5000", "a/b", "latest", None), None),
        ("[::1]:5000/x:y", ("[::1]:5000", "x", "y", None), "[::1]:5000/x:y"),
        ("Ghcr.IO/a/b", ("ghcr.io", "a/b", "latest", None), "ghcr.io/a/b:latest"),
        (f"debian@{DIGEST}", ("docker.io", "library/debian", None, DIGEST), f"debian@{DIGEST}"),
        (f"a.b/c:tag@{DIGEST}", ("a.b", "c", None, DIGEST), f"a.b/c@{DIGEST}"),
        ("localhost:5000", ("docker.io", "library/localhost", "5000", None), None),
        ("a__b-d---e/f_g.h", ("docker.io", "a__b-d---e/f_g.h", "latest", None), None),
        ("docker.io/x.y/z", ("docker.io", "x.y/z", "latest", None), "docker.io/x.y/z:latest"),
    ],
)
def test_parse(text, expected, familiar) -> None:
    ref = parse(text)
    assert ref == Reference(*expected)
    assert familiar is None or ref.familiar == familiar
    assert parse(ref.familiar) == ref


@pytest.mark.parametrize("name", ["beef", "cafe", "deadbeef12", "0123"])
def test_a_hex_looking_text_is_a_name_first(name) -> None:
    # N-05
    assert parse(name).repository == f"library/{name}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("Debian", "lower case"),
        ("a/Debian:12", "lower case"),
        ("a b", "repository is"),
        ("a\n", "repository is"),
        ("debian:", "a tag is"),
        ("debian:.x", "a tag is"),
        ("debian:" + "t" * 129, "a tag is"),
        ("debian@sha256:12", "a digest is"),
        (f"debian@sha512:{HEX}{HEX}", "a digest is"),
        ("https://host.example/x", "scheme"),
        ("a//b", "repository is"),
        ("/a", "repository is"),
        ("a/", "repository is"),
        ("a..b/c", "host name"),
        ("host.example:99999/x", "host name"),
        ("host.example:0/x", "host name"),
        ("-x", "repository is"),
        ("a/../b", "repository is"),
        (HEX, "image id"),
        ("x/" + "a" * 256, "at most 255"),
        ("a" * 2000, "too long"),
    ],
)
def test_a_bad_reference_is_refused_with_the_reason(text, reason) -> None:
    with pytest.raises(InvalidParameter, match="invalid reference") as caught:
        parse(text)
    assert reason in str(caught.value)


def test_the_default_tag_is_a_choice() -> None:
    assert parse("debian", default_tag=None) == ("docker.io", "library/debian", None, None)
    assert str(parse("debian", default_tag=None)) == "docker.io/library/debian"


_component = st.from_regex(r"[a-z0-9]{1,6}((\.|_|__|-{1,3})[a-z0-9]{1,6}){0,2}", fullmatch=True)
_host = st.from_regex(
    r"([a-z0-9]{1,8}\.[a-z]{2,4}|localhost|127\.0\.0\.1)(:[1-9][0-9]{0,3})?", fullmatch=True
)
_tag = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
_digest = st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True)


@st.composite
def _names(draw) -> str:
    parts = draw(st.lists(_component, min_size=1, max_size=4))
    host = draw(st.none() | _host)
    if host is None:
        parts[0] = parts[0].replace(".", "_")  # Else it is a registry.
    text = "/".join([host, *parts] if host else parts)
    if tag := draw(st.none() | _tag):
        text += f":{tag}"
    if digest := draw(st.none() | _digest):
        text += f"@{digest}"
    return text


@given(_names())
def test_normalising_and_shortening_change_nothing(text) -> None:
    ref = parse(text)
    assert parse(str(ref)) == ref
    assert parse(ref.familiar) == ref
    assert str(ref).startswith(f"{ref.name}:") or str(ref).startswith(f"{ref.name}@")


@given(st.text(max_size=60) | st.text("aA0./:@-_[]", max_size=30))
def test_any_text_is_read_or_refused(text) -> None:
    try:
        ref = parse(text)
    except InvalidParameter:
        return
    assert parse(str(ref)) == ref
    assert parse(ref.familiar) == ref
    # Names become parts of URLs and paths.
    assert ".." not in ref.repository
    assert not ref.repository.startswith("/")
