"""A plan from a file that may say anything: it is refused, or it runs and keeps to its own memory.

An accepted plan runs step by step in memory between pages that nobody may touch; what it must not write cannot be
written. After each step only the bytes of what it computes may differ, what it read must be what was computed, and its
results are compared with those of the operator's reference for the same operands.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import warnings
import zlib
from typing import Any

import numpy as np

from cnncc import planfile
from cnncc.errors import CnnccError, InputError, OpError, PlanInvalid
from cnncc.ir import Op
from cnncc.plan import Plan
from cnncc.runtime.cpu import execution, native, runner
from cnncc.runtime.cpu.binding import BoundStep
from cnncc.runtime.cpu.execution import Context
from cnncc.runtime.cpu.runner import Runner

from .plan_seeds import seeds

__all__ = ["attempt", "prepare"]

Array = np.ndarray[Any, Any]
PAGE = mmap.PAGESIZE
NOTHING, READ, READ_WRITE = 0, 1, 3
POISON = 0x7FA00000  # a signalling NaN
LIMIT = 64 << 20      # of bytes that a plan may ask for
MOST_TURNS = 50      # of a Loop; a plan that asks for more is harmless, but long
_protect = ctypes.CDLL(None, use_errno=True).mprotect
_protect.argtypes = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
_blocks: list[Array] = []
_slots: list[_Slots] = []
_to_compile = [None] * 20  # a process may compile so many kernels; others must be in the cache, or are not run


class _Slots:
    """Pieces of memory of a few pages each, between pages that nobody may touch; all are given back at once."""

    PAGES, COUNT = 4, 400

    def __init__(self) -> None:
        stride = self.PAGES + 1
        self.map = mmap.mmap(-1, (self.COUNT * stride + 1) * PAGE)
        for number in range(self.COUNT + 1):
            _allow(np.frombuffer(self.map, np.uint8, PAGE, number * stride * PAGE), NOTHING)
        self.next, self.locked = 0, list[Array]()

    def take(self, size: int) -> Array | None:
        """Poisoned bytes at the end of a slot."""
        if size > self.PAGES * PAGE or self.next == self.COUNT:
            return None
        self.next += 1
        whole = self.PAGES * PAGE
        slot = np.frombuffer(self.map, np.uint8, whole, self.next * (whole + PAGE) - whole)
        slot.view(np.uint32)[:] = POISON
        return slot[slot.size - size:]

    def reset(self) -> None:
        for memory in self.locked:
            _allow(memory, READ_WRITE)
        self.next = 0
        self.locked.clear()


def _allow(memory: Array, access: int) -> None:
    """For the pages that hold this memory."""
    begin = memory.ctypes.data // PAGE * PAGE
    end = -(-(memory.ctypes.data + memory.size) // PAGE) * PAGE
    assert _protect(begin, end - begin, access) == 0


def guarded(size: int) -> Array:
    """Bytes that end at a page which nobody may touch, behind another such page; poisoned."""
    found = _slots[0].take(size)
    if found is None:
        pages = -(-max(size, 1) // PAGE)
        memory = np.frombuffer(mmap.mmap(-1, (pages + 2) * PAGE), np.uint8)
        memory.view(np.uint32)[:] = POISON
        _allow(memory[:PAGE], NOTHING)
        _allow(memory[-PAGE:], NOTHING)
        found = memory[(pages + 1) * PAGE - size:(pages + 1) * PAGE]
    return found


def locked(array: Array) -> Array:
    """A copy that cannot be written, with a page behind it that cannot be read."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    copy = guarded(flat.size)
    copy[:] = flat
    _lock(copy)
    return copy.view(array.dtype).reshape(array.shape)


def _lock(memory: Array) -> None:
    if memory.size:
        _allow(memory, READ)
        _slots[0].locked.append(memory)


class _NotCompiled(Exception):
    """A kernel that is not in the cache, when this process has compiled its share."""


def _load(keys: list[native.Key]) -> dict[str, Array]:
    for key in keys:
        if not native.is_cached(*key):
            if not _to_compile:
                raise _NotCompiled
            _to_compile.pop()
        native.get_kernel(*key)
    return {}


def prepare() -> None:
    """Lets plans, arenas, scratch memory and packed constants lie between guard pages; plans may not ask for much."""
    os.environ["CNNCC_MAX_BYTES"] = str(LIMIT)
    _slots.append(_Slots())
    seeds()
    runner._load = _load
    packed = runner.constant_operands

    def block(size: int) -> Array:
        _blocks[:] = [guarded(-(-size // 64) * 64)]
        return _blocks[0][:size]

    planfile._aligned = block
    execution.empty_bytes = lambda size: guarded(-(-size // 64) * 64)
    runner.LEAST_KEPT = LIMIT  # packed constants stay where they are
    runner.constant_operands = lambda *args: {word: locked(array) for word, array in packed(*args).items()}
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")


def attempt(data: bytes) -> str:
    """What came of a plan file; a PlanError may leave it, unless it stands for a mistake."""
    try:
        return _attempt(data)
    except PlanInvalid as error:
        assert error.__cause__ is None, f"refused by accident: {error}"
        raise


def _attempt(data: bytes) -> str:
    _slots[0].reset()
    plan = planfile.parse_plan(data)
    _lock(_blocks[0])
    if not all(map(_ends_soon, plan.walk())):
        return "long"
    try:
        made = Runner(plan, 1)
    except _NotCompiled:
        return "accepted"
    try:
        inputs = _inputs(plan, zlib.crc32(data))
    except InputError:
        return "no inputs fit"
    try:
        pool = made.pool(inputs)
    except _NotCompiled:
        return "accepted"
    except (InputError, OpError):
        if not plan.symbols:
            raise
        return "other sizes fit"
    if plan.is_dynamic:
        try:
            made.run(inputs)
        except CnnccError:
            return "failed"
        except _NotCompiled:
            return "accepted"
        return "ran"
    try:
        return _watch(pool.take(), inputs)
    except _NotCompiled:  # of a body
        return "accepted"


def _ends_soon(plan: Plan) -> bool:
    loops = [step for step in plan.steps if step.op.op_type == "Loop"]
    counts = [None if step.inputs[0] is None else plan.weights.get(step.inputs[0]) for step in loops]
    return all(m is not None and m.item() <= MOST_TURNS for m in counts)


def _inputs(plan: Plan, seed: int) -> list[Array]:
    rng = np.random.default_rng(seed)
    sizes = {s: min(max(3, plan.ranges.get(s, (0, 3))[0]), plan.ranges.get(s, (0, 3))[1]) for s in plan.symbols}
    found = []
    for port in plan.inputs:
        type_ = plan.buffers[port.buffer].type.bind(sizes)
        if any(d < 0 for d in type_.static_shape) or type_.nbytes > 1 << 20:
            raise InputError("no inputs of a small size fit")
        shape, dtype = type_.static_shape, type_.dtype.numpy
        most = 2 if dtype.kind == "b" else 4
        numbers = rng.uniform(-1, 1, shape) if dtype.kind == "f" else rng.integers(0, most, shape)
        found.append(locked(numbers.astype(dtype)))
    return found


def _watch(context: Context, inputs: list[Array]) -> str:
    """Runs a plan step by step and looks at all memory in between."""
    plan, binding = context.prepared.plan, context.prepared.binding
    outputs = [guarded(int(np.prod(shape, dtype=object)) * dtype.itemsize).view(dtype).reshape(shape)
               for shape, dtype in _results(context)]
    context._bind_ports(inputs, outputs)
    computed: dict[int, bytes] = {}
    native, same = 0, True
    for bound in binding.steps:
        operands = [None if b is None else context._contents(b, inputs, outputs) for b in bound.step.inputs]
        for b, operand in zip(bound.step.inputs, operands, strict=True):
            if b in computed:
                assert operand is not None and operand.tobytes() == computed[b], \
                    f"'{plan.buffers[b].name}' was overwritten before step '{bound.step.name}' read it"
        before = [a.tobytes() for a in (context._arena, *outputs)]
        if bound.launch is None:
            try:
                context._run_reference(bound, inputs, outputs)
            except CnnccError:
                return "failed"
        else:
            context._table.run(native, native + 1)
            native += 1
        _check_writes(context, bound, before, outputs)
        results = [context._contents(b, inputs, outputs) for b in bound.step.outputs]
        computed.update((b, r.tobytes()) for b, r in zip(bound.step.outputs, results, strict=True))
        same &= bound.launch is None or _agrees(bound.step.op, operands, results)
    context._copy_outputs(inputs, outputs)
    for port, output in zip(plan.outputs, outputs, strict=True):
        if port.buffer in computed:
            assert output.tobytes() == computed[port.buffer], f"the output '{port.name}' was overwritten"
    assert same, "a result is not the operator's"
    return "ran"


def _results(context: Context) -> list[tuple[tuple[int, ...], np.dtype[Any]]]:
    types = context.prepared.binding.types
    return [(types[port.buffer].static_shape, types[port.buffer].dtype.numpy) for port in context.prepared.plan.outputs]


def _check_writes(context: Context, bound: BoundStep, before: list[bytes], outputs: list[Array]) -> None:
    """Nothing but the step's results may have changed."""
    storage, plan, types = context.prepared.binding.storage, context.prepared.plan, context.prepared.binding.types
    memory = [context._arena, *(a.reshape(-1).view(np.uint8) for a in outputs)]
    allowed = [np.zeros(m.size, bool) for m in memory]
    for b in bound.step.outputs:
        root, at = storage.locations[b].root, storage.locations[b].offset
        count = runner.stored_elements(types[b].static_shape, plan.buffers[b].layout, plan.lanes)
        size = count * types[b].dtype.itemsize
        if root in storage.results:
            allowed[1 + storage.results[root]][at:at + size] = True
        elif root in storage.arena.offsets:
            allowed[0][storage.arena.offsets[root] + at:storage.arena.offsets[root] + at + size] = True
    for now, old, ok in zip(memory, before, allowed, strict=True):
        changed = now != np.frombuffer(old, np.uint8)
        assert not np.any(changed & ~ok), f"step '{bound.step.name}' wrote outside of what it computes"


def _agrees(op: Op, operands: list[Array | None], results: list[Array]) -> bool:
    """Whether the results are about the reference's; also where it refuses operands, or numbers are extreme."""
    try:
        wanted = op.reference(*operands)
    except Exception:
        return True
    scales = [a for a in operands if a is not None and a.dtype.kind == "f"] if "Linear" in op.op_type else []
    if any(0 in scale for scale in scales):  # 0 / 0 has no integer
        return True
    for array in (*operands, *wanted):
        if array is not None and array.dtype.kind == "f" and not np.all(np.abs(array) < 1e4):
            return True
    for got, want in zip(results, wanted, strict=False):
        if got.shape != want.shape:
            return False
        if got.size:
            difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
            if difference.max() > 0.02 * max(1.0, float(np.abs(want).max())) + (want.dtype.kind in "iu"):
                return False
    return True
