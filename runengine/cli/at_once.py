"""One operation on several containers at the same time: their waits add up to the longest one."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING

from runengine.cli import context

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import click

    from runengine.errors import EngineError
    from runengine.mgr.engine import Engine

    Action = Callable[[Engine, str], str | None]

THREADS = 32


class _Task:
    """One name's turn."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._done = Event()
        self._result: str | None = None
        self._error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        return self._done.is_set()

    def run(self, engine: Engine, act: Action) -> None:
        try:
            self._result = act(engine, self.name)
        except BaseException as error:  # noqa: BLE001
            self._error = error
        self._done.set()

    def fail(self, error: BaseException) -> None:
        self._error = error
        self._done.set()

    def result(self) -> str | None:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._result


def for_each(
    ctx: click.Context,
    names: Sequence[str],
    act: Action,
    *,
    tolerated: tuple[type[EngineError], ...] = (),
) -> None:
    """As ``context.for_each``, in the order of ``names``, but all at once.

    Every thread has an engine of its own, as every process has. The threads end with the
    program, so that ^C does not wait for them; what they were doing is put right by the next
    command, as after any death.
    """
    if len(names) == 1:
        engine = context.engine(ctx)
        context.for_each(names, lambda name: act(engine, name), tolerated=tolerated)
        return
    app = context.app_of(ctx)
    tasks = [_Task(name) for name in names]
    waiting: SimpleQueue[_Task | None] = SimpleQueue()
    for task in tasks:
        waiting.put(task)
    threads = [
        Thread(target=_work, args=(app, waiting, act), daemon=True)
        for _ in range(min(THREADS, len(tasks)))
    ]
    for thread in threads:
        waiting.put(None)
        thread.start()
    results = iter(tasks)
    try:
        context.for_each(names, lambda _: next(results).result(), tolerated=tolerated)
    finally:
        if all(task.is_done for task in tasks):
            for thread in threads:
                thread.join()


def _work(app: context.App, waiting: SimpleQueue[_Task | None], act: Action) -> None:
    task = waiting.get()
    try:
        engine = app.open_engine()
    except BaseException as error:  # noqa: BLE001
        while task is not None:
            task.fail(error)
            task = waiting.get()
        return
    try:
        while task is not None:
            task.run(engine, act)
            task = waiting.get()
    finally:
        engine.close()
