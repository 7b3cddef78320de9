"""``version`` and ``info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, units
from runengine.cli.command import Option, command
from runengine.cli.formats import DOCUMENT_FORMAT_HELP, for_template

if TYPE_CHECKING:
    from collections.abc import Iterator


def _format_option() -> Option:
    return Option(
        ["-f", "--format", "form"], metavar="string", default="", help=DOCUMENT_FORMAT_HELP
    )


def formatted(document: dict[str, Any], form: str) -> str:
    """A document in the form of ``--format``: json, or a template."""
    if form == "json":
        from runengine.cli.template_values import to_json

        return f"{to_json(document)}\n"
    from runengine.cli.template import Template

    return f"{Template(form).render(for_template(document))}\n"


@command("version", params=[_format_option()])
@click.pass_context
def version(ctx: click.Context, /, form: str) -> None:
    """Show the runengine version information."""
    facts = context.engine(ctx).system.version()
    document = {"Client": {**facts, "Context": "default"}, "Server": facts}
    context.write(formatted(document, form) if form else "".join(_version_lines(facts)))


def _version_lines(facts: dict[str, Any]) -> Iterator[str]:
    yield "runengine:\n"
    rows = (
        ("Version:", facts["Version"]),
        ("API version:", facts["ApiVersion"]),
        ("OS/Arch:", f"{facts['Os']}/{facts['Arch']}"),
        ("Kernel:", facts["KernelVersion"]),
    )
    for title, value in rows:
        yield f" {title:<18}{value}\n"
    for part in facts.get("Components", ()):
        if part["Name"] != "Engine":
            yield f" {part['Name']}:\n  {'Version:':<17}{part['Version']}\n"


@command("info", params=[_format_option()])
@click.pass_context
def info(ctx: click.Context, /, form: str) -> None:
    """Display system-wide information."""
    facts = context.engine(ctx).system.info()
    if form:
        context.write(formatted(facts, form))
        return
    context.write("".join(f"{line}\n" for line in _info_lines(facts)))
    for warning in facts.get("Warnings") or ():
        context.complain(warning, prefix="")


_INFO = (
    ("Server Version", "ServerVersion"),
    ("Storage Driver", "Driver"),
    ("Logging Driver", "LoggingDriver"),
    ("Cgroup Driver", "CgroupDriver"),
    ("Cgroup Version", "CgroupVersion"),
    ("Default Runtime", "DefaultRuntime"),
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
    ("Name", "Name"),
    ("ID", "ID"),
    ("Root Dir", "DockerRootDir"),
    ("State Dir", "StateDir"),
)


def _info_lines(facts: dict[str, Any]) -> Iterator[str]:
    yield f"Containers: {facts['Containers']}"
    for word in ("Running", "Paused", "Stopped"):
        yield f" {word}: {facts[f'Containers{word}']}"
    yield f"Images: {facts['Images']}"
    for title, key in _INFO:
        if key in facts:
            yield f"{title}: {facts[key]}"
        if key == "Driver":
            yield from (f" {name}: {value}" for name, value in facts.get("DriverStatus") or ())
    yield f"Total Memory: {units.human_size_binary(facts['MemTotal'])}"
    yield f"Runtimes: {' '.join(sorted(facts.get('Runtimes') or ()))}"
    yield from _listed("Security Options", facts.get("SecurityOptions"))
    registries = facts.get("RegistryConfig") or {}
    yield from _listed("Insecure Registries", registries.get("InsecureRegistries"))
    yield from _listed("Registry Mirrors", registries.get("Mirrors"))


def _listed(title: str, items: Any) -> Iterator[str]:
    """A title with an item on each line below it; nothing without items."""
    if items:
        yield f"{title}:"
        yield from (f" {item}" for item in items)
