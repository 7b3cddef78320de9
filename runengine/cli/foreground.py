"""A container in the foreground: start or attach, relay, and end with its exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runengine.cli import context, streams
from runengine.errors import Conflict, EngineError, NotFound, StateError, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable

    from runengine.mgr.container.checkpoint_restore import Wanted
    from runengine.mgr.engine import Engine
    from runengine.monitor.client import Connection
    from runengine.monitor.protocol import AttachOptions

SIGNALLED = 128


def start_attached(
    engine: Engine,
    container_id: str,
    options: AttachOptions,
    *,
    tty: bool,
    detach_keys: bytes,
    sig_proxy: bool,
    console_size: tuple[int, int] | None,
    checkpoint: Wanted | None = None,
) -> int:
    """Start the container with our streams; its exit code, or 0 after the detach keys.

    With standard input alone the session is over when all of it has been passed on. Raises what
    ``start`` raises, StateError if the exit code was lost.
    """
    connection = engine.containers.start(
        container_id, attach=options, console_size=console_size, checkpoint=checkpoint
    )
    if connection is None:
        raise StateError(f"container {container_id[:12]} has no streams")
    context.tell()
    input_only = not (options.stdout or options.stderr)
    with connection:
        outcome = streams.Relay(
            connection,
            stdin=options.stdin,
            tty=tty,
            detach_keys=detach_keys,
            send_signal=signal_sender(engine, container_id) if sig_proxy else None,
            input_only=input_only,
        ).run(console_size)
        if input_only:
            _await_reading(connection)
        if outcome.detached or input_only:
            return 0
        taken_over = outcome.exit is not None and connection.take_over()
    # Whoever tears down, the record must say so before we go.
    if taken_over:
        engine.containers.finish(container_id)
    return exit_code(outcome.exit, container_id[:12])


def attach_running(
    engine: Engine,
    container_id: str,
    options: AttachOptions,
    *,
    tty: bool,
    detach_keys: bytes,
    sig_proxy: bool,
) -> int:
    """Join the streams of a running container; its exit code, or 0 after the detach keys.

    Raises what ``attach`` raises, StateError if the exit code was lost.
    """
    with engine.containers.attach(container_id, options) as connection:
        outcome = streams.Relay(
            connection,
            stdin=options.stdin,
            tty=tty,
            detach_keys=detach_keys,
            send_signal=signal_sender(engine, container_id) if sig_proxy else None,
        ).run()
    return 0 if outcome.detached else exit_code(outcome.exit, container_id[:12])


def _await_reading(connection: Connection) -> None:
    """Wait until the monitor has all that we sent: requests are answered in their order."""
    while connection.exit is None:
        try:
            connection.status()
        except TimedOut:
            continue  # the container reads slowly
        except EngineError:
            return
        return


def exit_code(exit_record: dict[str, Any] | None, what: str) -> int:
    """The code to exit with: the process's own, 128 + N after signal N.

    Raises StateError if nobody saw it: never invent a success.
    """
    code = exit_record.get("exit_code") if exit_record else None
    number = exit_record.get("signal") if exit_record else None
    if number:
        return SIGNALLED + int(number)
    if code is None:
        raise StateError(
            f"the exit code of {what} is unknown: its monitor was killed",
            resolution="look at the container with inspect",
        )
    return int(code)


def signal_sender(engine: Engine, container_id: str) -> Callable[[int], None]:
    """What passes a signal on to the container's init; one that has ended needs none."""

    def send(number: int) -> None:
        try:
            engine.containers.kill(container_id, number)
        except (Conflict, NotFound):
            return
        except EngineError as error:
            from runengine.cli import context

            context.warn(f"signal {number} was not passed on: {error}")

    return send
