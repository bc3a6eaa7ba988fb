"""A plan made ready to run on a GPU: each set of sizes is bound once, and what was bound is kept for the next run."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from ...errors import InputError
from ...ir import TensorType
from ...plan import Plan
from ...records import record
from ..cpu.binding import Binding, BoundStep, constant_operands, first_facts
from ..cpu.limits import Limits
from ..cpu.references import References
from ..cpu.regions import bind_region, last_reads
from ..cpu.runner import MAX_BINDINGS, TimedStep, check_shapes
from .codegen import warm_kernels
from .device import ALIGNMENT, Memory, Stream, device
from .device_array import DeviceArray
from .execution import Constants, Context, Prepared
from .kernel import ceil_div

__all__ = ["Pool", "Runner"]

Array = np.ndarray[Any, Any]
CONTEXTS = 4  # idle ones that are kept: each has memory of its own on the device


@record(frozen=False)
class Pool:
    """A bound plan and idle contexts for it; a run takes one, or makes one where all are busy. `results` are the shapes
    and dtypes of its outputs."""

    prepared: Prepared
    used: int = 0
    _idle: list[Context] = field(default_factory=list)

    def __post_init__(self) -> None:
        types = self.prepared.binding.types
        self.results = [(types[port.buffer].static_shape, types[port.buffer].dtype.numpy)
                        for port in self.prepared.plan.outputs]
        self._idle.append(Context(self.prepared))  # so that the first run allocates nothing

    def take(self) -> Context:
        try:
            return self._idle.pop()  # atomic under the GIL
        except IndexError:
            return Context(self.prepared)

    def give(self, context: Context) -> None:
        if len(self._idle) < CONTEXTS:
            self._idle.append(context)


class Runner:
    """Runs a plan on arrays of its inputs' element types, in its order, in the CPU's or the device's memory. Many
    threads may use one at once.

    `pools` are bound plans by the inputs' shapes. The weights are on the device from the first binding on.
    """

    def __init__(self, plan: Plan, threads: int, owns_weights: bool = False) -> None:
        if plan.is_dynamic:
            raise InputError(f"the plan '{plan.name}' has sizes that depend on data, with which the target cuda cannot "
                             "run: compile the model for the CPU")
        device()
        self.plan, self.threads = plan, threads
        self.released: set[int] = set()
        self.pools: dict[Hashable, Pool] = {}
        self._constants: dict[int, Constants] = {}  # by step: those that depend on no size
        self._references = References(threads)  # on the CPU
        self._lock = threading.Lock()
        self._clock, self._last = itertools.count(1), last_reads(plan)
        if not plan.symbols:
            self._pool({port.buffer: plan.buffers[port.buffer].type for port in plan.inputs},
                       tuple(plan.buffers[port.buffer].type.static_shape for port in plan.inputs))

    def pool(self, inputs: Sequence[Array | DeviceArray]) -> Pool:
        """The bound plan for inputs of these shapes. Raises InputError where they do not fit."""
        shapes = tuple([array.shape for array in inputs])
        found = self.pools.get(shapes)
        if found is None:
            check_shapes(self.plan, inputs)
            found = self._pool({port.buffer: TensorType(self.plan.buffers[port.buffer].type.dtype, shape)
                                for port, shape in zip(self.plan.inputs, shapes, strict=True)}, shapes)
        found.used = next(self._clock)
        return found

    def run(self, inputs: Sequence[Array | DeviceArray]) -> list[Array]:
        """The outputs, as new arrays in the CPU's memory."""
        pool = self.pool(inputs)
        outputs = [np.empty(shape, dtype) for shape, dtype in pool.results]
        self.run_into(inputs, outputs)
        return outputs

    def run_into(self, inputs: Sequence[Array | DeviceArray], outputs: Sequence[Array | DeviceArray]) -> None:
        """Writes the outputs into these arrays."""
        pool = self.pool(inputs)
        context = pool.take()
        try:
            context.run(inputs, outputs)
        finally:
            pool.give(context)

    def run_each(self, inputs: Sequence[Array | DeviceArray]) -> dict[str, Array]:
        """What every step computes, by its buffer's name, and the outputs by theirs."""
        pool = self.pool(inputs)
        outputs = [np.empty(shape, dtype) for shape, dtype in pool.results]
        found = pool.take().run_each(inputs, outputs)
        return found | {port.name: array for port, array in zip(self.plan.outputs, outputs, strict=True)}

    def run_timed(self, inputs: Sequence[Array | DeviceArray]) -> list[TimedStep]:
        """The executed steps with their times."""
        pool = self.pool(inputs)
        outputs = [np.empty(shape, dtype) for shape, dtype in pool.results]
        context = pool.take()
        times = context.run_timed(inputs, outputs)
        pool.give(context)
        binding = pool.prepared.binding
        return [TimedStep(bound, binding.types, *each) for bound, each in zip(binding.steps, times, strict=True)]

    def limits(self) -> tuple[Limits, str]:
        """What the GPU can do at most by what its driver tells, and which it is."""
        model = device().model()
        return Limits(self.threads, model.flops, model.bandwidth), f"{model.name}, by its data sheet"

    # -- binding -------------------------------------------------------------------------------------------------

    def _pool(self, types: Mapping[int, TensorType], key: Hashable) -> Pool:
        with self._lock:
            found = self.pools.get(key)
            if found is None:
                if len(self.pools) >= MAX_BINDINGS:
                    del self.pools[min(self.pools, key=lambda k: self.pools[k].used)]
                binding = bind_region(self.plan, 0, first_facts(self.plan, types), self._last).binding
                warm_kernels(binding, lambda stage, done, total: None)
                prepared = Prepared(self.plan, binding, self._uploaded(binding), self._references.compute)
                found = self.pools[key] = Pool(prepared, next(self._clock))
        return found

    def _uploaded(self, binding: Binding) -> list[Constants]:
        """The constants of every executed step, in device memory; one block for all that are not there yet."""
        device().enter()
        packed = {number: constant_operands(self.plan, binding, bound) for number, bound in enumerate(binding.steps)
                  if id(bound.step) not in self._constants}
        distinct = {id(array): array for words in packed.values() for array in words.values()}
        sizes = {key: ceil_div(array.nbytes, ALIGNMENT) * ALIGNMENT for key, array in distinct.items()}
        memory = Memory(sum(sizes.values()))
        stream, at, addresses = Stream(), memory.address, {}
        for key, array in distinct.items():
            addresses[key] = at
            if array.nbytes:
                stream.upload(at, array.ctypes.data, array.nbytes)
            at += sizes[key]
        stream.synchronize()
        new = {number: Constants({word: addresses[id(array)] for word, array in words.items()}, memory)
               for number, words in packed.items()}
        for number, constants in new.items():
            if self._is_sizeless(binding, binding.steps[number]):
                self._constants[id(binding.steps[number].step)] = constants
        return [new[number] if number in new else self._constants[id(bound.step)]
                for number, bound in enumerate(binding.steps)]

    def _is_sizeless(self, binding: Binding, bound: BoundStep) -> bool:
        """Whether all constants that the step reads are weights, which no size changes."""
        return all(b is None or b in self.plan.weights or b not in binding.values for b in bound.step.inputs)
