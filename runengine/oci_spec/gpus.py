"""``--gpus``, and requests for devices as Docker's API has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runengine.errors import InvalidParameter
from runengine.oci_spec import cdi

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runengine.model import DeviceRequest

GPU = "gpu"
NVIDIA = "nvidia"
KIND = "nvidia.com/gpu"
ALL = -1
DRIVER_CAPABILITIES = frozenset(
    ("all", "compat32", "compute", "display", "graphics", "ngx", "utility", "video")
)
"""What the driver's libraries in a container can be for (NVIDIA_DRIVER_CAPABILITIES)."""
NOTHING = frozenset(("none", "void"))
"""NVIDIA's own words for no device."""
_KEYS = ("capabilities", "count", "device", "driver", "options")


def parse(text: str) -> DeviceRequest:
    """Parse ``all``, a number, or ``KEY=VALUE,...`` with values in quotes where they have commas.

    Keys: count, device, capabilities, driver, options. Raises InvalidParameter.
    """
    request: DeviceRequest = {
        "Driver": "",
        "Count": 0,
        "DeviceIDs": None,
        "Capabilities": [[GPU]],
        "Options": {},
    }
    fields = _fields(text)
    values = _values(fields, text)
    if "count" in values:
        request["Count"] = _count(values["count"])
    elif "device" not in values:
        request["Count"] = 1
    if "device" in values:
        request["DeviceIDs"] = values["device"].split(",")
    if "capabilities" in values:
        request["Capabilities"] = [[*values["capabilities"].split(","), GPU]]
    request["Driver"] = values.get("driver", "")
    if "options" in values:
        pairs = (item.partition("=") for item in _fields(values["options"]))
        request["Options"] = {key: value for key, _, value in pairs}
    check(request)
    return request


def _fields(text: str) -> list[str]:
    """One line of comma-separated values, quotes undone."""
    import csv  # not for every start

    try:
        lines = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise InvalidParameter(f"invalid --gpus {text!r}: {error}") from None
    if len(lines) != 1 or not lines[0]:
        raise InvalidParameter(f"invalid --gpus {text!r}", resolution="all, a number, device=0")
    return lines[0]


def _values(fields: Sequence[str], text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for field in fields:
        key, equals, value = field.partition("=")
        if not equals:
            key, value = "count", field
        if key not in _KEYS:
            raise InvalidParameter(
                f"unexpected key {key!r} in --gpus {text!r}",
                resolution=f"one of {', '.join(_KEYS)}",
            )
        if key in values:
            raise InvalidParameter(f"gpu request key {key!r} can be specified only once")
        values[key] = value
    return values


def _count(text: str) -> int:
    if text == "all":
        return ALL
    if not (text.isascii() and text.isdigit()) or len(text) > 4:
        raise InvalidParameter(
            f'invalid count ({text}): value must be either "all" or an integer'
        )
    return int(text)


def check(request: DeviceRequest) -> None:
    """Raise InvalidParameter for a request that nothing can fulfil."""
    names = request["DeviceIDs"] or []
    if request["Driver"] == cdi.DRIVER:
        for name in names:
            cdi.parse_name(name)
        return
    if request["Count"] and names:
        raise InvalidParameter("cannot set both Count and DeviceIDs on device request")
    if request["Count"] < ALL:
        raise InvalidParameter(f"invalid count ({request['Count']}) of a device request")
    for name in names:
        if not cdi.is_name(f"{KIND}={name}"):
            raise InvalidParameter(f"invalid device {name!r} in a request for GPUs")


def is_for_nvidia(request: DeviceRequest) -> bool:
    """Whether NVIDIA's devices are meant: every capability of one of the sets is theirs."""
    if request["Driver"] not in ("", NVIDIA):
        return False
    wanted = request["Capabilities"] or ([[]] if request["Driver"] else [])
    own = DRIVER_CAPABILITIES | {GPU, NVIDIA}
    return any(own.issuperset(words) for words in wanted)


def names_of(request: DeviceRequest) -> list[str]:
    """The devices' names within their kind: indexes, UUIDs, or ``all``."""
    if request["Count"] == ALL:
        return [cdi.ALL]
    names = request["DeviceIDs"] or [str(number) for number in range(request["Count"])]
    return [name for name in names if name not in NOTHING]


def driver_capabilities(request: DeviceRequest) -> list[str]:
    """Those of the driver among the capabilities; none: NVIDIA's default."""
    words = [word for words in request["Capabilities"] or () for word in words]
    return [word for word in dict.fromkeys(words) if word in DRIVER_CAPABILITIES]
