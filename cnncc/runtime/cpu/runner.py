"""A plan made ready to run on arrays: each set of sizes is bound once, and what was bound is kept for the next run."""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, PlanInvalid
from ...ir import TensorType, evaluate_dim, solve_dim
from ...parallel import fork_safe_lock, in_parallel
from ...plan import Plan
from ...records import record
from . import native
from .binding import BoundStep, constant_operands, first_facts
from .binding_checks import check_memory
from .execution import Context, Prepared
from .large_pages import LEAST_KEPT, Room
from .lowering import PLAIN, Choice, stored_elements
from .packed_weights import releasable_weights, release_memory
from .references import References
from .regions import Region, bind_region, last_reads, missing_contents, run_step

if TYPE_CHECKING:
    from .limits import Limits

__all__ = ["MAX_BINDINGS", "Pool", "Runner", "TimedStep", "check_shape", "check_shapes"]

Array = np.ndarray[Any, Any]
Way = Callable[[Context, Sequence[Array], Sequence[Array]], Any]  # to run a context: its inputs, its outputs
MAX_BINDINGS = 16  # sizes of inputs whose bindings are kept: those last used
ALONE = 1 << 20    # bytes of weights from which on a second thread is worth starting to pack them
MAX_REGIONS = 64   # of regions that begin within a plan (see regions.py)


@record
class TimedStep:
    """An executed step of one run: when it began and ended, in nanoseconds of a common clock, and the types of all
    buffers then."""

    bound: BoundStep
    types: Sequence[TensorType]
    begin: int
    end: int


@record(frozen=False)
class Pool:
    """A bound region and idle contexts for it; a run takes one, or makes one where all are busy. `results` are the
    shapes and dtypes of its outputs, flat where their layout is not plain."""

    prepared: Prepared
    region: Region
    number: int
    used: int = 0
    _idle: list[Context] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan, types = self.region.plan, self.prepared.binding.types
        self.results = [(_stored_shape(plan, port.buffer, types[port.buffer]), types[port.buffer].dtype.numpy)
                        for port in plan.outputs]

    def take(self) -> Context:
        try:
            return self._idle.pop()  # atomic under the GIL
        except IndexError:
            return Context(self.prepared)

    def give(self, context: Context) -> None:
        if len(self._idle) < self.prepared.threads * 4:
            self._idle.append(context)

    def run(self, inputs: Sequence[Array], how: Way) -> list[Array]:
        """The outputs of the region, as new arrays; `how` is a way to run a context."""
        outputs = [np.empty(shape, dtype) for shape, dtype in self.results]
        context = self.take()
        try:
            how(context, inputs, outputs)
        finally:
            self.give(context)
        return outputs


class Runner:
    """Runs a plan on C-contiguous arrays of its inputs' element types, in its order. Many threads may use one at once.

    `pools` are the regions with which runs begin, by the inputs' shapes. With `owns_weights` nobody else needs the
    contents of the plan's weights: memory of those that were packed, `released`, is given back to the system.
    """

    def __init__(self, plan: Plan, threads: int, owns_weights: bool = False) -> None:
        self.plan, self.threads = plan, threads
        self.released: set[int] = set()
        self._releasable = releasable_weights(plan) if owns_weights else frozenset[int]()
        self.pools: dict[Hashable, Pool] = {}
        self._later: dict[Hashable, Pool] = {}  # regions within the plan, by what is before and what was learned
        self._packed: dict[int, dict[str, Array]] = {}  # by step: constants that depend on no size
        self._room = Room() if sum(w.nbytes for w in plan.weights.values()) >= LEAST_KEPT else None
        self._references = References(threads)
        self._lock = fork_safe_lock()
        self._clock, self._numbers = itertools.count(1), itertools.count()
        self._last, self._is_dynamic = last_reads(plan), plan.is_dynamic
        if not plan.symbols:  # the sizes of the first region are known
            shapes = [plan.buffers[port.buffer].type.static_shape for port in plan.inputs]
            self.pool([np.broadcast_to(np.zeros((), np.bool_), shape) for shape in shapes])

    def pool(self, inputs: Sequence[Array]) -> Pool:
        """The region with which a run on these inputs begins. Raises InputError where their shapes do not fit."""
        shapes = tuple([array.shape for array in inputs])
        found = self.pools.get(shapes)
        if found is None:
            check_shapes(self.plan, inputs)
            types = {port.buffer: TensorType(self.plan.buffers[port.buffer].type.dtype, array.shape)
                     for port, array in zip(self.plan.inputs, inputs, strict=True)}
            found = self._bound(self.pools, MAX_BINDINGS, shapes, lambda: bind_region(
                self.plan, 0, first_facts(self.plan, types), self._last))
        found.used = next(self._clock)
        return found

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs, as new arrays."""
        if self._is_dynamic:
            return self._run(inputs, Context.run)
        return self.pool(inputs).run(inputs, Context.run)

    def run_each(self, inputs: Sequence[Array]) -> dict[str, Array]:
        """What every step computes, in plain layout, by its buffer's name, and the outputs by theirs."""
        found: dict[str, Array] = {}
        outputs = self._run(inputs, lambda *run: found.update(Context.run_each(*run)),
                            lambda pool, bound, results, begin, end: found.update(
                                {self.plan.buffers[b].name: array for b, array in results.items()}))
        return found | {port.name: array for port, array in zip(self.plan.outputs, outputs, strict=True)}

    def run_timed(self, inputs: Sequence[Array]) -> list[TimedStep]:
        """The executed steps with their times."""
        found: list[TimedStep] = []

        def timed(context: Context, inputs: Sequence[Array], outputs: Sequence[Array]) -> None:
            binding = context.prepared.binding
            found.extend(TimedStep(bound, binding.types, *times) for bound, times in zip(
                binding.steps, context.run_timed(inputs, outputs), strict=True))

        self._run(inputs, timed, lambda pool, bound, results, begin, end: found.append(
            TimedStep(bound, pool.prepared.binding.types, begin, end)))
        return found

    def limits(self) -> tuple[Limits, str]:
        """What the machine can do at most, measured, and what machine that is."""
        from .limits import measure_limits

        return measure_limits(self.threads), "this machine"

    # -- from region to region -----------------------------------------------------------------------------------

    def _run(self, inputs: Sequence[Array], how: Way,
             on_step: Callable[[Pool, BoundStep, dict[int, Array], int, int], None] | None = None) -> list[Array]:
        """The outputs. `on_step` is told of each step between regions: the region after it, its results, its times."""
        plan, pool = self.plan, self.pool(inputs)
        held = dict(zip((port.buffer for port in plan.inputs), inputs, strict=True))
        while True:
            region = pool.region
            outputs = pool.run([held[port.buffer] for port in region.plan.inputs], how)
            if region.plan is plan:
                return outputs
            held.update(zip((port.buffer for port in region.plan.outputs), outputs, strict=True))
            if region.end == len(plan.steps):
                break
            pool = self._next(pool, held, on_step)
        return self._outputs(held, pool.region.facts.values, set(map(id, inputs)))

    def _next(self, pool: Pool, held: dict[int, Array], on_step: Any) -> Pool:
        """The region after this one; what the step before it computes is added to what is held."""
        region, step = pool.region, self.plan.steps[pool.region.end]
        missing = missing_contents(step, region.facts)
        if missing:
            contents = {b: self._plain(b, held) for b in missing}
            learned: Hashable = tuple([array.tobytes() for array in contents.values()])

            def bind() -> Region:
                facts = region.facts.copy()
                facts.contents.update({b: array.copy() for b, array in contents.items()})
                return bind_region(self.plan, region.end, facts, self._last)
        else:
            arrays = [None if b is None else region.facts.values[b] if b in region.facts.values
                      else self._plain(b, held) for b in step.inputs]
            begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            results = run_step(self.plan, step, arrays, self._references.compute)
            end = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            held.update(results)
            learned = tuple([array.shape for array in results.values()])

            def bind() -> Region:
                facts = region.facts.copy()
                facts.types.update({b: TensorType(self.plan.buffers[b].type.dtype, array.shape)
                                    for b, array in results.items()})
                return bind_region(self.plan, region.end + 1, facts, self._last)

        following = self._bound(self._later, MAX_REGIONS, (pool.number, learned), bind)
        following.used = next(self._clock)
        if not missing and on_step is not None:
            on_step(following, BoundStep(step, None, Choice(step.kernel)), results, begin, end)
        return following

    def _plain(self, buffer: int, held: Mapping[int, Array]) -> Array:
        if self.plan.buffers[buffer].layout != PLAIN:
            raise PlanInvalid(f"the buffer '{self.plan.buffers[buffer].name}' decides on sizes, so it must be plain")
        return held[buffer]

    def _outputs(self, held: Mapping[int, Array], values: Mapping[int, Array], taken: set[int]) -> list[Array]:
        """The plan's outputs, each an array of its own."""
        found = []
        for port in self.plan.outputs:
            array = values[port.buffer] if port.buffer in values else held[port.buffer]
            found.append(array.copy() if port.buffer in values or id(array) in taken else array)
            taken.add(id(array))
        return found

    # -- binding -------------------------------------------------------------------------------------------------

    def _bound(self, pools: dict[Hashable, Pool], most: int, key: Hashable, bind: Callable[[], Region]) -> Pool:
        """The pool kept under `key`, made where there is none; beyond `most`, the one not used for longest goes."""
        found = pools.get(key)
        if found is None:
            with self._lock:
                found = pools.get(key)
                if found is None:
                    if len(pools) >= most:
                        del pools[min(pools, key=lambda k: pools[k].used)]
                    found = pools[key] = self._prepared(bind())
        return found

    def _prepared(self, region: Region) -> Pool:
        check_memory(region.plan, region.binding, self.threads)
        keys = sorted({bound.launch.key for bound in region.binding.steps if bound.launch is not None})
        jobs: list[Callable[[], Mapping[str, Array]]] = [functools.partial(_load, keys)]
        jobs += [functools.partial(self._constants, region, bound) for bound in region.binding.steps]
        constants = in_parallel(jobs, 1 if region.plan.weight_bytes < ALONE else self.threads)[1:]
        prepared = Prepared(region.plan, region.binding, constants, self.threads, self._references.compute)
        return Pool(prepared, region, next(self._numbers), next(self._clock))

    def _constants(self, region: Region, bound: BoundStep) -> Mapping[str, Array]:
        """The packed constants of a step, by word."""
        words = self._packed.get(id(bound.step))
        if words is None:
            words = constant_operands(region.plan, region.binding, bound)
            weights, values = self.plan.weights, region.binding.values
            if all(b is None or b in weights or b not in values for b in bound.step.inputs):
                if self._room is not None:
                    words = self._room.keep(words)
                self._packed[id(bound.step)] = words
            for number in self._releasable.intersection(b for b in bound.step.inputs if b is not None):
                weight = self.plan.weights[number]
                if bound.launch is not None and not any(np.may_share_memory(weight, w) for w in words.values()):
                    release_memory(weight)
                    self.released.add(number)
        return words


def _load(keys: Sequence[native.Key]) -> Mapping[str, Array]:
    """Loads kernels, which the first run would do otherwise."""
    for key in keys:
        native.get_kernel(*key)
    return {}


def check_shapes(plan: Plan, inputs: Sequence[Any]) -> None:
    """Raises InputError unless the shapes fit the inputs' types with one size for each symbolic dimension."""
    ports = [(port.name, plan.buffers[port.buffer].type) for port in plan.inputs]
    for array, (name, type_) in zip(inputs, ports, strict=True):
        check_shape(name, array.shape, type_)
    sizes: dict[str, int] = {}
    for array, (name, type_) in zip(inputs, ports, strict=True):
        for axis, (d, size) in enumerate(zip(type_.shape, array.shape, strict=True)):
            symbol, value = solve_dim(d, size) or ("", 0)
            if symbol and sizes.setdefault(symbol, value) != value:
                raise InputError(f"the dimension {symbol} is {sizes[symbol]} in one input, but {value} on axis "
                                 f"{axis} of the input '{name}': they must be equal")
    for symbol, (low, high) in plan.ranges.items():
        if symbol in sizes and not low <= sizes[symbol] <= high:
            raise InputError(f"the dimension {symbol} is {sizes[symbol]}, but the plan was compiled for sizes from "
                             f"{low} to {high}: compile the model with other limits")
    for array, (name, type_) in zip(inputs, ports, strict=True):
        for axis, (d, size) in enumerate(zip(type_.shape, array.shape, strict=True)):
            if evaluate_dim(d, sizes) != size:
                wanted = " = ".join(dict.fromkeys([str(d), str(evaluate_dim(d, sizes))]))
                raise InputError(f"axis {axis} of the input '{name}' must be {wanted}, but is {size}")


def check_shape(name: str, shape: tuple[int, ...], type_: TensorType) -> None:
    """Raises InputError where the shape of the input `name` does not fit its type, which may be symbolic."""
    fits = len(shape) == type_.rank and all(
        not isinstance(want, int) or want == size for want, size in zip(type_.shape, shape, strict=True))
    if not fits:
        wanted = ",".join(map(str, type_.shape))
        raise InputError(f"the input '{name}' must have the shape [{wanted}], but has "
                         f"[{','.join(map(str, shape))}]")


def _stored_shape(plan: Plan, buffer: int, type_: TensorType) -> tuple[int, ...]:
    layout, shape = plan.buffers[buffer].layout, type_.static_shape
    return shape if layout == PLAIN else (stored_elements(shape, layout, plan.lanes),)
