"""Memory and step tables for a bound plan, and one run of them.

A `Context` is what one run needs for itself: an arena, scratch memory and a native step table whose words hold
absolute addresses. A context serves one run at a time; a session keeps as many as it has runs at once.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ...costs import cost
from ...plan import Plan, Step
from ...records import record
from . import native
from .binding import Binding, BoundStep
from .executor import RUN, WORK, StepRecord, StepTable
from .kernels.nothing import KERNEL as NOTHING
from .large_pages import empty_bytes
from .lowering import PLAIN, stored_elements
from .worker_pool import PARALLEL_FOR, WORKER

__all__ = ["Context", "Prepared", "warm_kernels"]

Array = np.ndarray[Any, Any]

EXECUTOR_KEYS: frozenset[native.Key] = frozenset(
    (kernel.name, ()) for kernel in (RUN, WORK, PARALLEL_FOR, WORKER, NOTHING))

addressof, byte_of = ctypes.addressof, ctypes.c_char.from_buffer

# Steps that take less than this many nanoseconds are not shared among threads: handing over costs about as much.
SMALL, MACS_A_NANOSECOND, BYTES_A_NANOSECOND = 2000, 60, 20


@record
class Prepared:
    """A bound plan with its constants packed; shared by all contexts of that binding. `compute` gives the results of a
    step that has no native kernel, from its operands."""

    plan: Plan
    binding: Binding
    constants: Sequence[Mapping[str, Array]]  # by executed step, by word
    threads: int
    compute: Callable[[Step, Sequence[Array | None]], Sequence[Array]] = lambda step, arrays: step.op.reference(*arrays)


class Context:
    """Private memory and table of one run at a time."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        storage = prepared.binding.storage
        self._arena = empty_bytes(storage.arena.size)
        self._keep: list[Array] = []  # arrays whose addresses stand in the table
        self._fixed = self._fixed_addresses()
        launches = [b.launch for b in prepared.binding.steps if b.launch is not None]
        stride = -(-max((la.scratch for la in launches), default=0) // 64) * 64
        self._scratch = empty_bytes(stride * prepared.threads)
        # Where the table refers to inputs and outputs of the model: port -> (step, word, offset in bytes).
        self._ports: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
        records, self._segments = self._records()
        self._table = StepTable(records, prepared.threads, self._scratch.ctypes.data, stride)
        self._words = self._table.words.data  # a memoryview: to write a number takes half as long as in an array
        self._port_words = self._find_port_words()
        results, locations = storage.results, storage.locations
        self._copied = [(number, port.buffer) for number, port in enumerate(prepared.plan.outputs)
                        if results.get(locations[port.buffer].root) != number]

    # -- building ------------------------------------------------------------------------------------------------

    def _fixed_addresses(self) -> dict[int, int]:
        """Addresses of the roots that stay where they are: constants, known values and the arena's buffers."""
        storage, values = self.prepared.binding.storage, self.prepared.binding.values
        found = {root: self._arena.ctypes.data + at for root, at in storage.arena.offsets.items()}
        for root in storage.external:
            if root in values:
                array = np.ascontiguousarray(values[root])
                self._keep.append(array)
                found[root] = array.ctypes.data
        return found

    def _records(self) -> tuple[list[StepRecord], list[tuple[int, int, BoundStep | None]]]:
        """The native steps, and the run as segments: a range of native steps, or one step on its reference."""
        records: list[StepRecord] = []
        segments: list[tuple[int, int, BoundStep | None]] = []
        for bound, constants in zip(self.prepared.binding.steps, self.prepared.constants, strict=True):
            if bound.launch is None:
                segments.append((len(records), len(records), bound))
                continue
            addresses = self._addresses(bound, constants, len(records))
            launch = bound.launch
            words = launch.bind(addresses)
            if not segments or segments[-1][2] is not None:
                segments.append((len(records), len(records), None))
            records.append(StepRecord(native.get_kernel(*launch.key), words, launch.tasks, launch.grain,
                                      launch.kernel.place("scratch"), launch.kernel.place("in_scratch"),
                                      launch.tasks == 1 or self._nanoseconds(bound) < SMALL))
            segments[-1] = (segments[-1][0], len(records), None)
        return records, segments

    def _nanoseconds(self, bound: BoundStep) -> float:
        """About what a step takes one thread."""
        types = self.prepared.binding.types
        needs = cost(bound.step.op, [None if n is None else types[n] for n in bound.step.inputs],
                     [types[n] for n in bound.step.outputs])
        return float(int(needs.macs) / MACS_A_NANOSECOND + int(needs.bytes) / BYTES_A_NANOSECOND)  # type: ignore[arg-type]

    def _addresses(self, bound: BoundStep, constants: Mapping[str, Array], number: int) -> dict[str, int]:
        addresses = {word: array.ctypes.data for word, array in constants.items()}
        assert bound.launch is not None
        operands = bound.launch.kernel.operands
        pairs = [*zip(bound.inputs, bound.step.inputs, strict=False),
                 *zip(bound.outputs, bound.step.outputs, strict=False)]
        storage = self.prepared.binding.storage
        for word, buffer in pairs:
            if word is None or buffer is None or word in addresses:
                continue
            location = storage.locations[buffer]
            if location.root in self._fixed:
                addresses[word] = self._fixed[location.root] + location.offset
            else:
                port = ("out", storage.results[location.root]) if location.root in storage.results \
                    else ("in", self._input_port(location.root))
                self._ports.setdefault(port, []).append((number, operands.index(word), location.offset))
        return addresses

    def _input_port(self, root: int) -> int:
        return next(i for i, port in enumerate(self.prepared.plan.inputs) if port.buffer == root)

    def _find_port_words(self) -> list[tuple[int, int, int, list[tuple[int, int]]]]:
        """For each input or output that the table refers to, its number among the inputs and then the outputs, the
        position of a word that is to hold its address and what to add to that, and the same of further words."""
        found = []
        for (kind, port), places in self._ports.items():
            (at, offset), *others = [(int(at), offset) for step, word, offset in places
                                     for at in self._table.positions(step, word)]
            found.append((port + (len(self.prepared.plan.inputs) if kind == "out" else 0), at, offset, others))
        return found

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """One inference. `inputs` and `outputs` are C-contiguous arrays of the bound types, in the plan's order; the
        results are written into `outputs`."""
        self._bind_ports(inputs, outputs)
        for begin, end, bound in self._segments:
            if bound is None:
                self._table.run(begin, end)
            else:
                self._run_reference(bound, inputs, outputs)
        if self._copied:
            self._copy_outputs(inputs, outputs)

    def run_each(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> dict[str, Array]:
        """Like `run`, step by step: what every step computed, in plain layout, by its buffer's name."""
        self._bind_ports(inputs, outputs)
        native_steps = iter(range(sum(b.launch is not None for b in self.prepared.binding.steps)))
        found: dict[str, Array] = {}
        for bound in self.prepared.binding.steps:
            if bound.launch is None:
                self._run_reference(bound, inputs, outputs)
            else:
                number = next(native_steps)
                self._table.run(number, number + 1)
            for buffer in bound.step.outputs:
                found[self.prepared.plan.buffers[buffer].name] = self._contents(buffer, inputs, outputs)
        self._copy_outputs(inputs, outputs)
        return found

    def run_timed(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> list[tuple[int, int]]:
        """Like `run`; when each executed step began and ended, in nanoseconds of a common clock."""
        self._bind_ports(inputs, outputs)
        found: list[tuple[int, int]] = []
        for begin, end, bound in self._segments:
            if bound is None:
                times = self._table.run_timed(begin, end).tolist()
                found += pairwise(times)
            else:
                start = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
                self._run_reference(bound, inputs, outputs)
                found.append((start, time.clock_gettime_ns(time.CLOCK_MONOTONIC)))
        self._copy_outputs(inputs, outputs)
        return found

    def _bind_ports(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        words, arrays = self._words, [*inputs, *outputs]
        for number, at, offset, others in self._port_words:
            array = arrays[number]
            try:  # NumPy's own ways take three times as long
                address = addressof(byte_of(array))  # type: ignore[arg-type]  # an array is a buffer
            except (TypeError, ValueError):  # read-only, or empty
                address = int(array.__array_interface__["data"][0])
            words[at] = address + offset
            for at, offset in others:
                words[at] = address + offset

    def _run_reference(self, bound: BoundStep, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        step: Step = bound.step
        arrays = [None if b is None else self._view(b, inputs, outputs) for b in step.inputs]
        results = self.prepared.compute(step, arrays)
        for buffer, result in zip(step.outputs, results, strict=False):
            np.copyto(self._view(buffer, inputs, outputs), result, casting="same_kind")

    def _copy_outputs(self, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Fills the outputs that no step writes: inputs, constants, and tensors that are given twice."""
        for number, buffer in self._copied:
            np.copyto(outputs[number].reshape(-1), self._raw(buffer, inputs, outputs))

    def _root_bytes(self, root: int, inputs: Sequence[Array], outputs: Sequence[Array]) -> Array:
        storage, values = self.prepared.binding.storage, self.prepared.binding.values
        if root in storage.results:
            return _as_bytes(outputs[storage.results[root]])
        if root in values:
            return _as_bytes(np.ascontiguousarray(values[root]))
        if root in storage.arena.offsets:
            return self._arena[storage.arena.offsets[root]:]
        return _as_bytes(inputs[self._input_port(root)])

    def _raw(self, buffer: int, inputs: Sequence[Array], outputs: Sequence[Array]) -> Array:
        """The buffer's elements as they are stored, flat."""
        binding, plan = self.prepared.binding, self.prepared.plan
        location, type_ = binding.storage.locations[buffer], binding.types[buffer]
        count = stored_elements(type_.static_shape, plan.buffers[buffer].layout, plan.lanes)
        size = count * type_.dtype.itemsize
        data = self._root_bytes(location.root, inputs, outputs)[location.offset:location.offset + size]
        return data.view(type_.dtype.numpy)

    def _view(self, buffer: int, inputs: Sequence[Array], outputs: Sequence[Array]) -> Array:
        """A plain buffer as an array over its own memory."""
        return self._raw(buffer, inputs, outputs).reshape(self.prepared.binding.types[buffer].static_shape)

    def _contents(self, buffer: int, inputs: Sequence[Array], outputs: Sequence[Array]) -> Array:
        """A copy of the buffer in plain layout."""
        plan, shape = self.prepared.plan, self.prepared.binding.types[buffer].static_shape
        raw = self._raw(buffer, inputs, outputs)
        if plan.buffers[buffer].layout == PLAIN:
            return raw.reshape(shape).copy()
        n, c, *spatial = shape
        count = -(-c // plan.lanes)
        blocks = np.moveaxis(raw.reshape(n, count, *spatial, plan.lanes), -1, 2)
        return np.ascontiguousarray(blocks.reshape(n, count * plan.lanes, *spatial)[:, :c])


def _as_bytes(array: Array) -> Array:
    return array.reshape(-1).view(np.uint8)


def warm_kernels(binding: Binding, on_event: Callable[[str, int, int], None]) -> None:
    """Puts every kernel that the bound plan launches, the executor's own, and what sums plan files, into the kernel
    cache."""
    from .kernels import crc32

    keys = {b.launch.key for b in binding.steps if b.launch is not None} | EXECUTOR_KEYS
    if crc32.is_possible():
        keys |= {(crc32.KERNEL.name, ())}
    missing = [key for key in sorted(keys) if not native.is_cached(*key)]
    if missing:
        on_event("compiling kernels for this machine, once", 0, len(missing))
        native.warm(missing, lambda done, total, key: on_event("compiling kernels for this machine, once", done, total))
