"""What a parsed template consists of, and how each part runs. Source: Go's text/template/exec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from runengine.cli.template_values import (
    MISSING,
    Bound,
    TemplateError,
    field_of,
    go_type,
    show,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class State:
    """A running template: its output and its variables, innermost last."""

    __slots__ = ("out", "variables")

    def __init__(self, data: Any) -> None:
        self.out: list[str] = []
        self.variables: list[tuple[str, Any]] = [("$", data)]

    def get(self, name: str) -> Any:
        """A variable's value; the parser has checked that it is declared."""
        return next(value for known, value in reversed(self.variables) if known == name)

    def set(self, name: str, value: Any) -> None:
        """Give the innermost variable of that name a new value."""
        for index in range(len(self.variables) - 1, -1, -1):
            if self.variables[index][0] == name:
                self.variables[index] = (name, value)
                return


class Stop(Exception):
    """``{{break}}``."""


class Skip(Exception):
    """``{{continue}}``."""


class Node:
    """A part that writes to the output."""

    def run(self, state: State, dot: Any) -> None:
        """Write this part for ``dot``."""
        raise NotImplementedError


class Expression:
    """A part that has a value; ``args`` are a method's or a function's arguments."""

    def value(self, state: State, dot: Any) -> Any:
        """The value for ``dot``."""
        raise NotImplementedError


def _fail(where: str, message: str) -> NoReturn:
    raise TemplateError(f"template parsing error: {where}: {message}")


class Block(Node):
    """Nodes in order; variables declared among them end with it."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes

    def run(self, state: State, dot: Any) -> None:
        """Run each node."""
        visible = len(state.variables)
        for node in self.nodes:
            node.run(state, dot)
        del state.variables[visible:]


class Text(Node):
    """Literal text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def run(self, state: State, dot: Any) -> None:  # noqa: ARG002
        """Write it."""
        state.out.append(self.text)


class Print(Node):
    """A pipeline whose value is shown."""

    def __init__(self, expression: Expression) -> None:
        self.expression = expression

    def run(self, state: State, dot: Any) -> None:
        """Write the value as Go prints it."""
        state.out.append(show(self.expression.value(state, dot)))


class Assign(Node):
    """``$x := value`` or ``$x = value``."""

    def __init__(self, name: str, expression: Expression, *, declares: bool) -> None:
        self.name, self.expression, self.declares = name, expression, declares

    def run(self, state: State, dot: Any) -> None:
        """Keep the value."""
        _bind(state, self.name, self.expression.value(state, dot), declares=self.declares)


def _bind(state: State, name: str, value: Any, *, declares: bool) -> None:
    if declares:
        state.variables.append((name, value))
    else:
        state.set(name, value)


class Jump(Node):
    """``{{break}}`` or ``{{continue}}``."""

    def __init__(self, word: str) -> None:
        self.exception = Stop if word == "break" else Skip

    def run(self, state: State, dot: Any) -> None:  # noqa: ARG002
        """Leave the round or the loop."""
        raise self.exception


class _Control(Node):
    def __init__(
        self,
        names: list[str],
        expression: Expression,
        body: Block,
        other: Block | None,
        *,
        declares: bool,
    ) -> None:
        self.names, self.expression = names, expression
        self.body, self.other, self.declares = body, other, declares

    def condition(self, state: State, dot: Any) -> Any:
        """The pipeline's value, bound to its variable if it has one."""
        found = self.expression.value(state, dot)
        if self.names:
            _bind(state, self.names[0], found, declares=self.declares)
        return found

    def otherwise(self, state: State, dot: Any) -> None:
        """Run the ``else`` part, if there is one."""
        if self.other is not None:
            self.other.run(state, dot)


class If(_Control):
    """``{{if}}``: dot stays."""

    def run(self, state: State, dot: Any) -> None:
        """Run one of the two blocks."""
        visible = len(state.variables)
        if truth(self.condition(state, dot)):
            self.body.run(state, dot)
        else:
            self.otherwise(state, dot)
        del state.variables[visible:]


class With(_Control):
    """``{{with}}``: dot becomes the value."""

    def run(self, state: State, dot: Any) -> None:
        """Run one of the two blocks."""
        visible = len(state.variables)
        found = self.condition(state, dot)
        if truth(found):
            self.body.run(state, found)
        else:
            self.otherwise(state, dot)
        del state.variables[visible:]


class Range(_Control):
    """``{{range}}``: dot becomes each element; maps go by sorted keys."""

    def run(self, state: State, dot: Any) -> None:
        """Run the body for each element, or the ``else`` part when there is none."""
        found = self.expression.value(state, dot)
        visible = len(state.variables)
        ran = False
        for key, element in self._elements(found):
            ran = True
            del state.variables[visible:]
            self._bind_round(state, key, element)
            try:
                self.body.run(state, element)
            except Skip:
                continue
            except Stop:
                break
        del state.variables[visible:]
        if not ran:
            self.otherwise(state, dot)

    def _bind_round(self, state: State, key: Any, element: Any) -> None:
        values = (element,) if len(self.names) == 1 else (key, element)
        for name, value in zip(self.names, values, strict=False):
            _bind(state, name, value, declares=self.declares)

    def _elements(self, found: Any) -> Iterable[tuple[Any, Any]]:
        if isinstance(found, dict):
            return sorted(found.items(), key=lambda pair: str(pair[0]))
        if isinstance(found, (list, tuple)):
            return enumerate(found)
        if isinstance(found, int) and not isinstance(found, bool):
            return _count(found)
        if found is None or found is MISSING:
            return ()
        where = self.expression.where if isinstance(self.expression, Command) else "template: "
        _fail(where, f"range can't iterate over {show(found)}")


def _count(limit: int) -> Iterator[tuple[int, int]]:
    return ((number, number) for number in range(limit))


class Constant(Expression):
    """A literal."""

    def __init__(self, constant: str | int | float | None) -> None:
        self.constant = constant

    def value(self, state: State, dot: Any) -> Any:  # noqa: ARG002
        """The literal's value."""
        return self.constant


class Dot(Expression):
    """``.``."""

    def value(self, state: State, dot: Any) -> Any:  # noqa: ARG002
        """The current value of dot."""
        return dot


class Variable(Expression):
    """``$name``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def value(self, state: State, dot: Any) -> Any:  # noqa: ARG002
        """The variable's value."""
        return state.get(self.name)


class Field(Expression):
    """``X.a.b``; the last may be a method."""

    def __init__(self, start: Expression, chain: list[str], where: str) -> None:
        self.start, self.chain, self.where = start, chain, where

    def value(self, state: State, dot: Any) -> Any:
        """The field's value, or its method, not yet called."""
        found = self.start.value(state, dot)
        for name in self.chain:
            if isinstance(found, Bound):
                found = found.call([], self.where)
            found = field_of(found, name, self.where)
        return found


class Function(Expression):
    """A function by its name."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.bound = Bound(name, function)

    def value(self, state: State, dot: Any) -> Any:  # noqa: ARG002
        """The function, not yet called."""
        return self.bound


class Command(Expression):
    """An operand, or a call with arguments."""

    def __init__(self, head: Expression, arguments: list[Expression], where: str) -> None:
        self.head, self.arguments, self.where = head, arguments, where

    def value(self, state: State, dot: Any) -> Any:
        """The value, called without a piped argument."""
        return self.piped(state, dot, ())

    def piped(self, state: State, dot: Any, final: tuple[Any, ...]) -> Any:
        """The value; ``final`` holds what the command before it gave, if there was one."""
        if isinstance(self.head, Constant) and self.head.constant is None:
            _fail(self.where, "nil is not a command")
        found = self.head.value(state, dot)
        if isinstance(found, Bound):
            if found.name in ("and", "or"):
                return self._junction(state, dot, final, stop_at=found.name == "or")
            values = [_settled(one.value(state, dot), self.where) for one in self.arguments]
            return found.call([*values, *final], self.where)
        if self.arguments or final:
            _fail(self.where, f"can't give argument to non-function of type {go_type(found)}")
        return found

    def _junction(
        self, state: State, dot: Any, final: tuple[Any, ...], *, stop_at: bool
    ) -> Any:
        """``and`` and ``or`` give the argument that decides and leave the rest alone."""
        if not self.arguments and not final:
            _fail(self.where, "wrong number of args for and, or: want at least 1 got 0")
        found: Any = None
        for argument in self.arguments:
            found = _settled(argument.value(state, dot), self.where)
            if truth(found) is stop_at:
                return found
        return final[0] if final else found


def _settled(value: Any, where: str) -> Any:
    """An argument's value: a method without arguments is called."""
    return value.call([], where) if isinstance(value, Bound) else value


class Pipe(Expression):
    """``a | b``: the value of each is the last argument of the next."""

    def __init__(self, commands: list[Command]) -> None:
        self.commands = commands

    def value(self, state: State, dot: Any) -> Any:
        """The last command's value."""
        found = self.commands[0].value(state, dot)
        for command in self.commands[1:]:
            found = command.piped(state, dot, (found,))
        return found
