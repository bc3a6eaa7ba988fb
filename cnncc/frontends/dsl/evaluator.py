"""What expressions mean: numbers, tensors, and layers with their arguments in place."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import CnnccError, OpError
from ...ir import ACTIVATIONS, Activation, DType, TensorType, Value, symbol
from . import syntax
from .builder import Builder, LayerError
from .layers import all_words, find_word
from .numbers import FUNCTIONS, check_list, compute, describe, is_number, negate, truth
from .source import Diagnostic, LanguageError, Source, Span, did_you_mean
from .words import Word, apply_word, bind

if TYPE_CHECKING:
    from .expander import Frame

__all__ = ["MAX_EVALUATED", "UNKNOWN", "Evaluator", "Unknown"]

MAX_EVALUATED = 2_000_000  # expressions, those within others too

UNKNOWN: Any = type("_Unknown", (), {"__repr__": lambda self: "UNKNOWN"})()
_NAMED = {"inf": math.inf, "nan": math.nan, "none": None}


class Unknown(Exception):
    """An expression depends on something that had an error of its own."""


class Evaluator:
    """Evaluates expressions in a Frame; `call_block` and `pipeline` are the expander's."""

    def __init__(self, builder: Builder, source: Source, blocks: Mapping[str, syntax.Block],
                 call_block: Callable[..., tuple[Any, ...]], pipeline: Callable[..., tuple[Any, ...]]) -> None:
        self._builder, self._source, self._blocks = builder, source, blocks
        self._call_block, self._pipeline = call_block, pipeline
        self._evaluated = 0

    def _error(self, span: Span, message: str, *notes: str) -> LanguageError:
        return LanguageError([Diagnostic(self._source, span, message, notes)])

    @staticmethod
    def known(value: Any) -> Any:
        if value is UNKNOWN:
            raise Unknown
        return value

    # -- values ------------------------------------------------------------------------------------------------------

    def value(self, tree: Any, frame: Frame, name: str | None = None) -> Any:
        """The value of an expression: a number, a list, a tensor. `name` is for the constant or sum that it makes."""
        try:
            return self.known(self._value(tree, frame, name))
        except LanguageError:
            raise
        except CnnccError as error:
            raise self._error(tree.span, str(error)) from None

    def _value(self, tree: Any, frame: Frame, name: str | None) -> Any:
        self._spend(1)
        if isinstance(tree, syntax.Name):
            return self._name(tree, frame)
        if isinstance(tree, syntax.Literal):
            return tree.value
        if isinstance(tree, syntax.Size):
            return list(tree.sizes)
        if isinstance(tree, (syntax.List, syntax.Tuple)):
            items = [self.value(item, frame) for item in tree.items]
            self._spend(check_list(items))
            return items if isinstance(tree, syntax.List) else tuple(items)
        if isinstance(tree, syntax.Unary):
            return self._unary(tree, frame)
        if isinstance(tree, syntax.Binary):
            return self._binary(tree, frame, name)
        if isinstance(tree, syntax.Choice):
            chosen = truth(self.value(tree.condition, frame))
            return self.value(tree.value if chosen else tree.other, frame)
        if isinstance(tree, syntax.Constant):
            content = self.value(tree.value, frame)
            return self._constant(tree, content, frame, name)
        if isinstance(tree, syntax.Parens):
            return self._pipeline(tree.inner, frame)[0]
        return self._call(tree, frame)

    def _spend(self, count: int) -> None:
        self._evaluated += count
        if self._evaluated > MAX_EVALUATED:
            raise OpError(f"the text evaluates more than {MAX_EVALUATED:,} expressions")

    def _name(self, tree: syntax.Name, frame: Frame) -> Any:
        if tree.text in frame.names:
            return frame.names[tree.text]
        if tree.quoted:
            raise self._error(tree.span, f"there is no value \"{tree.text}\""
                                         f"{did_you_mean(tree.text, frame.names)}")
        if tree.text in _NAMED:
            return _NAMED[tree.text]
        if tree.text in self._blocks or find_word(tree.text) is not None:
            return self.layer(tree, frame, False, None, (), ())[0]
        raise self._error(tree.span, f"there is nothing named '{tree.text}'"
                                     f"{did_you_mean(tree.text, [*frame.names, *FUNCTIONS, *self._blocks])}")

    def _unary(self, tree: syntax.Unary, frame: Frame) -> Any:
        value = self.value(tree.operand, frame)
        if tree.operator == "not":
            return not truth(value)
        return self._builder.negative(value) if isinstance(value, Value) else negate(value)

    def _binary(self, tree: syntax.Binary, frame: Frame, name: str | None) -> Any:
        left = self.value(tree.left, frame)
        if tree.operator in ("and", "or"):
            if truth(left) == (tree.operator == "or"):
                return left
            return truth(self.value(tree.right, frame))
        right = self.value(tree.right, frame)
        if isinstance(left, Value) or isinstance(right, Value):
            return self._builder.arithmetic(tree.operator, left, right, name)
        if isinstance(left, (list, tuple)):
            self._spend(check_list(left))
        return compute(tree.operator, left, right)

    def _constant(self, tree: syntax.Constant, content: Any, frame: Frame, name: str | None) -> Value:
        type_ = self.type(tree.type, frame)
        value = self._builder.constant(content, type_.dtype, self._builder.within(name or "constant"))
        assert value.constant is not None
        if value.constant.size == 0 and type_.size == 0:
            value.constant = value.constant.reshape(type_.static_shape)
            value.type = type_
            value.known = None if value.known is None else value.constant
        if value.type != type_:
            raise OpError(f"the constant is declared {type_}, but is {value.type}")
        return value

    def _call(self, tree: Any, frame: Frame) -> Any:
        name = tree.callee.text
        if isinstance(tree, syntax.Call) and name in FUNCTIONS:
            function, least, most = FUNCTIONS[name]
            if not least <= len(tree.operands) <= most:
                raise OpError(f"{name} takes {least}{'' if least == most else f' to {most}'} arguments, not "
                              f"{len(tree.operands)}")
            return function(*(self.value(o, frame) for o in tree.operands))
        return self.layer(tree, frame, False, None, (), ())[0]

    def number(self, tree: Any, frame: Frame) -> int | float:
        value = self.value(tree, frame)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self._error(tree.span, f"a number was expected, not {describe(value)}")
        return value

    def type(self, tree: syntax.Type, frame: Frame) -> TensorType:
        """A written type; a name in it that means nothing is a symbolic dimension."""
        known = [d.value for d in DType]
        if tree.dtype.text not in known:
            raise self._error(tree.dtype.span, f"'{tree.dtype.text}' is no element type"
                                               f"{did_you_mean(tree.dtype.text, known)}",
                              f"the element types are {', '.join(known)}")
        return TensorType(DType(tree.dtype.text), tuple(self._dim(d, frame) for d in tree.dims))

    def _dim(self, tree: Any, frame: Frame) -> Any:
        size = self._symbolic(tree, frame)
        if not is_number(size) or isinstance(size, float) or (isinstance(size, int) and size < 0):
            raise self._error(tree.span, f"a dimension is a whole number from 0 on or a symbol, not {describe(size)}")
        return size

    def _symbolic(self, tree: Any, frame: Frame) -> Any:
        """The value of a dimension, in which free names are symbols."""
        if isinstance(tree, syntax.Name) and not isinstance(frame.names.get(tree.text), (int, float, list)):
            return symbol(tree.text)
        if isinstance(tree, syntax.Binary):
            return compute(tree.operator, self._symbolic(tree.left, frame), self._symbolic(tree.right, frame))
        if isinstance(tree, syntax.Unary):
            return negate(self._symbolic(tree.operand, frame))
        if isinstance(tree, syntax.Parens) and len(tree.inner.elements) == 1:
            return self._symbolic(tree.inner.elements[0].body, frame)
        return self.value(tree, frame)

    def label(self, label: syntax.Label, frame: Frame) -> str:
        parts = []
        for part in label.parts:
            value = part if isinstance(part, str) else self.value(part, frame)
            if not isinstance(value, (int, str)) or isinstance(value, bool):
                raise self._error(label.span, f"a label is made of words and whole numbers, not of {describe(value)}")
            parts.append(str(value))
        return "".join(parts)

    # -- layers ------------------------------------------------------------------------------------------------------

    def callee(self, step: Any, frame: Frame) -> Any:
        """The step if it calls a layer or block, else None: it then is an expression."""
        if isinstance(step, syntax.Layer):
            return step
        if isinstance(step, syntax.Call):
            return None if step.callee.text in FUNCTIONS else step
        if isinstance(step, syntax.Name) and not step.quoted and step.text not in frame.names \
                and step.text not in _NAMED:
            return step
        return None

    def layer(self, step: Any, frame: Frame, piped: bool, label: str | None, names: tuple[str, ...],
              hint: tuple[str, ...]) -> tuple[Any, ...]:
        """Adds the layer or calls the block that `step` names. `names` are for its results, `hint` those that label
        it too."""
        callee = step if isinstance(step, syntax.Name) else step.callee
        operands = None if isinstance(step, syntax.Name) else step.operands
        arguments = step.arguments if isinstance(step, syntax.Layer) else ()
        block = self._blocks.get(callee.text)
        word = find_word(callee.text)
        if block is None and word is None:
            raise self._unknown_layer(callee, step, frame)
        given = label if label is not None else (hint[0] if hint else None)
        if block is not None:
            given = label if len(hint) != 1 else given
            parameters = self._bind_block(block, arguments, frame)
            inputs = self._inputs(callee, operands, frame, piped)
            if any(not isinstance(v, Value) for v in inputs):
                raise self._error(callee.span, f"the block '{callee.text}' reads tensors")
            return self._call_block(block, inputs, parameters, given, frame, step.span)
        assert word is not None
        positional, keywords, spans = self._arguments(word, arguments, frame)
        path = self._builder.path(given)
        outputs: Any = 1
        if len(names) > 1 or hint:
            outputs = [self._builder.within(n) for n in names]
        inputs = []
        name = callee.text
        try:
            bound = bind(name, word, positional, keywords)
            inputs = self._inputs(callee, operands, frame, piped)
            return apply_word(self._builder, name, word, inputs, bound, path, outputs)
        except LanguageError:
            raise
        except LayerError as error:
            raise self._error(spans.get(error.argument, step.span), str(error)) from None
        except CnnccError as error:
            shapes = ", ".join("none" if v is None else str(v.type) for v in inputs)
            note = f"{name} '{path}' reads {shapes}"
            raise self._error(step.span, str(error), note) from None

    def _unknown_layer(self, callee: syntax.Name, step: Any, frame: Frame) -> LanguageError:
        text = callee.text
        if text in frame.names:
            return self._error(step.span, f"'{text}' is {describe(frame.names[text])}, not a layer",
                               "a minus between two values has a blank on both sides or on neither")
        words = [*self._blocks, *all_words()]
        if isinstance(step, syntax.Name):
            words += [*frame.names]
        return self._error(callee.span, f"there is no layer, block or value '{text}'{did_you_mean(text, words)}")

    def _inputs(self, callee: syntax.Name, operands: Sequence[Any] | None, frame: Frame,
                piped: bool) -> list[Value | None]:
        found: list[Value | None] = []
        if piped or operands is None:
            if frame.current is None:
                raise self._error(callee.span, f"'{callee.text}' has no input: nothing comes before it",
                                  "begin with an input such as 'input image: f32[N,3,224,224]'")
            current = self.known(frame.current)
            if not isinstance(current, Value):
                raise self._error(callee.span, f"'{callee.text}' reads a tensor, not {describe(current)}")
            found.append(current)
        for tree in operands or ():
            value = self.value(tree, frame)
            if value is not None and not isinstance(value, Value):
                raise self._error(tree.span, f"an operand of '{callee.text}' must be a tensor, not {describe(value)}",
                                  "numbers are given by keyword, or as 'const f32[] 0.5'")
            found.append(value)
        return found

    def _arguments(self, word: Word, arguments: Sequence[Any], frame: Frame
                   ) -> tuple[list[Any], dict[str, Any], dict[int | str | None, Span]]:
        """Positional arguments, those by keyword, and where each stands."""
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        spans: dict[int | str | None, Span] = {}
        filled: set[str] = set()
        trees = iter(arguments)
        for tree in trees:
            missing = [p for p in word.required if p not in filled]
            if self._is_keyword(tree, word.keywords, frame, bool(missing)):
                filled.add(word.keywords[tree.text])
                value = next(trees, None)
                if value is None:
                    raise self._error(tree.span, f"'{tree.text}' has no value: write it '{tree.text} VALUE'")
                if tree.text in keywords:
                    raise self._error(tree.span, f"'{tree.text}' is given twice")
                spans[tree.text] = spans[word.keywords[tree.text]] = Span(tree.span.start, value.span.end)
                keywords[tree.text] = self._argument(value, frame, word.wants_text(word.keywords[tree.text]))
            else:
                spans[len(positional)] = tree.span
                place = next((p for p in word.positional if p not in filled), "")
                filled.add(place)
                spans.setdefault(place, tree.span)
                positional.append(self._argument(tree, frame, word.wants_text(place)))
        return positional, keywords, spans

    @staticmethod
    def _is_keyword(tree: Any, known: Collection[str], frame: Frame, incomplete: bool) -> bool:
        """Whether a name says which parameter the next argument is for. A name that has a value is that value as long
        as a parameter without a default lacks one: `block width stride 2`, `conv width 3x3 stride stride`."""
        return isinstance(tree, syntax.Name) and not tree.quoted and tree.text in known \
            and not (incomplete and tree.text in frame.names)

    def _argument(self, tree: Any, frame: Frame, text: bool) -> Any:
        """An argument's value; a name that means nothing here is the word itself."""
        if isinstance(tree, syntax.Name):
            value = frame.names.get(tree.text)
            if value is None and tree.text in _NAMED and not text:
                return _NAMED[tree.text]
            if tree.text not in frame.names or (text and not isinstance(value, str)):
                return tree.text
        if isinstance(tree, syntax.Call) and text and tree.callee.text in ACTIVATIONS:
            return Activation(tree.callee.text, tuple(self.number(o, frame) for o in tree.operands))
        return self.value(tree, frame)

    def _bind_block(self, block: syntax.Block, arguments: Sequence[Any], frame: Frame) -> dict[str, Any]:
        name, known = block.name.text, [p.name.text for p in block.parameters]
        given: dict[str, Any] = {}
        trees = iter(arguments)
        for tree in trees:
            incomplete = any(p.default is None and p.name.text not in given for p in block.parameters)
            key = None
            if self._is_keyword(tree, known, frame, incomplete):
                key = tree.text
                value = next(trees, None)
                if value is None:
                    raise self._error(tree.span, f"'{key}' has no value: write it '{key} VALUE'")
            else:
                if isinstance(tree, syntax.Name) and tree.text not in frame.names and self._is_near(tree.text, known):
                    raise self._error(tree.span, f"the block '{name}' has no parameter '{tree.text}'"
                                                 f"{did_you_mean(tree.text, known)}")
                value, key = tree, next((p for p in known if p not in given), None)
                if key is None:
                    raise self._error(tree.span, f"the block '{name}' takes {len(known)} parameters: "
                                                 f"{', '.join(known) or 'none'}")
            if key in given:
                raise self._error(tree.span, f"the parameter '{key}' of the block '{name}' is given twice")
            given[key] = self._argument(value, frame, False)
        return given

    @staticmethod
    def _is_near(text: str, known: Sequence[str]) -> bool:
        return bool(difflib.get_close_matches(text, known, n=1, cutoff=0.6))
