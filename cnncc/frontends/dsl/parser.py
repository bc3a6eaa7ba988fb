"""Text to syntax tree. Every logical line is parsed by itself, so that one error does not hide the next."""

from __future__ import annotations

import functools
import json
import re
from importlib import resources
from typing import Any

from lark import Lark, Token, Transformer, Tree, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args
from lark.tree import Meta

from ...records import record
from . import syntax
from .lines import MAX_NAME, LogicalLine, cut
from .source import MAX_ERRORS, Diagnostic, LanguageError, Source, Span

__all__ = ["MAX_DEPTH", "parse", "parse_line"]

MAX_DEPTH = 150  # expressions within expressions

# What a message calls the grammar's tokens.
_CALLED = {
    "NAME": "a name", "STRING": "a quoted name", "INT": "a number", "FLOAT": "a number", "SIZE": "a size like 3x3",
    "COLON": "':'", "COMMA": "','", "EQUAL": "'='", "RPAR": "')'", "LSQB": "'['", "RSQB": "']'", "_OPEN": "'('",
    "_OPEN_CALL": "'('", "__ANON_0": "'->'", "PLUS": "an operator", "MINUS": "an operator", "TIMES": "an operator",
    "COMPARE": "a comparison", "AND": "'and'", "OR": "'or'", "NOT": "'not'", "TRUE": "a truth value",
    "FALSE": "a truth value", "UNARY_MINUS": "a number", "$END": "the end of the line", "TEMPLATE": "a label"}
_OPENS = (syntax.Network, syntax.Block, syntax.Repeat, syntax.Each, syntax.If)


@record
class ParsedLine:
    """A logical line and its tree; None where it has an error."""

    line: LogicalLine
    tree: syntax.Line | None


def parse(source: Source) -> list[syntax.Line]:
    """The networks and blocks of a text. Raises LanguageError with all errors of its lines."""
    errors: list[Diagnostic] = []
    lines, _ = cut(source, errors)
    if errors:
        raise LanguageError(errors)
    parsed = []
    for line in lines:
        parsed.append(ParsedLine(line, parse_line(source, line, errors)))
        if len(errors) >= MAX_ERRORS:
            raise LanguageError(errors)
    top = _nest(source, parsed, errors)
    for found in top:
        if not isinstance(found, (syntax.Network, syntax.Block)):
            errors.append(Diagnostic(source, found.span, "expected a network or a block here",
                                     ("a network begins with a line 'network NAME:', and its body is indented",)))
            break
    if errors:
        raise LanguageError(errors)
    return top


def parse_line(source: Source, line: LogicalLine, errors: list[Diagnostic]) -> syntax.Line | None:
    """The tree of one logical line, without the lines that belong to its body."""
    text = source.text[line.start:line.end]
    try:
        return _ToSyntax(source, line.start).transform(_tree(source, line, text, "line"))
    except UnexpectedInput as error:
        errors.append(_unexpected(source, line, error))
    except LanguageError as error:  # in the expression of a label
        errors += error.diagnostics
    except Exception as error:
        # lark wraps what a callback raises
        cause = getattr(error, "orig_exc", None)
        if not isinstance(cause, LanguageError):
            raise
        errors += cause.diagnostics
    return None


def _tree(source: Source, line: LogicalLine, text: str, start: str) -> Tree[Any]:
    """Lark's tree. Raises LanguageError where it is too deep for what walks along it by recursion."""
    tree = _grammar().parse(text, start=start)
    depth, level = 0, [tree]
    while level and len(text) > MAX_DEPTH:
        depth, level = depth + 1, [child for tree in level for child in tree.children if isinstance(child, Tree)]
        if depth > MAX_DEPTH:
            raise LanguageError([Diagnostic(
                source, Span(line.start, line.end),
                f"an expression is nested too deeply: it may have {MAX_DEPTH} levels, as a sum of as many terms has")])
    return tree


@functools.cache
def _grammar() -> Lark:
    text = resources.files(__package__).joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(text, start=["line", "test"], parser="lalr", propagate_positions=True, maybe_placeholders=True)


def _unexpected(source: Source, line: LogicalLine, error: UnexpectedInput) -> Diagnostic:
    start = line.start + (error.pos_in_stream if error.pos_in_stream is not None and error.pos_in_stream >= 0
                          else line.end - line.start)
    if isinstance(error, UnexpectedCharacters):
        char = source.text[start]
        message = "a quoted name that does not end" if char == '"' else f"'{char}' has no meaning here"
        return Diagnostic(source, Span(start, start + 1), message, _advice(source, line, start, set()))
    assert isinstance(error, UnexpectedToken)
    token = error.token
    if token.type == "$END":
        start, found, end = line.end, "the line ends", line.end + 1
    else:
        found, end = f"found '{token}'", start + len(token)
    expected = set(error.accepts or error.expected)
    called = sorted({_CALLED.get(t, f"'{t.lower()}'") for t in expected}) or ["the end"]
    if not expected & {"NAME", "INT"} or len(called) <= 4:
        wanted = _either(called)
    elif "INT" in expected and "COMMA" not in expected and "$END" not in expected:
        wanted = "a value or a layer"
    else:
        wanted = "the end of the line" if "$END" in expected else "a value"
    return Diagnostic(source, Span(start, end), f"{found}, but {wanted} was expected",
                      _advice(source, line, start, expected))


def _either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _advice(source: Source, line: LogicalLine, at: int, expected: set[str]) -> tuple[str, ...]:
    text = source.text[line.start:line.end]
    if at >= line.end and "COLON" in expected and re.match(r"(network|block|repeat|for|if|elif|else)\b", text):
        return ("a line that opens a body ends in ':'",)
    if source.text[at:at + 1] == "=" and "=" in text:
        return ("an attribute is written 'stride 2', without '='",)
    return ()


def _nest(source: Source, parsed: list[ParsedLine], errors: list[Diagnostic]) -> list[syntax.Line]:
    """Puts lines into the bodies of those above them, by depth; the rest is the top."""
    top: list[syntax.Line] = []
    bodies: list[list[syntax.Line] | None] = [top]  # by depth; None: the line above may have no body
    owner: ParsedLine | None = None
    tails: dict[int, syntax.If] = {}
    for at, one in enumerate(parsed):
        depth = one.line.depth
        if depth >= len(bodies):
            depth = len(bodies) - 1
        del bodies[depth + 1:]
        body = bodies[depth]
        here = Span(one.line.start, one.line.end)
        if body is None:
            if owner is None or owner.tree is not None:
                errors.append(Diagnostic(source, here, "this line is indented, but the line above has no body",
                                         ("a line whose body is indented below it ends in ':'",)))
            body = bodies[depth] = []
        tree = one.tree
        if isinstance(tree, syntax.If) and tree.keyword != "if":
            _chain(source, body, tree, tails, errors)
        elif tree is not None:
            body.append(tree)
        opens = _opens(tree)
        deeper = at + 1 < len(parsed) and parsed[at + 1].line.depth > one.line.depth
        if opens and not deeper:
            errors.append(Diagnostic(source, here, "the lines that belong here are missing",
                                     ("they follow, indented by two blanks",)))
        bodies.append(tree.body if opens else None)  # type: ignore[union-attr]
        owner = one
    return top


def _opens(tree: syntax.Line | None) -> bool:
    """Whether the body of the line is on the lines below."""
    if isinstance(tree, syntax.Statement):
        return tree.pipeline.elements[-1].body is None
    return isinstance(tree, _OPENS) and not tree.body


def _chain(source: Source, body: list[syntax.Line], tree: syntax.If, tails: dict[int, syntax.If],
           errors: list[Diagnostic]) -> None:
    """Adds a branch to the last one of the 'if' above it; `tails` holds that by the identity of the 'if'."""
    first = body[-1] if body else None
    last = tails.get(id(first), first)
    if not isinstance(last, syntax.If) or last.keyword == "else":
        errors.append(Diagnostic(source, tree.span, f"an '{tree.keyword}' without an 'if' above it"))
        body.append(tree)
    else:
        last.following = tails[id(first)] = tree


@v_args(meta=True)
class _ToSyntax(Transformer):
    """Lark's tree of a line to ours; `base` is where the line begins in the source."""

    def __init__(self, source: Source, base: int) -> None:
        super().__init__()
        self.source, self.base = source, base

    def _span(self, meta: Meta | Token) -> Span:
        return Span(self.base + (meta.start_pos or 0), self.base + (meta.end_pos or 0))

    def _name(self, token: Token) -> syntax.Name:
        if len(token) > MAX_NAME:
            raise LanguageError([Diagnostic(self.source, self._span(token),
                                            f"a name of more than {MAX_NAME:,} characters")])
        if token.type == "STRING":
            return syntax.Name(self._span(token), self._unquote(token), True)
        return syntax.Name(self._span(token), str(token))

    def _unquote(self, token: Token) -> str:
        try:
            text = str(json.loads(token))
            text.encode()  # half of a surrogate pair is no character
            return text
        except ValueError as error:
            raise LanguageError([Diagnostic(self.source, self._span(token),
                                            f"a quoted name is written as JSON writes strings: {error}")]) from None

    # -- lines

    def network(self, meta: Meta, parts: list[Any]) -> syntax.Network:
        return syntax.Network(self._span(meta), parts[0], parts[1] or (), brackets=parts[1] is not None)

    def block(self, meta: Meta, parts: list[Any]) -> syntax.Block:
        return syntax.Block(self._span(meta), self._name(parts[0]), parts[1] or (), parts[2] or (),
                            brackets=parts[1] is not None)

    def parameters(self, meta: Meta, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(p for p in parts if p is not None)

    def parameter(self, meta: Meta, parts: list[Any]) -> syntax.Parameter:
        return syntax.Parameter(self._span(meta), self._name(parts[0]), parts[1])

    def input(self, meta: Meta, parts: list[Any]) -> syntax.Input:
        return syntax.Input(self._span(meta), *parts)

    def output(self, meta: Meta, parts: list[Any]) -> syntax.Output:
        return syntax.Output(self._span(meta), *parts)

    def weight(self, meta: Meta, parts: list[Any]) -> syntax.Weight:
        return syntax.Weight(self._span(meta), *parts)

    def repeat(self, meta: Meta, parts: list[Any]) -> syntax.Repeat:
        index = None if parts[1] is None else self._name(parts[1])
        return syntax.Repeat(self._span(meta), parts[0], index, _inline(parts[2]))

    def each(self, meta: Meta, parts: list[Any]) -> syntax.Each:
        return syntax.Each(self._span(meta), parts[0], tuple(parts[1:-1]), _inline(parts[-1]))

    def _branch(self, keyword: str, meta: Meta, condition: Any, body: Any) -> syntax.If:
        return syntax.If(self._span(meta), keyword, condition, _inline(body))

    def elif_(self, meta: Meta, parts: list[Any]) -> syntax.If:
        return self._branch("elif", meta, *parts)

    def if_(self, meta: Meta, parts: list[Any]) -> syntax.If:
        return self._branch("if", meta, *parts)

    def else_(self, meta: Meta, parts: list[Any]) -> syntax.If:
        return self._branch("else", meta, None, parts[0])

    def statement(self, meta: Meta, parts: list[Any]) -> syntax.Statement:
        return syntax.Statement(self._span(meta), parts[0] or (), parts[1])

    # -- pipelines

    def pipeline(self, meta: Meta, parts: list[Any]) -> syntax.Pipeline:
        for element in parts[:-1]:
            if element.body is None:
                raise LanguageError([Diagnostic(self.source, element.span, "a label with nothing after its ':'",
                                                ("only the last step may have its body on the lines below",))])
        return syntax.Pipeline(self._span(meta), tuple(parts))

    def element(self, meta: Meta, parts: list[Any]) -> syntax.Element:
        return syntax.Element(self._span(meta), parts[0], parts[1] if len(parts) > 1 else None)

    def layer(self, meta: Meta, parts: list[Any]) -> syntax.Layer:
        called, arguments = parts[0], tuple(parts[1:])
        if isinstance(called, syntax.Call):
            return syntax.Layer(self._span(meta), called.callee, called.operands, arguments)
        return syntax.Layer(self._span(meta), self._name(called), None, arguments)

    def label(self, meta: Meta, parts: list[Any]) -> syntax.Label:
        (token,) = parts
        if token.type == "STRING":
            return syntax.Label(self._span(meta), (self._unquote(token),), True)
        pieces: list[Any] = []
        for piece in re.finditer(r"\{([^}]*)\}|[^{]+", token):
            if piece.group(1) is None:
                pieces.append(piece.group())
                continue
            start = self.base + token.start_pos + piece.start(1)
            inner = LogicalLine(start, start + len(piece.group(1)), 0)
            try:
                tree = _tree(self.source, inner, piece.group(1), "test")
            except UnexpectedInput as error:
                raise LanguageError([_unexpected(self.source, inner, error)]) from None
            pieces.append(_ToSyntax(self.source, start).transform(tree))
        return syntax.Label(self._span(meta), tuple(pieces))

    # -- expressions

    def choice(self, meta: Meta, parts: list[Any]) -> syntax.Choice:
        return syntax.Choice(self._span(meta), *parts)

    def binary(self, meta: Meta, parts: list[Any]) -> syntax.Binary:
        left, operator, right = parts
        return syntax.Binary(self._span(meta), str(operator), left, right)

    def unary(self, meta: Meta, parts: list[Any]) -> syntax.Unary:
        return syntax.Unary(self._span(meta), str(parts[0]), parts[1])

    def call(self, meta: Meta, parts: list[Any]) -> syntax.Call:
        operands = tuple(p for p in parts[1:] if p is not None)
        return syntax.Call(self._span(meta), self._name(parts[0]), operands)

    def literal(self, meta: Meta, parts: list[Any]) -> Any:
        (token,) = parts
        span = self._span(meta)
        if token.type == "SIZE":
            return syntax.Size(span, tuple(_integer(self.source, span, t) for t in token.split("x")))
        value: int | float | bool = token == "true"
        if token.type == "INT":
            value = _integer(self.source, span, token)
        elif token.type == "FLOAT":
            value = float(token)
        return syntax.Literal(span, value, str(token))

    def items(self, meta: Meta, parts: list[Any]) -> syntax.List:
        return syntax.List(self._span(meta), tuple(p for p in parts if p is not None))

    def row(self, meta: Meta, parts: list[Any]) -> syntax.Tuple:
        return syntax.Tuple(self._span(meta), tuple(parts))

    def parens(self, meta: Meta, parts: list[Any]) -> syntax.Parens:
        return syntax.Parens(self._span(meta), parts[0])

    def constant(self, meta: Meta, parts: list[Any]) -> syntax.Constant:
        return syntax.Constant(self._span(meta), *parts)

    def type(self, meta: Meta, parts: list[Any]) -> syntax.Type:
        return syntax.Type(self._span(meta), self._name(parts[0]), tuple(p for p in parts[1:] if p is not None))

    def name(self, meta: Meta, parts: list[Any]) -> syntax.Name:
        return self._name(parts[0])

    def names(self, meta: Meta, parts: list[Any]) -> tuple[Any, ...]:
        return tuple(parts)


# The grammar's rules bear Python's keywords.
for _keyword in ("if", "elif", "else"):
    setattr(_ToSyntax, _keyword, getattr(_ToSyntax, f"{_keyword}_"))


def _inline(statement: syntax.Line | None) -> list[syntax.Line]:
    return [] if statement is None else [statement]


def _integer(source: Source, span: Span, text: str) -> int:
    if len(text) > 20:
        raise LanguageError([Diagnostic(source, span, "a number of more than 20 digits")])
    return int(text)
