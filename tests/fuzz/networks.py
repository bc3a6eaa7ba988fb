"""Mutants of networks in cnncc's language: parsed, expanded to graphs, formatted, printed and read again."""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Callable

import numpy as np

from cnncc.errors import GraphError

from .network_seeds import SEEDS
from .subject import Subject

Random = np.random.Generator

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\w+(?:\.\w+)*|->|//|[=!<>]=|\s+|.', re.DOTALL)
NUMBERS = (
    "0", "1", "2", "3", "7", "16", "1000", "-1", "2147483648", "9007199254740992", "9223372036854775807",
    "18446744073709551615", "99999999999999999999", "0.5", "1e400", "1e-400", "3x3", "1x1x1", "0x0", "nan", "inf",
    "[1, 2]", "[]", "N", "(1, 2)", "true", "none")
PIECES = (
    "->", "(", ")", "[", "]", "{", "}", ":", ",", "=", "#", '"', "\n", "\n  ", "\n    ", " ", "\t", "-", "+", "*",
    "/", "//", "%", "==", "<", "not ", "and ", "or ", " if true else ", "repeat 3: ", "if true: ", "else: ",
    "for k in ", "network ", "block ", "input ", "output ", "weight ", "const i64[2] ", "of ", "as ", "x", "é",
    "\u2028", "\x00", "\ufeff", "\U0001f600", "\\", "'", ";", "channels(x)", "size(x, 0)", "max(", "-x", "N")
WORDS = (
    "conv", "conv_transpose", "depthwise", "linear", "bn", "layer_norm", "group_norm", "prelu", "maxpool", "avgpool",
    "global_avgpool", "relu6", "concat", "split", "upsample", "softmax", "reshape", "flatten", "Transpose", "Pad",
    "Slice", "Gather", "Expand", "Tile", "TopK", "Range", "ConstantOfShape", "Einsum", "Resize", "ReduceMean", "Cast",
    "Squeeze", "Unsqueeze", "Where", "OneHot", "CumSum", "Shape", "LSTM", "GRU", "NonZero", "MatMul", "LRN", "Clip",
    "DepthToSpace", "SpaceToDepth", "QuantizeLinear", "GridSample", "Trilu", "EyeLike", "MaxUnpool", "RoiAlign",
    "stride", "pad", "same", "group", "dilation", "axis", "axes", "keepdims", "nobias", "mode", "epsilon")


def mutant(rng: Random) -> bytes:
    """A few changes of a text that is a network."""
    text = SEEDS[rng.integers(len(SEEDS))]
    for _ in range(min(int(rng.geometric(0.5)), 8)):
        text = MUTATIONS[rng.integers(len(MUTATIONS))](rng, text)
    return text[:100_000].encode("utf-8", "replace")


def choose(rng: Random, items: tuple[str, ...] | list[str]) -> str:
    return items[rng.integers(len(items))] if items else ""


def often(rng: Random, most: int) -> int:
    """Once or twice, seldom very often: such mutants take long."""
    return most if rng.random() < 0.02 else int(rng.integers(1, 4))


def change_tokens(change: Callable[[Random, list[str], int], None]) -> Callable[[Random, str], str]:
    """A mutation that does something to a list of tokens at one that is no blank."""
    def mutate(rng: Random, text: str) -> str:
        tokens = _TOKEN.findall(text)
        places = [i for i, token in enumerate(tokens) if not token.isspace()]
        if places:
            change(rng, tokens, places[rng.integers(len(places))])
        return "".join(tokens)

    return mutate


def change_lines(change: Callable[[Random, list[str], int], None]) -> Callable[[Random, str], str]:
    def mutate(rng: Random, text: str) -> str:
        lines = text.split("\n")
        change(rng, lines, int(rng.integers(len(lines))))
        return "\n".join(lines)

    return mutate


def other_number(rng: Random, tokens: list[str], at: int) -> None:
    places = [i for i, token in enumerate(tokens) if token[0].isdigit()]
    tokens[places[rng.integers(len(places))] if places else at] = choose(rng, NUMBERS)


def other_word(rng: Random, tokens: list[str], at: int) -> None:
    tokens[at] = choose(rng, WORDS)


def other_token(rng: Random, tokens: list[str], at: int) -> None:
    tokens[at] = choose(rng, tokens)


def insert_piece(rng: Random, tokens: list[str], at: int) -> None:
    tokens.insert(at, choose(rng, PIECES))


def insert_number(rng: Random, tokens: list[str], at: int) -> None:
    tokens.insert(at, f" {choose(rng, NUMBERS)} ")


def remove(rng: Random, tokens: list[str], at: int) -> None:
    del tokens[at:at + int(rng.integers(1, 4))]


def say_again(rng: Random, tokens: list[str], at: int) -> None:
    """Some tokens, a few times or very often."""
    end = at + int(rng.integers(1, 8))
    tokens[at:at] = tokens[at:end] * often(rng, 3000)


def swap(rng: Random, tokens: list[str], at: int) -> None:
    other = int(rng.integers(len(tokens)))
    tokens[at], tokens[other] = tokens[other], tokens[at]


def enclose(rng: Random, tokens: list[str], at: int) -> None:
    left, right = (("(", ")"), ("[", "]"), ("{", "}"), ("concat(x, ", ")"), ("(-", ")"))[rng.integers(5)]
    times = often(rng, 400)
    end = min(at + int(rng.integers(1, 6)), len(tokens))
    tokens[at:end] = [left * times, *tokens[at:end], right * times]


def drop_line(rng: Random, lines: list[str], at: int) -> None:
    del lines[at]


def line_again(rng: Random, lines: list[str], at: int) -> None:
    lines[at:at] = [lines[at]] * often(rng, 100)


def move_line(rng: Random, lines: list[str], at: int) -> None:
    line = lines.pop(at)
    lines.insert(int(rng.integers(len(lines) + 1)), line)


def line_of_another(rng: Random, lines: list[str], at: int) -> None:
    lines.insert(at, choose(rng, choose(rng, SEEDS).split("\n")))


def indent(rng: Random, lines: list[str], at: int) -> None:
    end = at + int(rng.integers(1, 6))
    lines[at:end] = ["  " + line for line in lines[at:end]]


def dedent(rng: Random, lines: list[str], at: int) -> None:
    lines[at] = lines[at].removeprefix("  ")


def put_under(rng: Random, lines: list[str], at: int) -> None:
    """Lines become the body of a loop, a condition or a group."""
    margin = " " * (len(lines[at]) - len(lines[at].lstrip(" ")))
    end = at + int(rng.integers(1, 6))
    head = choose(rng, (f"repeat {often(rng, 10000)} as i:", "repeat 3:", "if true:", "for k in [1, 2, 3]:", "g:", "_:",
                        "l{i}:"))
    lines[at:end] = [margin + head, *("  " + line for line in lines[at:end])]


MUTATIONS: tuple[Callable[[Random, str], str], ...] = (
    *map(change_tokens, (other_number, other_number, other_word, other_token, insert_piece, insert_number, remove,
                         say_again, swap, enclose)),
    *map(change_lines, (drop_line, line_again, move_line, line_of_another, indent, dedent, put_under)),
)


def attempt(data: bytes) -> str:
    """Reads the text; of some, what is written of it is read again: that must change nothing."""
    from cnncc.frontends.dsl import LanguageError, build_network, format_network
    from cnncc.frontends.dsl.formatter import format_text
    from cnncc.ir import format_graph, verify

    text = data.decode()
    try:
        graph = build_network(text, seed=None)
    except LanguageError as error:
        assert error.diagnostics, "an error without a place"
        assert all(d.message and 0 <= d.span.start <= d.span.end <= len(text) + 1 for d in error.diagnostics)
        assert len(str(error)) < 200_000, "a message that nobody reads"
        raise
    verify(graph)
    if zlib.crc32(data) % 4:
        return "read"
    shown = format_graph(graph)
    formatted = format_text(text)
    assert format_text(formatted) == formatted, "formatting it again changes it"
    assert format_graph(build_network(formatted, seed=None)) == shown, "formatting changes what it means"
    try:
        printed = format_network(graph)
    except GraphError:
        return "read again"
    assert format_graph(build_network(printed, seed=None)) == shown, "printed, it means something else"
    return "read again"


def prepare() -> None:
    """What the grammar makes of a line is kept: most lines of mutants are those of their seeds."""
    from cnncc.frontends.dsl import parser

    grammar = parser._grammar()
    grammar.parse = functools.lru_cache(1000)(grammar.parse)  # type: ignore[method-assign]
    for text in SEEDS:
        attempt(text.encode())


SUBJECT = Subject(mutant, attempt, prepare, ".cnn", seconds=20.0)
