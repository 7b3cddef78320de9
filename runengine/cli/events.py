"""``events``: what happened, and what happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import Option, command
from runengine.cli.filters import filter_option
from runengine.cli.formats import DOCUMENT_FORMAT_HELP
from runengine.cli.template_values import Map, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_WHEN = 'timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'
_FIELDS = {
    "Status": "status",
    "ID": "id",
    "From": "from",
    "Type": "Type",
    "Action": "Action",
    "Actor": "Actor",
    "Scope": "scope",
    "Time": "time",
    "TimeNano": "timeNano",
}
_EXAMPLE: dict[str, Any] = {
    "status": "die",
    "id": "0" * 64,
    "from": "image",
    "Type": "container",
    "Action": "die",
    "Actor": {
        "ID": "0" * 64,
        "Attributes": {"exitCode": "0", "image": "image", "name": "name"},
    },
    "scope": "local",
    "time": 0,
    "timeNano": 0,
}


_NOW = "0s"


@command(
    "events",
    params=[
        filter_option("-f"),
        Option(["--format", "form"], metavar="string", default="", help=DOCUMENT_FORMAT_HELP),
        Option(["--no-trunc"], is_flag=True, default=True, hidden=True),
        Option(
            ["--stream"],
            is_flag=True,
            default=True,
            help="Wait for new events (--stream=false: show those of the past and exit)",
        ),
        Option(["--since"], metavar="string", default="", help=f"Show events since a {_WHEN}"),
        Option(["--until"], metavar="string", default="", help=f"Stream events until a {_WHEN}"),
    ],
)
@click.pass_context
def events(ctx: click.Context, /, **options: Any) -> None:
    """Get real time events from the server.

    Without --since and --until only new events are shown, until it is interrupted. With one of
    them also those of the past that the journal still has; --until ends it at that time.

    Filters: container, event, image, label, network, scope, type, volume. Values of one filter are
    alternatives, of label they all have to be there.
    """
    render = renderer(options["form"])
    with context.engine(ctx).system.subscribe_to_events(
        options["since"] or None,
        options["until"] or (None if options["stream"] else _NOW),
        options["filters"],
        on_gap=lambda: context.warn("events were lost: they were written faster than read"),
    ) as messages:
        for message in messages:
            context.write(f"{render(message)}\n")


def renderer(form: str) -> Callable[[dict[str, Any]], str]:
    """What makes a line of a message. Raises TemplateError."""
    if not form:
        return line
    if form == "json":
        from runengine.cli.template_values import to_json

        return lambda message: to_json(MessageRow(message))
    from runengine.cli.template import Template

    template = Template(form)
    # Of a mistake nobody wants to hear when the first event comes, hours later.
    template.render(MessageRow(_EXAMPLE))
    return lambda message: template.render(MessageRow(message))


def line(message: dict[str, Any]) -> str:
    """Docker's line: local time, type, action, id, and the attributes by name.

    Attributes are a user's or an image's, so control characters are made visible.
    """
    actor = message["Actor"]
    when = _local_time(message["timeNano"])
    text = f"{when} {message['Type']} {message['Action']} {actor['ID']}"
    pairs = ", ".join(f"{key}={value}" for key, value in sorted(actor["Attributes"].items()))
    return context.one_line(f"{text} ({pairs})" if pairs else text)


def _local_time(nanoseconds: int) -> str:
    """RFC 3339 with nine digits and the local zone, ``Z`` for UTC."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    zone = "Z" if zone in ("+0000", "-0000") else f"{zone[:3]}:{zone[3:5]}"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{rest:09d}{zone}"


class MessageRow(Row):
    """A message with the names of Docker's Go structure: ``.Actor.Attributes.name``, ``.From``."""

    def __init__(self, message: dict[str, Any]) -> None:
        actor = message["Actor"]
        attributes = Map(dict(sorted(actor["Attributes"].items())))
        self._message = {**message, "Actor": {"ID": actor["ID"], "Attributes": attributes}}

    def field(self, name: str) -> Any:
        """A field; what this kind of message does not have is empty. Raises KeyError."""
        return self._message.get(_FIELDS[name], "")

    def document(self) -> dict[str, Any]:
        """The message as its JSON has it."""
        return self._message

    def names(self) -> Iterable[str]:
        """As templates have them; JSON has others."""
        return _FIELDS
