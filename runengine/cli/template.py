"""Go's text/template as Docker users write it in ``--format``.

Fields, maps, ``index``, ``range``, ``if``, ``with``, variables, pipelines, functions, comments and
trim markers. ``define`` and ``template`` are refused by name. Source: Go documentation of
text/template and fmt, and Docker's ``templates`` functions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from runengine.cli import template_nodes as nodes
from runengine.cli.template_nodes import State
from runengine.cli.template_values import TemplateError, not_a_rune

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runengine.cli.template_nodes import Block, Expression, Node

__all__ = ["Template", "TemplateError"]

_COMMENT = re.compile(r"(?s)\{\{(?:-\s)?\s*/\*.*?\*/\s*?(?:(\s-)|)\}\}")
_TOKEN = re.compile(
    r"""(?P<close>\s+-\}\}|\}\})
      |(?P<space>\s+)
      |(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      |(?P<char>'(?:[^'\\\n]|\\.[^']*)')
      |(?P<number>[+-]?(?:0[xXbBoO][0-9a-fA-F_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?))
      |(?P<field>\.[^\W\d]\w*)
      |(?P<variable>\$\w*)
      |(?P<word>[^\W\d]\w*)
      |(?P<mark>:=|[=|(),.])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"} | {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "v": "\v",
}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))")
_LITERALS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_UNSUPPORTED = frozenset(("define", "template", "block"))
_MOST_DIGITS = 400


class Token(NamedTuple):
    """A piece of an action: ``start`` is its place in the template."""

    kind: str
    text: str
    start: int


class Template:
    """A parsed template. Raises TemplateError for what is no template."""

    def __init__(
        self, text: str, functions: Mapping[str, Callable[..., Any]] | None = None
    ) -> None:
        if functions is None:
            from runengine.cli.template_functions import FUNCTIONS

            functions = FUNCTIONS
        try:
            self.block = _Parser(text, functions).whole()
        except RecursionError:
            raise TemplateError("template parsing error: nested too deeply") from None

    def render(self, data: Any) -> str:
        """The text for ``data``. Raises TemplateError when the template does not fit the data."""
        state = State(data)
        try:
            self.block.run(state, data)
        except RecursionError:
            raise TemplateError("template parsing error: nested too deeply") from None
        return "".join(state.out)


class _Parser:
    def __init__(self, source: str, functions: Mapping[str, Callable[..., Any]]) -> None:
        self.source = source
        self.functions = functions
        self.place = 0
        self.tokens: list[Token] = []
        self.variables = ["$"]
        self.ranges = 0

    # --- errors -------------------------------------------------------------------------------

    def fail(self, message: str) -> NoReturn:
        """Raise a parse error with the line that is being read."""
        line = self.source.count("\n", 0, self.place) + 1
        raise TemplateError(f"template parsing error: template: :{line}: {message}")

    def where(self, start: int, end: int, at: int | None = None) -> str:
        """Go's words on the place of a node, for errors at execution."""
        at = start if at is None else at
        line = self.source.count("\n", 0, at) + 1
        column = at - (self.source.rfind("\n", 0, at) + 1)
        return f'template: :{line}:{column}: executing "" at <{self.source[start:end]}>'

    # --- text and actions ---------------------------------------------------------------------

    def whole(self) -> Block:
        """The template to its end."""
        block, stop = self.block()
        if stop:
            self.fail(f"unexpected {{{{{stop}}}}}")
        return block

    def block(self) -> tuple[Block, str]:
        """Nodes up to the ``{{end}}`` or ``{{else}}`` that closes them; '' at the text's end."""
        found: list[Node] = []
        visible = len(self.variables)
        while True:
            text = self.text()
            if text:
                found.append(nodes.Text(text))
            if self.place >= len(self.source):
                del self.variables[visible:]
                return nodes.Block(found), ""
            if self.comment():
                continue
            self.scan()
            word = self.tokens[0]
            if word.kind == "word" and word.text in ("end", "else"):
                self.tokens.pop(0)
                del self.variables[visible:]
                return nodes.Block(found), word.text
            found.append(self.action())

    def text(self) -> str:
        """Literal text up to the next action, trimmed as its markers say."""
        start = self.place
        end = self.source.find("{{", start)
        end = len(self.source) if end < 0 else end
        self.place = end
        text = self.source[start:end]
        if self.source[start - 3 : start] == "-}}" and self.source[start - 4].isspace():
            text = text.lstrip()
        if re.match(r"\{\{-\s", self.source[end : end + 4]):
            text = text.rstrip()
        return text

    def comment(self) -> bool:
        """Skip a comment."""
        found = _COMMENT.match(self.source, self.place)
        if found is None:
            if re.match(r"\{\{(?:-\s)?\s*/\*", self.source[self.place :]):
                self.fail("unclosed comment")
            return False
        self.place = found.end()
        return True

    def scan(self) -> None:
        """Cut the action at ``place`` into tokens."""
        place = self.place + (3 if re.match(r"\{\{-\s", self.source[self.place :]) else 2)
        self.tokens = []
        while True:
            found = _TOKEN.match(self.source, place)
            if found is None:
                self.place = min(place, len(self.source))
                self.bad_token(self.source[place : place + 1])
            kind = found.lastgroup or ""
            self.tokens.append(Token(kind, found.group(), place))
            place = found.end()
            if kind == "close":
                self.place = place
                break
        if self.tokens[0].kind == "space":
            self.tokens.pop(0)

    def bad_token(self, character: str) -> NoReturn:
        """Say why the text here is no token."""
        if not character:
            self.fail("unclosed action")
        if character in "\"'`":
            kind = {'"': "quoted string", "'": "character constant", "`": "raw quoted string"}
            self.fail(f"unterminated {kind[character]}")
        self.fail(f"bad character U+{ord(character):04X} {character!r}")

    # --- one action ---------------------------------------------------------------------------

    def action(self) -> Node:
        """A control structure, a declaration or something to print."""
        word = self.tokens[0]
        if word.kind == "word":
            if word.text in ("if", "with", "range"):
                self.tokens.pop(0)
                return self.control(word.text)
            if word.text in ("break", "continue"):
                self.tokens.pop(0)
                self.closed(word.text)
                if not self.ranges:
                    self.fail(f"{{{{{word.text}}}}} outside {{{{range}}}}")
                return nodes.Jump(word.text)
            if word.text in _UNSUPPORTED:
                self.fail(f"{{{{{word.text}}}}} is not supported")
        names, declares, value = self.pipeline("command")
        if len(names) > 1:
            self.fail("too many declarations in command")
        if names:
            return nodes.Assign(names[0], value, declares=declares)
        return nodes.Print(value)

    def control(self, kind: str) -> Node:
        """``if``, ``with`` or ``range`` up to its ``end``."""
        visible = len(self.variables)
        names, declares, value = self.pipeline(kind)
        if len(names) > (2 if kind == "range" else 1):
            self.fail(f"too many declarations in {kind}")
        self.ranges += kind == "range"
        body, stop = self.block()
        self.ranges -= kind == "range"
        other: Block | None = None
        if stop == "else":
            other = self.otherwise(kind)
        elif stop == "end":
            self.closed("end")
        else:
            self.fail("unexpected EOF")
        del self.variables[visible:]
        make = {"if": nodes.If, "with": nodes.With, "range": nodes.Range}[kind]
        return make(names, value, body, other, declares=declares)

    def otherwise(self, kind: str) -> Block:
        """What follows ``{{else``: another condition of the same kind, or a block."""
        self.skip_space()
        word = self.tokens[0]
        if word.kind == "word" and word.text == kind and kind in ("if", "with"):
            self.tokens.pop(0)
            return nodes.Block([self.control(kind)])
        self.closed("else")
        block, stop = self.block()
        if stop != "end":
            self.fail("expected end; found {{else}}" if stop else "unexpected EOF")
        self.closed("end")
        return block

    def closed(self, word: str) -> None:
        """Nothing may follow ``word`` in its action."""
        self.skip_space()
        if self.tokens[0].kind != "close":
            self.fail(f"unexpected {self.tokens[0].text!r} in {word}")

    def skip_space(self) -> None:
        """Drop white space before the next token."""
        while self.tokens[0].kind == "space":
            self.tokens.pop(0)

    # --- pipelines ----------------------------------------------------------------------------

    def pipeline(self, context: str) -> tuple[list[str], bool, Expression]:
        """Declared names, whether they are new, and the value; reads to the closing braces."""
        names, declares = self.declarations()
        value = self.commands(context)
        if self.tokens[0].kind != "close":
            self.fail(f"unexpected {self.tokens[0].text!r} in {context}")
        if declares:
            self.variables += names
        return names, declares, value

    def declarations(self) -> tuple[list[str], bool]:
        """``$x :=``, ``$x =`` or ``$i, $e :=`` at the start of a pipeline."""
        self.skip_space()
        words = [token for token in self.tokens if token.kind != "space"]
        texts = [token.text for token in words[:4]]
        count = 0
        if words[0].kind == "variable" and len(words) > 1:
            if texts[1] in (":=", "="):
                count = 1
            elif texts[1] == "," and words[2].kind == "variable" and texts[3:] in ([":="], ["="]):
                count = 2
        if not count:
            return [], False
        names = [texts[0], texts[2]][:count]
        mark = words[2 * count - 1]
        del self.tokens[: self.tokens.index(mark) + 1]
        if mark.text == "=":
            for name in names:
                self.known(name)
        return names, mark.text == ":="

    def known(self, name: str) -> None:
        """Refuse a variable that was not declared."""
        if name not in self.variables:
            self.fail(f'undefined variable "{name}"')

    def commands(self, context: str) -> Expression:
        """Commands joined by ``|``, each one's value the last argument of the next."""
        self.skip_space()
        if self.tokens[0].kind == "close" or self.tokens[0].text == ")":
            self.fail(f"missing value for {context}")
        found = [self.command()]
        while self.tokens[0].text == "|":
            self.tokens.pop(0)
            self.skip_space()
            found.append(self.command(piped=True))
        return found[0] if len(found) == 1 else nodes.Pipe(found)

    def command(self, *, piped: bool = False) -> nodes.Command:
        """One operand, or a function or method with its arguments."""
        self.skip_space()
        start = self.tokens[0].start
        operands: list[Expression] = []
        while True:
            head = self.tokens[0]
            if head.kind == "close" or head.text in ("|", ")"):
                break
            operands.append(self.operand())
            if self.tokens[0].kind == "space":
                self.skip_space()
            elif self.tokens[0].kind != "close" and self.tokens[0].text not in ("|", ")"):
                self.fail(f"unexpected {self.tokens[0].text!r} in operand")
        if not operands:
            self.fail("empty command")
        where = self.where(start, self.tokens[0].start)
        first = operands[0]
        if isinstance(first, nodes.Constant) and piped:
            self.fail("non executable command in pipeline")
        return nodes.Command(first, operands[1:], where)

    def operand(self) -> Expression:
        """A term with the fields that follow it directly."""
        start = self.tokens[0].start
        value = self.term()
        chain: list[str] = []
        last = start
        while self.tokens[0].kind == "field":
            last = self.tokens[0].start
            chain.append(self.tokens.pop(0).text[1:])
        if not chain:
            return value
        if isinstance(value, nodes.Constant):
            self.fail(f"unexpected .{chain[0]} after a constant")
        end = self.tokens[0].start
        return nodes.Field(value, chain, self.where(start, end, last))

    def term(self) -> Expression:
        """The first part of an operand."""
        token = self.tokens[0]
        if token.kind == "field":
            return nodes.Dot()
        self.tokens.pop(0)
        if token.kind == "variable":
            self.known(token.text)
            return nodes.Variable(token.text)
        if token.kind == "word":
            return self.word(token)
        if token.text == ".":
            return nodes.Dot()
        if token.text == "(":
            return self.parenthesis()
        if token.kind in ("string", "char", "number"):
            return nodes.Constant(self.literal(token))
        return self.fail(f"unexpected {token.text!r} in operand")

    def word(self, token: Token) -> Expression:
        """``true``, ``false``, ``nil`` or a function's name."""
        if token.text in _LITERALS:
            return nodes.Constant(_LITERALS[token.text])
        function = self.functions.get(token.text)
        if function is None:
            self.fail(f'function "{token.text}" not defined')
        return nodes.Function(token.text, function)

    def parenthesis(self) -> Expression:
        """A pipeline as an operand."""
        value = self.commands("parenthesized pipeline")
        if self.tokens[0].text != ")":
            self.fail("unclosed left paren")
        self.tokens.pop(0)
        return value

    def literal(self, token: Token) -> str | int | float:
        """The value of a string, character or number."""
        text = token.text
        if token.kind == "number":
            return self.number(text)
        if text[0] == "`":
            return text[1:-1]
        value = _ESCAPE.sub(self.unescape, text[1:-1])
        if token.kind == "string":
            return value
        if len(value) != 1:
            self.fail(f"malformed character constant: {text}")
        return ord(value)

    def unescape(self, found: re.Match[str]) -> str:
        """One escape of a Go string."""
        for digits, base in ((found[1], 16), (found[2], 16), (found[3], 16), (found[4], 8)):
            if digits is not None:
                code = int(digits, base)
                return self.fail("escape is out of range") if not_a_rune(code) else chr(code)
        plain = _ESCAPES.get(found[5])
        return self.fail(f"unknown escape {found[0]!r}") if plain is None else plain

    def number(self, text: str) -> int | float:
        """An integer in any of Go's bases, or a float."""
        if len(text) > _MOST_DIGITS:
            self.fail(f"bad number syntax: {text[:40]!r}")
        try:
            if text[:2].lower() == "0x" or not any(c in text for c in ".eE"):
                return int(text, 0)
            value = float(text)
        except ValueError:
            self.fail(f"bad number syntax: {text[:40]!r}")
        if value in (float("inf"), float("-inf")):
            self.fail(f"bad number syntax: {text[:40]!r}")
        return value
