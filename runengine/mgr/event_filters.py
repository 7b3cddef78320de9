"""Filters of ``events``: values of one key are alternatives, keys add up (labels all count)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Message = Mapping[str, Any]
    Test = Callable[[Message, str], bool]


def compile_filters(filters: Mapping[str, Sequence[str]]) -> Callable[[Message], bool]:
    """What says whether a message is wanted. Raises InvalidParameter naming the known filters."""
    unknown = sorted(set(filters) - set(_TESTS))
    if unknown:
        known = ", ".join(sorted(set(_TESTS) - set(_ELSEWHERE)))
        brief = f"invalid filter '{unknown[0]}'"
        raise InvalidParameter(brief, resolution=f"filters are: {known}")
    tests = [
        (all if key == "label" else any, _TESTS[key], tuple(values))
        for key, values in filters.items()
        if values
    ]

    def accepts(message: Message) -> bool:
        return all(
            enough(test(message, value) for value in values) for enough, test, values in tests
        )

    return accepts


def _type(message: Message, value: str) -> bool:
    return bool(message["Type"] == value)


def _event(message: Message, value: str) -> bool:
    """``exec_create`` is every ``exec_create: COMMAND``, and ``health_status`` every status."""
    action = message["Action"]
    return value in (action, action.partition(":")[0])


def _object(kind: str) -> Test:
    def test(message: Message, value: str) -> bool:
        if message["Type"] != kind or not value:
            return False
        actor = message["Actor"]
        name = actor["Attributes"].get("name")
        return bool(actor["ID"].startswith(value) or name == value.removeprefix("/"))

    return test


def _image(message: Message, value: str) -> bool:
    """An image's own events, and those of containers that were made from it."""
    actor = message["Actor"]
    if message["Type"] == "container":
        return _is_image(actor["Attributes"].get("image", ""), value)
    if message["Type"] != "image":
        return False
    names = (actor["ID"], actor["Attributes"].get("name", ""))
    return any(_is_image(name, value) for name in names)


def _is_image(name: str, value: str) -> bool:
    if name == value:
        return True
    digits = value.removeprefix("sha256:")
    if name.startswith("sha256:") and digits and name[7:].startswith(digits):
        return True
    wanted, found = _parsed(value), _parsed(name)
    if wanted is None or found is None or wanted.name != found.name:
        return False
    return not wanted.suffix or wanted.suffix == (found.suffix or ":latest")


def _parsed(text: str) -> Any:
    from runengine.registry import reference

    try:
        return reference.parse(text, default_tag=None)
    except InvalidParameter:
        return None


def _label(message: Message, value: str) -> bool:
    key, equals, wanted = value.partition("=")
    found = message["Actor"]["Attributes"].get(key)
    return found is not None and (not equals or found == wanted)


def _scope(message: Message, value: str) -> bool:
    return bool(message.get("scope") == value)


# Docker's kinds that do not happen here: to ask for them is no mistake.
_ELSEWHERE = ("config", "daemon", "node", "plugin", "secret", "service")
_TESTS: dict[str, Test] = {
    **{kind: _object(kind) for kind in _ELSEWHERE},
    "container": _object("container"),
    "event": _event,
    "image": _image,
    "label": _label,
    "network": _object("network"),
    "scope": _scope,
    "type": _type,
    "volume": _object("volume"),
}
