"""A systemd unit that supervises one container.

Sources: systemd.unit(5), systemd.service(5) "Command lines", systemd.syntax(7).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from runengine import __version__
from runengine.errors import InvalidParameter

RESTART_POLICIES = (
    "no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always",
)
STOP_MARGIN_S = 15
"""What systemd allows above the container's own stop time, for the teardown."""
LONGEST_S = 10**12
"""What systemd can count in microseconds with something to spare."""
MAX_NAME_BYTES = 255
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.[a-z]+")
_NAME_PART = re.compile(r"[A-Za-z0-9:_.\\-]*")
_SHORT = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\", '"': '\\"', "%": "%%",
}
_SAFE = re.compile(r"[A-Za-z0-9_@+=:,./-]+")


class UnitOptions(NamedTuple):
    """What a unit is made from."""

    unit: str
    """The unit's own name, with ``.service``."""
    container: str
    """Name or id, as the unit's commands will give it."""
    program: list[str]
    """The runengine command with its options, in full."""
    root: str
    environment: dict[str, str]
    stop_signal: int
    stop_timeout_s: int
    """The time that the container has to stop; negative for all the time in the world."""
    stop_option: bool = False
    """Whether the stop time was asked for, and is not the container's own."""
    restart_policy: str = "on-failure"
    restart_delay_s: int | None = None
    start_timeout_s: int | None = None
    after: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()


def unit_name(prefix: str, separator: str, container: str) -> str:
    """``container-web.service``. Raises InvalidParameter for what no unit can be called."""
    if not prefix:
        separator = ""
    for option, text in (("--container-prefix", prefix), ("--separator", separator)):
        if not _NAME_PART.fullmatch(text):
            raise InvalidParameter(
                f"invalid {option} {text!r}",
                resolution="a unit's name has letters, digits and : _ . - \\ only",
            )
    name = f"{prefix}{separator}{container}.service"
    if len(name) > MAX_NAME_BYTES:
        raise InvalidParameter(f"the unit's name {name[:40]}... is longer than 255 bytes")
    return name


def check_unit_name(option: str, name: str) -> str:
    """The name of another unit. Raises InvalidParameter."""
    if not _UNIT_NAME.fullmatch(name):
        raise InvalidParameter(
            f"invalid {option} {name!r}: no name of a unit",
            resolution="give it in full, such as network-online.target",
        )
    return name


def check_restart_policy(policy: str) -> str:
    """A value of systemd's ``Restart=``. Raises InvalidParameter."""
    if policy not in RESTART_POLICIES:
        raise InvalidParameter(
            f"invalid --restart-policy {policy!r}",
            resolution=f"systemd knows {', '.join(RESTART_POLICIES)}",
        )
    return policy


def quote(text: str) -> str:
    """One word that systemd reads back as ``text``: specifiers, escapes and quotes are plain."""
    if _SAFE.fullmatch(text):
        return text
    return f'"{"".join(map(_escaped, text))}"'


def quote_argument(text: str) -> str:
    """The same for an argument of a command line, where ``$`` would name a variable."""
    return quote(text).replace("$", "$$")


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if ord(character) < 0x20 or ord(character) == 0x7F:
        return f"\\x{ord(character):02x}"
    return character


def container_unit(options: UnitOptions) -> str:
    """The text of the unit.

    The main process is ``start --attach``: it ends when the container ends, with its exit code,
    passes signals on, and gives its output to the journal. The container and its monitor live in
    cgroups of their own, so systemd has nothing else of ours to watch or to kill. Raises
    InvalidParameter for directories that systemd cannot name.
    """
    parts = (_header(options), _unit(options), _service(options), _INSTALL)
    text = "\n\n".join("\n".join(lines) for lines in parts) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidParameter(
            f"container {options.container}: a path that its unit has to name is not UTF-8",
            resolution="systemd reads UTF-8 only: use other --root and --state directories",
        ) from None
    return text


def _header(options: UnitOptions) -> list[str]:
    return [
        f"# {options.unit}: runs the container {options.container}.",
        f"# Made by runengine {__version__}; make it anew when the container's name changes.",
    ]


def _unit(options: UnitOptions) -> list[str]:
    # The last two for the shutdown: this unit is stopped first, and with the engine still there.
    after = [
        "network-online.target", "runengine.service", "runengine-containers.service",
        *options.requires, *options.after,
    ]
    lines = [
        "[Unit]",
        f"Description=runengine container {options.container}",
        _list("Wants", ("network-online.target", *options.wants)),
        _list("Requires", options.requires),
        _list("After", after),
        # This line has no escapes for what does not print.
        f"RequiresMountsFor={quote(options.root)}" if options.root.isprintable() else "",
    ]
    return [line for line in lines if line]


def _list(key: str, names: tuple[str, ...] | list[str]) -> str:
    return f"{key}={' '.join(dict.fromkeys(names))}" if names else ""


def _service(options: UnitOptions) -> list[str]:
    time = ["--time", str(options.stop_timeout_s)] if options.stop_option else []
    limit_s = options.stop_timeout_s
    limit = limit_s + STOP_MARGIN_S if 0 <= limit_s <= LONGEST_S else "infinity"
    lines = [
        "[Service]",
        "Type=exec",
        *(f"Environment={quote(f'{k}={v}')}" for k, v in sorted(options.environment.items())),
        f"Restart={options.restart_policy}",
        _number("RestartSec", options.restart_delay_s),
        _number("TimeoutStartSec", options.start_timeout_s),
        f"TimeoutStopSec={limit}",
        # As for any service, to end by the signal to stop is no failure.
        f"SuccessExitStatus={128 + options.stop_signal}",
        f"ExecStart={_command(options, 'start', '--attach')}",
        # Also when the main process was killed: then the container still runs.
        f"ExecStop={_command(options, 'stop', *time)}",
    ]
    return [line for line in lines if line]


def _number(key: str, value: int | None) -> str:
    return "" if value is None else f"{key}={value}"


def _command(options: UnitOptions, *words: str) -> str:
    program, *given = options.program
    arguments = map(quote_argument, [*given, *words, options.container])
    return " ".join([quote(program), *arguments])  # there are no variables in the first word


_INSTALL = ("[Install]", "WantedBy=multi-user.target")
