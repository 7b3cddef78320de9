"""``--format`` for single documents, and what lists share: formats, headings, order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from runengine.cli.command import Option
from runengine.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Key = Callable[[Any], Any]

_Sortable = TypeVar("_Sortable")

FORMAT_HELP = """Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""
DOCUMENT_FORMAT_HELP = """Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template."""

_MAPS: dict[str, Any] = {
    # Docker's documents have maps with the user's keys here; the value is what index gives for
    # a key that is not there.
    "Labels": "",
    "Annotations": "",
    "Sysctls": "",
    "Tmpfs": "",
    "StorageOpt": "",
    "DriverOpts": "",
    "Volumes": None,
    "ExposedPorts": None,
    "Networks": None,
    "Containers": None,
    "AuxiliaryAddresses": "",
    "Options": "",
    "Ports": None,
    "PortBindings": None,
    "Runtimes": None,
    "Data": "",
}
_LISTS = frozenset(
    ("Aliases", "Args", "Binds", "CapAdd", "CapDrop", "Cmd", "DNSNames", "DeviceCgroupRules",
     "Devices", "Dns", "DnsOptions", "DnsSearch", "Entrypoint", "Env", "ExecIDs", "ExtraHosts",
     "GroupAdd", "LinkLocalIPs", "Links", "MaskedPaths", "Mounts", "OnBuild", "ReadonlyPaths",
     "RepoDigests", "RepoTags", "SecurityOpt", "Shell", "Ulimits", "VolumesFrom")
)


def heading_option(*short: str) -> Option:
    """``--noheading``, as Podman has it."""
    return Option(
        [*short, "--noheading", "bare"], is_flag=True, help="Do not print the line of titles"
    )


def sorted_rows(rows: list[_Sortable], by: str, keys: dict[str, Key]) -> list[_Sortable]:
    """Rows in the order that ``--sort`` asks for. Raises InvalidParameter."""
    if not by:
        return rows
    if by not in keys:
        raise InvalidParameter(
            f"cannot sort by {by!r}", resolution=f"one of {', '.join(sorted(keys))}"
        )
    return sorted(rows, key=keys[by])


def list_format(options: dict[str, Any], key: str) -> str:
    """The format of a list: ``--format``, else what the user's ``config.json`` has for it."""
    form: str = options["form"]
    if form or options.get("quiet"):
        return form
    from runengine.cli import client_config

    return client_config.text_of(key) or ""


def quiet_format(form: str) -> None:
    """Say that a template is not used, because ids alone were asked for."""
    if form not in ("", "table"):
        from runengine.cli import context

        context.warn("Ignoring custom format, because both --format and --quiet are set.")


def for_template(value: Any, name: str = "") -> Any:
    """A document with its maps and null lists marked, so that templates treat them as Go does."""
    from runengine.cli.template_values import Map, NilList

    if isinstance(value, dict):
        inside = {key: for_template(one, _kind(name, key)) for key, one in value.items()}
        return Map(inside, _MAPS[name]) if name in _MAPS else inside
    if isinstance(value, list):
        return [for_template(one) for one in value]
    if value is None and name in _LISTS:
        return NilList()
    if value is None and name in _MAPS:
        return Map({}, _MAPS[name])
    return value


def _kind(parent: str, key: str) -> str:
    """The name that says what a value is: a log's ``Config`` is a map, a container's is not."""
    return "Labels" if (parent, key) == ("LogConfig", "Config") else key


def render_documents(documents: Iterable[dict[str, Any]], form: str) -> str:
    """Documents as an indented JSON list, as one line of JSON, or each by a template."""
    if form and form != "json":
        from runengine.cli.template import Template

        template = Template(form)
        return "".join(f"{template.render(for_template(one))}\n" for one in documents)
    import json

    separators, indent = ((",", ":"), None) if form == "json" else ((",", ": "), 4)
    text = json.dumps(list(documents), ensure_ascii=False, separators=separators, indent=indent)
    return f"{text}\n"
