"""``login`` and ``logout``."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from runengine.cli import context, registry_options
from runengine.cli.command import Option, argument, command
from runengine.errors import EngineError, InvalidParameter, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runengine.mgr.registry.login import LoginResult
    from runengine.mgr.registry.manager import RegistryMgr

STDIN = 0
PASSWORD_LIMIT_BYTES = 1 << 20


@command(
    "login",
    usage="[OPTIONS] [SERVER]",
    params=[
        Option(["-p", "--password"], metavar="string", default=None, help="Password"),
        Option(["--password-stdin"], is_flag=True, help="Take the password from stdin"),
        Option(["-u", "--username"], metavar="string", default=None, help="Username"),
        *registry_options.options(creds=False),
    ],
)
@argument("server", required=False)
@click.pass_context
def login(ctx: click.Context, /, **options: Any) -> None:
    """Log in to a registry; without a server to Docker Hub."""
    server, username = options["server"], options["username"]
    registry_options.apply_for_server(ctx, options, server)
    manager = context.engine(ctx).registries
    password = _given_password(options)
    if username is None and password is None and _is_logged_in(manager, server):
        context.write("Login Succeeded\n")
        return
    if username is None:
        username = _prompt("Username: ")
    if password is None:
        password = _prompt("Password: ", hidden=True)
    result = manager.login(server, username, password)
    _tell(result)
    context.write("Login Succeeded\n")


def _given_password(options: dict[str, Any]) -> str | None:
    """From the command line or from stdin. Raises InvalidParameter."""
    password: str | None = options["password"]
    if options["password_stdin"]:
        if password is not None:
            raise InvalidParameter("--password and --password-stdin are mutually exclusive")
        if options["username"] is None:
            raise InvalidParameter("Must provide --username with --password-stdin")
        data = sys.stdin.buffer.read(PASSWORD_LIMIT_BYTES)
        try:
            return data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise InvalidParameter("the password on stdin is not UTF-8") from None
    if password is not None:
        context.warn(
            "Using --password via the CLI is insecure: others see it. Use --password-stdin."
        )
    return password


def _is_logged_in(manager: RegistryMgr, server: str | None) -> bool:
    """Whether the credentials that are kept still do; says so where they do not."""
    try:
        user = manager.login_as_before(server)
    except Unauthorized as error:
        context.complain(str(error), prefix="Login did not succeed: ")
        return False
    if user is None:
        return False
    context.write(f"Authenticated with existing credentials{f' of {user}' if user else ''}\n")
    return True


def _prompt(text: str, *, hidden: bool = False) -> str:
    """Ask on the terminal. Raises InvalidParameter where there is none."""
    if not os.isatty(STDIN):
        raise InvalidParameter(
            "Cannot perform an interactive login from a non TTY device",
            resolution="give --username, and the password by --password-stdin",
        )
    context.write_error(text)
    with _without_echo() if hidden else _as_it_is():
        line = sys.stdin.readline()
    if hidden:
        context.write_error("\n")
    if not line:
        raise InvalidParameter("there was no answer")
    return line.rstrip("\r\n") if hidden else line.strip()


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield


@contextmanager
def _without_echo() -> Iterator[None]:
    """What is typed is not shown; the terminal is put back whatever happens (termios(3))."""
    import termios

    saved = termios.tcgetattr(STDIN)
    silent = list(saved)
    silent[3] &= ~termios.ECHO
    try:
        termios.tcsetattr(STDIN, termios.TCSAFLUSH, silent)
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSAFLUSH, saved)


def _tell(result: LoginResult) -> None:
    if not result.helper:
        context.warn(
            f"Your password is stored unencrypted in {result.path}. "
            "A credential helper (credsStore) keeps it elsewhere."
        )
    if result.hidden_by:
        context.warn(
            f"{result.hidden_by} has other credentials for {result.registry}, which are used first"
        )


@command("logout", usage="[OPTIONS] [SERVER]", params=[registry_options.authfile()])
@argument("server", required=False)
@click.pass_context
def logout(ctx: click.Context, /, server: str | None, authfile: str | None) -> None:
    """Log out from a registry; without a server from Docker Hub."""
    registry_options.use_authfile(authfile)
    try:
        name, was_in = context.engine(ctx).registries.logout(server)
    except Unauthorized as error:
        raise EngineError("cannot erase the credentials", details=str(error)) from error
    if was_in:
        context.write(f"Removing login credentials for {name}\n")
    else:
        context.write(f"Not logged in to {name}\n")
