"""What ``--log-driver`` and ``--log-opt`` say, and times as ``logs --since`` takes them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runengine import ids
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runengine.model import LogConfig
    from runengine.monitor.protocol import LogSpec

DRIVERS = ("cri", "json-file", "journald", "passthrough", "none")
FILE_NAMES = {"cri": "container.log", "json-file": "json.log", "passthrough": "output.log"}
DEFAULT_MAX_SIZE = 10 * 1024 * 1024
DEFAULT_MAX_FILE = 3
DEFAULT_BUFFER = 1 << 20
_COMMON = frozenset(
    {"env", "env-regex", "labels", "labels-regex", "max-buffer-size", "mode", "tag"}
)
_OF_FILES = _COMMON | {"compress", "max-file", "max-size", "root-dir"}
OPTIONS = {
    "cri": _OF_FILES,
    "json-file": _OF_FILES,
    "journald": _COMMON,
    "passthrough": frozenset({"root-dir"}),
}
_MAX_BUFFER = 1 << 30
_FIELD_NAME_LENGTH = 64
# Docker's go-units: multiples of 1000, whatever follows the letter; of memory multiples of 1024.
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_TAG_FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


class Subject:
    """The container that a log belongs to, as far as options can refer to it."""

    __slots__ = ("env", "id", "image", "image_id", "labels", "name")

    def __init__(
        self,
        container_id: str = "",
        *,
        name: str = "",
        image: str = "",
        image_id: str = "",
        labels: Mapping[str, str] | None = None,
        env: Sequence[str] = (),
    ) -> None:
        self.id = container_id
        self.name = name
        self.image = image
        self.image_id = image_id
        self.labels = labels or {}
        self.env = dict(entry.split("=", 1) for entry in env if "=" in entry)


def log_spec(
    config: LogConfig, data_dir: str, container_id: str, subject: Subject | None = None
) -> tuple[LogSpec, str | None]:
    """Where a container's log goes, and the directory to remove with it if outside ``data_dir``.

    Raises as ``parse_log_options`` does.
    """
    spec = parse_log_options(config["Type"], config["Config"], subject or Subject(container_id))
    root_dir = config["Config"].get("root-dir")
    log_dir = f"{root_dir.rstrip('/')}/{container_id}" if root_dir else None
    if spec["driver"] in FILE_NAMES:
        spec["path"] = f"{log_dir or data_dir}/{FILE_NAMES[spec['driver']]}"
    return spec, log_dir


def parse_log_options(
    driver: str, options: Mapping[str, str], subject: Subject | None = None
) -> LogSpec:
    """Check driver and options; the path is left empty.

    Raises InvalidParameter in Docker's words.
    """
    driver = driver or "cri"
    if driver not in DRIVERS:
        raise InvalidParameter(
            f"logger: no log driver named '{driver}' is registered",
            resolution=f"use one of {', '.join(DRIVERS)}",
        )
    if driver == "none":
        if options:
            raise InvalidParameter("don't allow to set logging opts for driver none")
        return {"driver": "none", "path": "", "max_size": 0, "max_file": 1, "attrs": {}}
    for key in sorted(options):
        if key not in OPTIONS[driver]:
            raise InvalidParameter(f"unknown log opt '{key}' for {driver} log driver")
    if driver == "passthrough":
        _check_root_dir(options)
        return {"driver": driver, "path": "", "max_size": 0, "max_file": 1, "attrs": {}}
    buffer_bytes = _buffer(options)
    attrs = _attrs(options, subject or Subject())
    if driver == "journald":
        spec = _journal(subject or Subject(), options, attrs)
    else:
        spec = _files(driver, options, attrs)
    if options.get("mode") == "non-blocking":
        spec["mode"] = "non-blocking"
    if driver == "journald" or "mode" in spec:
        spec["buffer_bytes"] = buffer_bytes
    return spec


def _files(driver: str, options: Mapping[str, str], attrs: dict[str, str]) -> LogSpec:
    _check_root_dir(options)
    spec: LogSpec = {
        "driver": driver,
        "path": "",
        "max_size": _max_size(options.get("max-size")),
        "max_file": _max_file(options.get("max-file")),
        "attrs": attrs,
    }
    if _compress(options):
        spec["compress"] = True
    return spec


def _journal(subject: Subject, options: Mapping[str, str], attrs: dict[str, str]) -> LogSpec:
    """What each record in the journal has, under the names of Docker's driver."""
    tag = _tag(options.get("tag") or "{{.ID}}", subject)
    fields = {
        "CONTAINER_ID": ids.short(subject.id),
        "CONTAINER_ID_FULL": subject.id,
        "CONTAINER_NAME": subject.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": subject.image,
        "SYSLOG_IDENTIFIER": tag,
    }
    own = {_field_name(key): value for key, value in attrs.items() if key != "tag"}
    return {
        "driver": "journald",
        "path": "",
        "max_size": 0,
        "max_file": 1,
        "attrs": attrs,
        "fields": {**own, **fields},
    }


def _field_name(key: str) -> str:
    """A label or variable as the journal takes it: upper case, digits and _, none in front."""
    name = re.sub("[^A-Z0-9_]", "_", key.upper()).lstrip("_0123456789")
    return name[:_FIELD_NAME_LENGTH] or "LABEL"


def _max_size(text: str | None) -> int:
    """Bytes of one file; 0, from "-1", is unlimited."""
    if text is None:
        return DEFAULT_MAX_SIZE
    if text == "-1":
        return 0
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * 1000 ** _POWERS[match[2].lower()]) if match else 0
    if size <= 0:
        raise InvalidParameter(
            f"invalid value for log opt 'max-size': {text!r}",
            resolution="use a positive size such as 10m, or -1 for no limit",
        )
    return size


def _max_file(text: str | None) -> int:
    if text is None:
        return DEFAULT_MAX_FILE
    if not re.fullmatch(r"\+?\d{1,6}", text, re.ASCII) or int(text) < 1:
        raise InvalidParameter(
            f"invalid value for log opt 'max-file': {text!r}", resolution="use 1 or more"
        )
    return int(text)


def _buffer(options: Mapping[str, str]) -> int:
    """How much may wait for a slow log, in bytes; checks the mode with it."""
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidParameter(f"logger: logging mode '{mode}' is not supported")
    if "max-buffer-size" in options and mode != "non-blocking":
        raise InvalidParameter(
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        )
    text = options.get("max-buffer-size")
    if text is None:
        return DEFAULT_BUFFER
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * 1024 ** _POWERS[match[2].lower()]) if match else 0
    if not 0 < size <= _MAX_BUFFER:
        raise InvalidParameter(
            f"invalid value for log opt 'max-buffer-size': {text!r}",
            resolution="use a size such as 4m; the monitor keeps it in memory, 1g at most",
        )
    return size


def _compress(options: Mapping[str, str]) -> bool:
    text = options.get("compress", "false")
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text not in ("0", "f", "F", "false", "FALSE", "False"):
        raise InvalidParameter(f"invalid value for log opt 'compress': {text!r}")
    return False


def _check_root_dir(options: Mapping[str, str]) -> None:
    root_dir = options.get("root-dir", "/")
    if not root_dir.startswith("/") or ".." in root_dir.split("/"):
        raise InvalidParameter(
            f"invalid value for log opt 'root-dir': {root_dir!r}",
            resolution="use an absolute path",
        )


def _attrs(options: Mapping[str, str], subject: Subject) -> dict[str, str]:
    """Extra attributes by ``labels``, ``env``, their ``-regex`` forms, and ``tag``."""
    attrs: dict[str, str] = {}
    for option, values in (("labels", subject.labels), ("env", subject.env)):
        wanted = options.get(option, "").split(",")
        pattern = _regex(options, f"{option}-regex")
        attrs |= {
            key: value
            for key, value in values.items()
            if key in wanted or (pattern is not None and pattern.search(key))
        }
    if options.get("tag"):
        attrs["tag"] = _tag(options["tag"], subject)
    return dict(sorted(attrs.items()))


def _regex(options: Mapping[str, str], option: str) -> re.Pattern[str] | None:
    if not options.get(option):
        return None
    try:
        return re.compile(options[option])
    except re.error as error:
        raise InvalidParameter(
            f"invalid value for log opt '{option}': {options[option]!r}", details=str(error)
        ) from None


def _tag(template: str, subject: Subject) -> str:
    """Docker's log tag template: fields only."""
    fields = {
        "ID": ids.short(subject.id),
        "FullID": subject.id,
        "Name": subject.name,
        "ImageID": ids.short(subject.image_id),
        "ImageFullID": subject.image_id,
        "ImageName": subject.image,
        "DaemonName": "runengine",
    }

    def field(match: re.Match[str]) -> str:
        if match[1] not in fields:
            raise InvalidParameter(
                f"invalid value for log opt 'tag': no field {match[1]!r}",
                resolution=f"fields are {', '.join(fields)}",
            )
        return fields[match[1]]

    text = _TAG_FIELD.sub(field, template)
    if "{{" in text:
        raise InvalidParameter(f"invalid value for log opt 'tag': {template!r}")
    return text
