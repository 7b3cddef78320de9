"""``registry explain``: the decision about a name, for people and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context
from runengine.cli.command import Option, argument, command
from runengine.cli.formats import DOCUMENT_FORMAT_HELP, render_documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    Document = dict[str, Any]


@command(
    "explain",
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    params=[
        Option(["--format", "form"], metavar="string", default="", help=DOCUMENT_FORMAT_HELP),
    ],
)
@argument("name")
@click.pass_context
def explain(ctx: click.Context, /, name: str, form: str) -> None:
    """Show which registry, mirrors, credentials and proxies a name leads to, and why."""
    document = context.engine(ctx).registries.explain(name)
    if form == "json":
        import json

        context.write(json.dumps(document, ensure_ascii=False, indent=4) + "\n")
    elif form:
        context.write(render_documents([document], form))
    else:
        context.write("".join(f"{line}\n" for line in _lines(document)))


def _lines(document: Document) -> Iterator[str]:
    yield f"Name: {document['Reference']}"
    for reason in document["Why"]:
        yield f"  {reason}"
    for number, endpoint in enumerate(document["Endpoints"], 1):
        yield ""
        yield f"{number}. {endpoint['Kind']}: {endpoint['Why']}"
        for url in endpoint["URLs"]:
            yield f"   {url}"
        yield f"   Scheme:      {' then '.join(endpoint['Schemes']['Order'])}: " + (
            endpoint["Schemes"]["Why"]
        )
        yield f"   TLS:         {_tls(endpoint['TLS'])}"
        yield f"   Credentials: {_credentials(endpoint['Credentials'])}"
        yield f"   Proxy:       {endpoint['Proxy']['URL'] or 'none'}: {endpoint['Proxy']['Why']}"
    yield ""
    yield f"Push: {document['Push']}"


def _tls(found: Document) -> str:
    checked = f"checked by {', '.join(found['Authorities'])}"
    shown = [certificate for certificate, _ in found["Client"]]
    client = f"; shows {', '.join(shown)}" if shown else ""
    return f"{checked if found['Verified'] else 'not checked'}{client}: {found['Why']}"


def _credentials(found: Document) -> str:
    if not found["User"]:
        return str(found["Why"])
    return f"user {found['User']}, from {found['Source']}: {found['Why']}"
