"""Choosing an image from an index."""

from __future__ import annotations

import pytest

from runengine.errors import InvalidParameter, NotFound
from runengine.oci_spec import image
from runengine.registry import platform as platforms
from runengine.registry.platform import Platform


def index_of(*names) -> image.Index:
    entries = []
    for number, name in enumerate(names):
        entry = {"mediaType": "", "digest": f"sha256:{number:064x}", "size": 1}
        if name:
            system, architecture, *variant = name.split("/")
            entry["platform"] = {
                "os": system, "architecture": architecture, "variant": "".join(variant),
            }
        entries.append(entry)
    return image.Index.model_validate({"schemaVersion": 2, "manifests": entries})


def chosen(wanted, *names) -> int:
    entry = platforms.select(index_of(*names), Platform.parse(wanted))
    return int(entry.digest[-4:], 16)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", ("linux", "amd64", "")),
        ("linux/x86_64", ("linux", "amd64", "")),
        ("linux/arm64/v8", ("linux", "arm64", "")),
        ("linux/aarch64", ("linux", "arm64", "")),
        ("linux/arm/v7", ("linux", "arm", "")),
        ("linux/arm/6", ("linux", "arm", "v6")),
        ("linux/armel", ("linux", "arm", "v6")),
        ("arm64", ("linux", "arm64", "")),
        ("Linux/AMD64/v3", ("linux", "amd64", "v3")),
    ],
)
def test_parse(text, expected) -> None:
    assert Platform.parse(text) == expected


@pytest.mark.parametrize("text", ["", "/", "linux/", "a/b/c/d", "linux/amd 64", "linux/../x"])
def test_a_bad_platform_is_refused(text) -> None:
    with pytest.raises(InvalidParameter, match="invalid platform"):
        Platform.parse(text)


def test_the_native_platform_is_this_machines(monkeypatch) -> None:
    uname = type("Uname", (), {"machine": "aarch64"})()
    monkeypatch.setattr("os.uname", lambda: uname)
    assert str(Platform.native()) == "linux/arm64"


@pytest.mark.parametrize(
    ("wanted", "offered", "position"),
    [
        ("linux/amd64", ("linux/arm64", "linux/amd64"), 1),
        ("linux/arm64", ("linux/arm64/v8",), 0),
        ("linux/arm/v7", ("linux/arm/v5", "linux/arm/v6", "linux/arm/v8"), 1),
        ("linux/arm/v7", ("linux/arm/v6", "linux/arm"), 1),
        ("linux/amd64/v3", ("linux/amd64", "linux/amd64/v4", "linux/amd64/v2"), 2),
        ("linux/amd64", ("linux/amd64", "linux/amd64"), 0),
        ("linux/amd64", ("",), 0),
    ],
)
def test_the_best_fit_is_taken(wanted, offered, position) -> None:
    assert chosen(wanted, *offered) == position


@pytest.mark.parametrize(
    ("wanted", "offered"),
    [
        ("linux/amd64", ("linux/amd64/v2",)),
        ("linux/arm/v6", ("linux/arm/v7",)),
        ("linux/amd64", ("windows/amd64", "linux/386")),
        ("linux/amd64", ("", "")),
        ("linux/amd64", ()),
    ],
)
def test_what_would_not_run_is_not_taken(wanted, offered) -> None:
    with pytest.raises(NotFound, match=f"no image for platform {wanted}"):
        chosen(wanted, *offered)


def test_the_error_lists_what_there_is() -> None:
    with pytest.raises(NotFound, match="it has: linux/arm, linux/s390x") as caught:
        chosen("linux/amd64", "linux/s390x", "linux/arm/v7", "unknown/unknown")
    assert "--platform" in str(caught.value)
