"""Memory, arguments and captured graphs for a bound plan, and one run of it.

A `Context` is what one run needs for itself: a stream, one block of device memory (arena, workspace, and a place for
each input and output that comes from or goes to the CPU), and pinned memory for these. Everything is allocated when it
is made. A run puts copies and kernels into the stream and waits for it once, at its end.

Steps without a CUDA kernel split the run: the device's work up to there is a segment, then the stream is waited for and
the step runs on the CPU. A segment that has run once at the addresses at hand is captured when it comes to run there
again: from then on one call starts it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from itertools import pairwise
from typing import Any

import numpy as np

from ...plan import REORDER, Plan, Step
from ...records import record
from ..cpu.binding import Binding, BoundStep
from .device import ALIGNMENT, Arguments, Graph, Memory, Stream, device, pinned
from .device_array import DeviceArray
from .driver import check, driver
from .kernel import OPERAND_ALIGNMENT, SCRATCH, Launch, Stage, ceil_div
from .lowering import COPY, HOST

__all__ = ["Constants", "Context", "Prepared"]

Array = np.ndarray[Any, Any]
Compute = Callable[[Step, Sequence["Array | None"]], Sequence[Array]]
MAX_GRAPHS = 16  # addresses of inputs and outputs for which a context keeps graphs
Place = tuple[str, int, int]  # "fixed", an address, 0; or "in" or "out", the number of a port, bytes from its start


@record
class Constants:
    """A step's constants in device memory: their addresses by word, and what keeps them there."""

    addresses: Mapping[str, int]
    memory: Memory | None


@record
class Prepared:
    """A bound plan whose constants are on the device; shared by all contexts of that binding. `compute` gives the
    results of a step that has no CUDA kernel, from its operands."""

    plan: Plan
    binding: Binding
    constants: Sequence[Constants]  # by executed step
    compute: Compute


@record(frozen=False)
class _Piece:
    """What one step puts into the stream; `host` is one that runs on the CPU instead."""

    number: int  # of the executed step
    work: list[Callable[[], None]] = field(default_factory=list)
    host: BoundStep | None = None


class Context:
    """Private memory and stream of one run at a time."""

    def __init__(self, prepared: Prepared) -> None:
        device().enter()
        self.prepared = prepared
        self._stream = Stream()
        self._allocate()
        # Where arguments refer to inputs and outputs: (pointers, position, port's number, offset).
        self._ports: dict[str, list[tuple[Array, int, int, int]]] = {"in": [], "out": []}
        self._addresses: dict[str, list[int]] = {"in": [], "out": []}
        self._pieces = [self._piece(number, bound, constants) for number, (bound, constants) in enumerate(
            zip(prepared.binding.steps, prepared.constants, strict=True))]
        self._segments = _segments(self._pieces)
        storage = prepared.binding.storage
        self._copied = [(number, port.buffer) for number, port in enumerate(prepared.plan.outputs)
                        if storage.results.get(storage.locations[port.buffer].root) != number]
        self._seen: dict[Any, list[Graph | None]] = {}  # by addresses, by segment

    # -- building ------------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        plan, binding = self.prepared.plan, self.prepared.binding
        arena = binding.storage.arena.size
        launches = [b.launch for b in binding.steps if b.launch is not None]
        scratch = max((launch.scratch for launch in launches), default=0)
        ports = [_bytes(binding, port.buffer) for port in (*plan.inputs, *plan.outputs)]
        starts = _starts([arena, scratch, *ports])
        self._memory = Memory(starts[-1])
        at = [self._memory.address + start for start in starts]
        self._arena, self._scratch = at[0], at[1]
        count = len(plan.inputs)
        self._own = {"in": at[2:2 + count], "out": at[2 + count:-1]}
        staging = _starts(ports)
        self._pinned = pinned(staging[-1])
        parts = [self._pinned[start:start + size] for start, size in zip(staging, ports, strict=False)]
        self._staging = {"in": parts[:count], "out": parts[count:]}
        used = {b for step in plan.steps for b in (*step.inputs, *step.outputs) if b is not None}
        self._host = pinned(arena if any(plan.buffers[b].layout == HOST for b in used) else 0)

    def _place(self, buffer: int) -> Place:
        """Where a buffer that is no constant lies: on the device, or with the layout HOST in the CPU's memory."""
        storage, plan = self.prepared.binding.storage, self.prepared.plan
        root, offset = storage.locations[buffer].root, storage.locations[buffer].offset
        if root in storage.results:
            return "out", storage.results[root], offset
        if root in storage.arena.offsets:
            start = self._host.ctypes.data if plan.buffers[buffer].layout == HOST else self._arena
            return "fixed", start + storage.arena.offsets[root] + offset, 0
        return "in", next(i for i, port in enumerate(plan.inputs) if port.buffer == root), offset

    def _piece(self, number: int, bound: BoundStep, constants: Constants) -> _Piece:
        launch: Launch | None = bound.launch  # type: ignore[assignment]  # bound by this target's lowerings
        if launch is None:
            return _Piece(number, host=bound)
        if bound.step.kernel == REORDER:
            return _Piece(number, [self._copy(bound)])
        places: dict[str, Place] = {word: ("fixed", address, 0) for word, address in constants.addresses.items()}
        places[SCRATCH] = "fixed", self._scratch, 0
        for word, buffer in [*zip(bound.inputs, bound.step.inputs, strict=False),
                             *zip(bound.outputs, bound.step.outputs, strict=False)]:
            if word is not None and buffer is not None and word not in places:
                places[word] = self._place(buffer)
        return _Piece(number, [self._launch(stage, places) for stage in launch.stages
                               if not _is_in_place(stage, places)])

    def _launch(self, stage: Stage, places: Mapping[str, Place]) -> Callable[[], None]:
        function, stream = device().function(stage), self._stream
        words = [places.get(word, ("fixed", 0, 0)) for word in stage.words or stage.kernel.operands]
        arguments = Arguments([at if kind == "fixed" else 0 for kind, at, _ in words], stage.dims, stage.floats)
        for position, (kind, port, offset) in enumerate(words):
            if kind != "fixed":
                self._ports[kind].append((arguments.pointers, position, port, offset))
        return lambda: stream.launch(function, stage, arguments)

    def _copy(self, bound: BoundStep) -> Callable[[], None]:
        """A copy between memories."""
        (source,), (target,) = bound.step.inputs, bound.step.outputs
        assert source is not None and bound.launch is not None and bound.launch.name == COPY
        size, to_host = _bytes(self.prepared.binding, source), self.prepared.plan.buffers[target].layout == HOST
        start, end, stream = self._place(source), self._place(target), self._stream

        def work() -> None:
            if size:
                move = stream.download if to_host else stream.upload
                move(self._address(end), self._address(start), size)

        return work

    def _address(self, place: Place) -> int:
        kind, at, offset = place
        return at if kind == "fixed" else self._addresses[kind][at] + offset

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, inputs: Sequence[Array | DeviceArray], outputs: Sequence[Array | DeviceArray]) -> None:
        """One inference. `inputs` and `outputs` are C-contiguous arrays of the bound types, in the plan's order; the
        results are written into `outputs`, which are complete when this returns."""
        key = self._bind(inputs, outputs)
        try:
            self._enqueue(key, inputs, outputs)
        except BaseException:  # an interrupt, too: nothing of this run may be under way when the context is used again
            with suppress(Exception):
                self._stream.synchronize()
            raise
        self._stream.synchronize()
        self._deliver(outputs)

    def _enqueue(self, key: Any, inputs: Sequence[Array | DeviceArray], outputs: Sequence[Array | DeviceArray]) -> None:
        """Puts a run into the stream; steps on the CPU are done."""
        graphs = self._seen.get(key)
        first, last = 0, len(self._segments) - 1
        for number, segment in enumerate(self._segments):
            if segment[0].host is not None:
                self._run_host(segment[0].host)
                continue

            def work(segment: list[_Piece] = segment, number: int = number) -> None:
                if number == first:
                    self._upload(inputs)
                for piece in segment:
                    for each in piece.work:
                        each()
                if number == last:
                    self._download(outputs)

            if graphs is None:
                work()
            else:
                graph = graphs[number]
                if graph is None:
                    graph = graphs[number] = self._stream.capture(work)
                self._stream.start(graph)
        if graphs is None:
            if len(self._seen) >= MAX_GRAPHS:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = [None] * len(self._segments)

    def run_each(self, inputs: Sequence[Array | DeviceArray], outputs: Sequence[Array]) -> dict[str, Array]:
        """Like `run`, step by step: what every step computed, by its buffer's name."""
        found: dict[str, Array] = {}

        def after(piece: _Piece) -> None:
            self._stream.synchronize()
            for buffer in self.prepared.binding.steps[piece.number].step.outputs:
                found[self.prepared.plan.buffers[buffer].name] = self._contents(buffer)

        self._run_pieces(inputs, outputs, after)
        return found

    def run_timed(self, inputs: Sequence[Array | DeviceArray], outputs: Sequence[Array]) -> list[tuple[int, int]]:
        """Like `run`; when each executed step began and ended, in nanoseconds, by the device's own clock."""
        cuda = driver()
        events = [check(cuda.cuEventCreate(0), "make an event") for _ in range(len(self._pieces) + 1)]
        numbers = iter(range(1, len(events)))
        self._run_pieces(inputs, outputs, lambda piece: check(
            cuda.cuEventRecord(events[next(numbers)], self._stream.handle), "record an event"),
            lambda: check(cuda.cuEventRecord(events[0], self._stream.handle), "record an event"))
        times = [0]
        for begin, end in pairwise(events):
            times.append(times[-1] + int(1e6 * check(cuda.cuEventElapsedTime(begin, end), "tell a time")))
        for event in events:
            cuda.cuEventDestroy(event)
        return list(pairwise(times))

    def _run_pieces(self, inputs: Sequence[Array | DeviceArray], outputs: Sequence[Array | DeviceArray],
                    after: Callable[[_Piece], Any], before: Callable[[], Any] = lambda: None) -> None:
        self._bind(inputs, outputs)
        self._upload(inputs)
        before()
        for piece in self._pieces:
            if piece.host is not None:
                self._run_host(piece.host)
            for each in piece.work:
                each()
            after(piece)
        self._download(outputs)
        self._stream.synchronize()
        self._deliver(outputs)

    def _bind(self, inputs: Sequence[Array | DeviceArray], outputs: Sequence[Array | DeviceArray]) -> Any:
        """Puts the addresses of inputs and outputs into the arguments, and host arrays into pinned memory; gives what
        decides on the work of a run: those addresses, and the ones that it copies from or to."""
        device().enter()
        for kind, arrays in (("in", inputs), ("out", outputs)):
            self._addresses[kind] = [array.address if isinstance(array, DeviceArray) and _is_aligned(array) else own
                                     for array, own in zip(arrays, self._own[kind], strict=True)]
            for pointers, position, port, offset in self._ports[kind]:
                pointers[position] = self._addresses[kind][port] + offset
        for array, staging in zip(inputs, self._staging["in"], strict=True):
            if not isinstance(array, DeviceArray):
                staging[:] = array.reshape(-1).view(np.uint8)
        copied = [array.address for array in (*inputs, *outputs)
                  if isinstance(array, DeviceArray) and not _is_aligned(array)]
        return tuple(self._addresses["in"]), tuple(self._addresses["out"]), tuple(copied)

    def _upload(self, inputs: Sequence[Array | DeviceArray]) -> None:
        for array, own, staging in zip(inputs, self._own["in"], self._staging["in"], strict=True):
            if not isinstance(array, DeviceArray):
                if staging.nbytes:
                    self._stream.upload(own, staging.ctypes.data, staging.nbytes)
            elif staging.nbytes and not _is_aligned(array):
                self._stream.copy(own, array.address, staging.nbytes)

    def _download(self, outputs: Sequence[Array | DeviceArray]) -> None:
        """Copies outputs that no step writes to their places, and those for the CPU to pinned memory."""
        values = self.prepared.binding.values
        copied = dict(self._copied)
        for number, array in enumerate(outputs):
            buffer, place = copied.get(number), self._addresses["out"][number]
            staging = self._staging["out"][number]
            if buffer in values or not staging.nbytes:
                continue
            source = place if buffer is None else self._address(self._place(buffer))
            if not isinstance(array, DeviceArray):
                self._stream.download(staging.ctypes.data, source, staging.nbytes)
            elif source != array.address:
                self._stream.copy(array.address, source, staging.nbytes)

    def _deliver(self, outputs: Sequence[Array | DeviceArray]) -> None:
        values, copied = self.prepared.binding.values, dict(self._copied)
        for number, array in enumerate(outputs):
            value = values.get(copied.get(number, -1))
            if isinstance(array, DeviceArray):
                if value is not None:
                    array.fill(np.ascontiguousarray(value))
            elif value is not None:
                np.copyto(array, value)
            else:
                array.reshape(-1).view(np.uint8)[:] = self._staging["out"][number]

    def _run_host(self, bound: BoundStep) -> None:
        """A step without a CUDA kernel, on the CPU, once its operands are there."""
        self._stream.synchronize()
        step, values = bound.step, self.prepared.binding.values
        arrays = [None if b is None else values[b] if b in values else self._host_view(b) for b in step.inputs]
        for buffer, result in zip(step.outputs, self.prepared.compute(step, arrays), strict=False):
            np.copyto(self._host_view(buffer), result, casting="same_kind")

    def _host_view(self, buffer: int) -> Array:
        """A buffer of the layout HOST as an array over its own memory."""
        type_ = self.prepared.binding.types[buffer]
        start = self._place(buffer)[1] - self._host.ctypes.data
        return self._host[start:start + _bytes(self.prepared.binding, buffer)].view(type_.dtype.numpy).reshape(
            type_.static_shape)

    def _contents(self, buffer: int) -> Array:
        """A copy of a buffer."""
        if self.prepared.plan.buffers[buffer].layout == HOST:
            return self._host_view(buffer).copy()
        type_ = self.prepared.binding.types[buffer]
        return DeviceArray(self._address(self._place(buffer)), type_.static_shape, type_.dtype.numpy, self).numpy()


def _segments(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """The pieces in order: runs of those for the device, also empty ones at both ends, and those for the CPU alone."""
    found: list[list[_Piece]] = [[_Piece(-1)]]
    for piece in pieces:
        if piece.host is not None:
            found += [[piece], [_Piece(-1)]]
        else:
            found[-1].append(piece)
    return found


def _is_aligned(array: DeviceArray) -> bool:
    """Whether kernels can read or write the array where it lies."""
    return array.address % OPERAND_ALIGNMENT == 0


def _is_in_place(stage: Stage, places: Mapping[str, Place]) -> bool:
    """Whether the part that the stage would copy lies in the whole already."""
    if stage.in_place is None:
        return False
    part, whole, distance = stage.in_place
    if part not in places or whole not in places:
        return False
    (kind, at, offset), (other, start, before) = places[part], places[whole]
    moved = start + distance if other == "fixed" else start
    return kind == other and at == moved and (kind == "fixed" or offset == before + distance)


def _bytes(binding: Binding, buffer: int) -> int:
    type_ = binding.types[buffer]
    return int(np.prod(type_.static_shape, dtype=object)) * type_.dtype.itemsize


def _starts(sizes: Sequence[int]) -> list[int]:
    """Where parts of these sizes begin when they follow each other, aligned, and where the last ends."""
    found = [0]
    for size in sizes:
        found.append(found[-1] + ceil_div(size, ALIGNMENT) * ALIGNMENT)
    return found
