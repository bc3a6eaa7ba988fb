"""Syntax tree to Graph: runs the lines of a network, calls its blocks and adds its layers.

After an error in a statement what it would have given is unknown (UNKNOWN), and whatever depends on that is left out in
silence: one run finds all errors that do not follow from another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import Any

from ...errors import CnnccError, GraphError
from ...ir import Graph, TensorType, Value
from ...records import record
from . import syntax
from .builder import Builder
from .evaluator import UNKNOWN, Evaluator, Unknown
from .numbers import describe, truth
from .source import MAX_ERRORS, Diagnostic, LanguageError, Source, Span, did_you_mean
from .weights import Initial, Weights

__all__ = ["MAX_CALLS", "MAX_STEPS", "expand"]

MAX_CALLS = 32  # blocks within blocks
MAX_STEPS = 200_000  # lines run in all
MAX_REPEATS = 10_000
_MAX_REPEATED = 1000  # errors of lines that had one before
_MAX_NOTES = 8


class _Stop(Exception):
    """Expansion cannot go on."""


@record(frozen=False)
class Frame:
    """A network or block that is being run.

    `names` are what its names mean; `current` is what the last statement gave, and what a layer without an input
    reads; `results` are a block's outputs so far; `chain` are the calls that led here, innermost first.
    """

    names: dict[str, Any]
    current: Any = None
    results: list[Any] = field(default_factory=list)
    chain: tuple[str, ...] = ()
    is_network: bool = False


def expand(source: Source, tree: Sequence[syntax.Line], network: syntax.Network, weights: Weights,
           settings: Mapping[str, Any]) -> Graph:
    """The graph of one network of a text. `settings` are values for its parameters. Raises LanguageError."""
    return _Expander(source, tree, weights).run(network, settings)


class _Expander:
    def __init__(self, source: Source, tree: Sequence[syntax.Line], weights: Weights) -> None:
        self.source, self.weights = source, weights
        self.errors: list[Diagnostic] = []
        self.seen: set[tuple[int, int]] = set()
        self.steps = self.repeated = 0
        self.blocks: dict[str, syntax.Block] = {}
        self.tree = tree

    def run(self, network: syntax.Network, settings: Mapping[str, Any]) -> Graph:
        self.builder = Builder(network.name.text, self.weights)
        self.evaluator = Evaluator(self.builder, self.source, self.blocks, self._call_block, self.pipeline)
        frame = Frame({}, is_network=True)
        known = [p.name.text for p in network.parameters]
        for name in settings:
            if name not in known:
                raise GraphError(f"the network '{network.name.text}' has no parameter '{name}'"
                                 f"{did_you_mean(name, known)}")
        try:
            self._find_blocks()
            with self._guard(network.span, frame):
                self._set_parameters(network.parameters, frame, dict(settings), network.span, network.name.text)
            self._body(network.body, frame)
            self._finish(network, frame)
        except _Stop:
            pass
        if self.errors:
            raise LanguageError(self.errors)
        return self.builder.graph

    def _find_blocks(self) -> None:
        for line in self.tree:
            if isinstance(line, syntax.Block):
                if line.name.text in self.blocks:
                    self._add(line.name.span, f"there are two blocks named '{line.name.text}'", ())
                self.blocks[line.name.text] = line

    def _finish(self, network: syntax.Network, frame: Frame) -> None:
        graph = self.builder.graph
        if not graph.outputs and not self.errors:
            if isinstance(frame.current, Value):
                self.builder.output(frame.current, "output")
            else:
                self._add(network.name.span, f"the network '{network.name.text}' computes nothing", ())
        if not graph.inputs and not self.errors:
            self._add(network.name.span, f"the network '{network.name.text}' has no input",
                      ("write one such as 'input image: f32[N,3,224,224]'",))

    # -- errors ------------------------------------------------------------------------------------------------------

    def _add(self, span: Span, message: str, notes: tuple[str, ...]) -> None:
        key = (span.start, span.end)
        if key in self.seen:
            self.repeated += 1
            if self.repeated > _MAX_REPEATED:
                raise _Stop
            return
        self.seen.add(key)
        if len(notes) > _MAX_NOTES:
            notes = (*notes[:_MAX_NOTES - 1], f"and {len(notes) - _MAX_NOTES + 1} calls more")
        self.errors.append(Diagnostic(self.source, span, message, notes))
        if len(self.errors) >= MAX_ERRORS:
            raise _Stop

    @contextmanager
    def _guard(self, span: Span, frame: Frame) -> Iterator[list[bool]]:
        """Collects the errors of a statement; the list given is [True] if it failed."""
        failed: list[bool] = []
        try:
            yield failed
        except Unknown:
            failed.append(True)
        except LanguageError as error:
            failed.append(True)
            for d in error.diagnostics:
                self._add(d.span, d.message, (*d.notes, *frame.chain))
        except CnnccError as error:
            failed.append(True)
            self._add(span, str(error), frame.chain)
        except RecursionError:
            failed.append(True)
            self._add(span, "an expression or a call is nested too deeply", frame.chain)
            raise _Stop from None

    # -- lines -------------------------------------------------------------------------------------------------------

    def _body(self, lines: Sequence[syntax.Line], frame: Frame) -> None:
        for line in lines:
            self.steps += 1
            if self.steps > MAX_STEPS:
                self._add(line.span, f"the text expands to more than {MAX_STEPS:,} lines", frame.chain)
                raise _Stop
            run: Callable[..., None] = self._LINES[type(line)]
            with self._guard(line.span, frame) as failed:
                run(self, line, frame)
            if failed:
                frame.current = UNKNOWN
                for name in _assigned([line]):
                    frame.names[name] = UNKNOWN

    def _misplaced(self, line: syntax.Network | syntax.Block, frame: Frame) -> None:
        raise GraphError("networks and blocks stand at the left margin, not inside others")

    def _input(self, line: syntax.Input, frame: Frame) -> None:
        if not frame.is_network:
            raise GraphError("a block has no input lines; its inputs follow 'of', as in 'block add(n) of x, y:'")
        value = self.builder.input(line.name.text, self._type(line.type, frame))
        frame.names[line.name.text] = frame.current = value

    def _output(self, line: syntax.Output, frame: Frame) -> None:
        name = line.name.text
        if line.value is not None:
            value = self.pipeline(line.value, frame, names=(name,))[0]
        elif name in frame.names:
            value = frame.names[name]
        else:
            raise self._error(line.name.span, f"there is no value '{name}'{did_you_mean(name, frame.names)}",
                              f"the last result is made an output by 'output {name} = LAYER'")
        if value is UNKNOWN:
            raise Unknown
        if not isinstance(value, Value):
            raise self._error(line.name.span, f"an output must be a tensor, not {describe(value)}")
        frame.current = value
        if frame.is_network:
            self.builder.output(value, name)
        else:
            frame.results.append(value)
            frame.names[name] = value

    def _weight(self, line: syntax.Weight, frame: Frame) -> None:
        label = self.evaluator.label(line.label, frame)
        fill = None
        if line.fill is not None:
            number = self.evaluator.number(line.fill, frame)
            fill = Initial("fill", float(number))
        value = self.builder.weight(self.builder.within(label), self._type(line.type, frame), fill)
        frame.names[label] = value

    def _repeat(self, line: syntax.Repeat, frame: Frame) -> None:
        count = self.evaluator.value(line.count, frame)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= MAX_REPEATS:
            raise self._error(line.count.span,
                              f"repeat takes a number from 0 to {MAX_REPEATS:,}, not {describe(count)}")
        for index in range(count):
            if line.index is not None:
                frame.names[line.index.text] = index
            self._body(line.body, frame)

    def _each(self, line: syntax.Each, frame: Frame) -> None:
        items = [self.evaluator.value(item, frame) for item in line.items]
        spans = [item.span for item in line.items]
        if len(items) == 1 and isinstance(items[0], list):
            items, spans = items[0], spans * len(items[0])
        for item, span in zip(items, spans, strict=True):
            values = item if isinstance(item, (list, tuple)) and len(line.names) > 1 else (item,)
            if len(values) != len(line.names):
                raise self._error(span, f"{len(values)} values for the {len(line.names)} names "
                                        f"{', '.join(n.text for n in line.names)}")
            frame.names.update(zip((n.text for n in line.names), values, strict=True))
            self._body(line.body, frame)

    def _if(self, line: syntax.If, frame: Frame) -> None:
        branch: syntax.If | None = line
        while branch is not None:
            if branch.condition is None or truth(self._condition(branch.condition, frame)):
                self._body(branch.body, frame)
                return
            branch = branch.following

    def _condition(self, condition: syntax.Expression, frame: Frame) -> Any:
        try:
            return truth(self.evaluator.value(condition, frame))
        except LanguageError:
            raise
        except CnnccError as error:
            raise self._error(condition.span, str(error)) from None

    def _statement(self, line: syntax.Statement, frame: Frame) -> None:
        names = tuple(t.text for t in line.targets)
        results = self.pipeline(line.pipeline, frame, names=names, body=line.body)
        if names and len(results) != len(names):
            raise self._error(line.span, f"{len(names)} names for {len(results)} results")
        frame.names.update(zip(names, results, strict=False))
        if isinstance(results[0], Value) or results[0] is UNKNOWN:
            frame.current = results[0]
        elif not names:
            raise self._error(line.span, f"this gives {describe(results[0])}, which nothing uses")

    _LINES: Mapping[type, Callable[..., None]] = {
        syntax.Network: _misplaced, syntax.Block: _misplaced, syntax.Input: _input, syntax.Output: _output,
        syntax.Weight: _weight, syntax.Repeat: _repeat, syntax.Each: _each, syntax.If: _if,
        syntax.Statement: _statement}

    def _type(self, type_: syntax.Type, frame: Frame) -> TensorType:
        return self.evaluator.type(type_, frame)

    def _error(self, span: Span, message: str, *notes: str) -> LanguageError:
        return LanguageError([Diagnostic(self.source, span, message, notes)])

    # -- pipelines ---------------------------------------------------------------------------------------------------

    def pipeline(self, pipeline: syntax.Pipeline, frame: Frame, *, names: tuple[str, ...] = (),
                 body: Sequence[syntax.Line] = (), current: Any = None) -> tuple[Any, ...]:
        """What a pipeline gives. The names of a single unlabelled step without a source label that step."""
        before, elements = frame.current, pipeline.elements
        if current is not None:
            frame.current = current
        try:
            results: tuple[Any, ...] = (frame.current,)
            for at, element in enumerate(elements):
                last = at == len(elements) - 1
                results = self._element(element, frame, at > 0, names if last else (), body,
                                        hint=names if len(elements) == 1 else ())
                if not last:
                    frame.current = self.evaluator.known(results[0])
            return results
        finally:
            frame.current = before

    def _element(self, element: syntax.Element, frame: Frame, piped: bool, names: tuple[str, ...],
                 body: Sequence[syntax.Line], hint: tuple[str, ...]) -> tuple[Any, ...]:
        label = None if element.label is None else self.evaluator.label(element.label, frame)
        step = element.body
        if step is None or (isinstance(step, syntax.Parens)
                            and (label is not None or piped or self._holds_layers(step, frame))):
            with self.builder.scope(label):
                if step is not None:
                    return self.pipeline(step.inner, frame)
                before = frame.current
                self._body(body, frame)
                result, frame.current = frame.current, before
                return (result,)
        callee = self.evaluator.callee(step, frame)
        if callee is None:
            if label is not None or piped:
                what = "a label belongs to a layer" if label is not None else "after '->' a layer is expected"
                raise self._error(step.span, f"{what}, but this is {self._found(step, frame)}")
            return (self.evaluator.value(step, frame, name=hint[0] if len(hint) == 1 else None),)
        return self.evaluator.layer(callee, frame, piped, label, names, hint)

    def _holds_layers(self, step: syntax.Parens, frame: Frame) -> bool:
        """Whether brackets as a step are a group of layers, and not an expression."""
        first = step.inner.elements[0]
        return first.label is not None or self.evaluator.callee(first.body, frame) is not None

    def _found(self, step: Any, frame: Frame) -> str:
        value = self.evaluator.value(step, frame)
        return describe(value)

    # -- blocks ------------------------------------------------------------------------------------------------------

    def _call_block(self, block: syntax.Block, inputs: Sequence[Value], given: Mapping[str, Any], label: str | None,
                    frame: Frame, span: Span) -> tuple[Any, ...]:
        name = block.name.text
        if len(frame.chain) >= MAX_CALLS:
            raise self._error(span, f"blocks are called {MAX_CALLS} deep", "does a block call itself without an end?")
        wanted = [n.text for n in block.inputs]
        if len(inputs) != max(1, len(wanted)):
            raise self._error(span, f"the block '{name}' has {max(1, len(wanted))} inputs "
                                    f"({', '.join(wanted) or 'one'}), but is given {len(inputs)}")
        chain = (f"in the block '{name}', called at {self.source.where(span)}", *frame.chain)
        inner = Frame(dict(zip(wanted, inputs, strict=False)), inputs[-1] if inputs else None, chain=chain)
        if len(wanted) < 2:
            inner.current = inputs[0]
        with self.builder.scope(label):
            self._set_parameters(block.parameters, inner, dict(given), span, name)
            self._body(block.body, inner)
        return tuple(inner.results) or (inner.current,)

    def _set_parameters(self, parameters: Sequence[syntax.Parameter], frame: Frame, given: dict[str, Any], span: Span,
                        name: str) -> None:
        for parameter in parameters:
            key = parameter.name.text
            if key in given:
                frame.names[key] = given[key]
            elif parameter.default is not None:
                frame.names[key] = self.evaluator.value(parameter.default, frame)
            else:
                order = ", ".join(p.name.text for p in parameters)
                raise self._error(span, f"'{name}' needs its parameter '{key}'; its parameters are {order}")


def _assigned(lines: Sequence[syntax.Line]) -> Iterator[str]:
    """The names that lines would have given."""
    for line in lines:
        if isinstance(line, syntax.Statement):
            yield from (t.text for t in line.targets)
        elif isinstance(line, syntax.Input):
            yield line.name.text
        elif isinstance(line, syntax.Weight):
            yield "".join(p for p in line.label.parts if isinstance(p, str))
        elif isinstance(line, syntax.If):
            branch: syntax.If | None = line
            while branch is not None:
                yield from _assigned(branch.body)
                branch = branch.following
        if isinstance(line, (syntax.Repeat, syntax.Each, syntax.Statement)):
            yield from _assigned(line.body)

