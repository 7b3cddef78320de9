"""A command line with an engine that answers from Python."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from click.testing import CliRunner, Result

from runengine.cli.context import App
from runengine.cli.main import program


class FakeEngine(SimpleNamespace):
    """Managers by name; notes whether it was closed."""

    closed = False
    notices = ()

    def close(self) -> None:
        self.closed = True


def call(*args: str, engine: Any = None, **managers: Any) -> Result:
    """Run the program on these arguments with a fake engine made of these managers."""
    app = App(lambda _: engine or FakeEngine(**managers))
    return CliRunner().invoke(program, list(args), obj=app)
