"""Every kernel on every tail: an axis of its operands takes each length up to a little over two vectors, in memory that
ends, and then begins, at a page that nobody may touch.

    python -m tests.runtime.cpu.tails LAST        # LAST is a file for the name of what runs, should it crash

Inputs and weights cannot be written, scratch holds signalling NaN, and what a kernel does not declare to write stays as
it was (guard.py). The cases are those of the operators' own tests and of tests/property, an axis resized; results must
be the reference's, and the same wherever their operands lie.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnncc.errors import CnnccError
from cnncc.ir import Op
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.lowering import Choice
from tests.property.bounds import error_bound, exact
from tests.property.draws import DRAWS, draw
from tests.runtime.cpu import test_cases
from tests.runtime.cpu.lowered import Prepared, Setting, layouts_to_try, prepare, run_lowered

Array = np.ndarray[Any, Any]
Arrays = Sequence[Array | None]
Axes = frozenset[tuple[int, int]]  # (operand, axis) pairs that have one size

CASES_OF_A_KERNEL, AXES_OF_A_CASE = 2, 2
RARE = 10  # runs of a specialisation that make it worth compiling
LANES = native.host_lanes()
LENGTHS = [*range(1, LANES + 2), 2 * LANES + 1]


@dataclass(frozen=True)
class Trial:
    """An operator on arrays of which the axes may have any length; `choice` forces a kernel."""

    kernel: str
    op: Op
    arrays: tuple[Array | None, ...]
    constants: tuple[int, ...]
    layouts: tuple[str, ...]
    choice: Choice | None
    outputs: int
    axes: Axes

    def resized(self, length: int) -> list[Array | None]:
        found = list(self.arrays)
        for i, axis in self.axes:
            array = found[i]
            assert array is not None
            found[i] = np.ascontiguousarray(array.take(np.arange(length) % array.shape[axis], axis))
        return found

    def step(self, arrays: Arrays) -> Prepared | None:
        """None where the operator does not take such sizes, or has another kernel for them."""
        try:
            found = prepare(self.op, arrays, self.constants, list(self.layouts), LANES, self.outputs, self.choice)
        except CnnccError:
            return None
        return found if isinstance(found, Prepared) and found.launch.kernel.name == self.kernel else None


def axes_of(arrays: Arrays) -> Iterator[list[Axes]]:
    """For each axis, last ones and channels first, sets of axes that may be one size of the operator's, from few to
    many: the same axis of operands of one rank, that and vectors, and whatever is as long."""
    places = [(i, axis) for i, a in enumerate(arrays) if a is not None and a.size
              for axis in sorted(range(a.ndim), key=lambda axis: (axis != a.ndim - 1, axis != 1))]
    shapes = {i: a.shape for i, a in enumerate(arrays) if a is not None}
    for i, axis in places:
        alike = [(j, k) for j, k in places if shapes[j][k] == shapes[i][axis]]
        same = [(j, k) for j, k in alike if k == axis and len(shapes[j]) == len(shapes[i])]
        vectors = [(j, k) for j, k in alike if len(shapes[j]) == 1]
        yield [frozenset(found) for found in (same, [*same, *vectors], alike)]


def all_cases() -> Iterator[tuple[Op, Arrays, tuple[int, ...], tuple[str, ...], Choice | None, int]]:
    for case in test_cases.CASES:
        op, arrays, constants, outputs = test_cases.asked(case, case.dtypes[0])
        for layouts in layouts_to_try(arrays, constants):
            yield op, arrays, tuple(constants), tuple(layouts), None, outputs
    for number in range(len(DRAWS)):
        drawn = draw(0, number, LANES)[1]
        layouts = (*drawn.layouts, *["plain"] * len(drawn.arrays))[:len(drawn.arrays)]
        yield drawn.op, drawn.arrays, tuple(drawn.constants), layouts, drawn.choice, 1


def trials() -> list[Trial]:
    found, counts = [], Counter[str]()
    for op, arrays, constants, layouts, choice, outputs in all_cases():
        step = prepare(op, arrays, constants, list(layouts), LANES, outputs, choice)
        if not isinstance(step, Prepared):
            continue
        kernel = step.launch.kernel.name
        if counts[kernel] == CASES_OF_A_KERNEL:
            continue
        counts[kernel] += 1
        seen = set[Axes]()
        for sets in axes_of(arrays):
            made = (Trial(kernel, op, tuple(arrays), constants, layouts, choice, outputs, axes) for axes in sets)
            fits = next((t for t in made if t.step(t.resized(LANES + 1)) is not None), None)
            if fits is not None and fits.axes not in seen and len(seen) < AXES_OF_A_CASE:
                seen.add(fits.axes)
                found.append(fits)
    return found


def run(trial: Trial, arrays: Arrays) -> None:
    with np.errstate(all="ignore"):
        wanted = trial.op.reference(*arrays)[:trial.outputs]
        if trial.choice is not None:  # numbers of a draw may be hostile: only the algorithm's bound holds for them
            wanted = (exact(trial.op, arrays),)
            bound = error_bound(trial.op, arrays, trial.choice, wanted[0])
    results = []
    for at_start in (False, True):
        setting = Setting(LANES, 1, at_start, at_start)
        got = run_lowered(trial.op, arrays, trial.constants, list(trial.layouts), setting, trial.outputs, trial.choice)
        assert isinstance(got, list)
        results.append(got)
    for a, b, want in zip(*results, wanted, strict=False):
        assert a.tobytes() == b.tobytes() or np.isnan(a).any(), "the result depends on where operands lie"
        want = np.asarray(want)
        if trial.choice is not None:
            assert np.all(np.abs(a - want) <= bound), f"{np.nanmax(np.abs(a - want) / bound):.3g} of the bound"
        elif a.dtype.kind == "f":
            size = np.abs(want[np.isfinite(want)].astype(np.float64)).max(initial=0.0)
            np.testing.assert_allclose(a.astype(np.float64), want.astype(np.float64), 2e-2, 2e-3 * max(size, 1e-30))
        else:
            assert np.abs(a.astype(np.float64) - want).max(initial=0) <= (a.dtype.itemsize == 1), "another number"


def main() -> int:
    last, lengths, bad = Path(sys.argv[1]), dict[str, set[int]](), 0
    chosen = trials()
    prepared = [(t, n, arrays) for t in chosen for n in LENGTHS for arrays in [t.resized(n)]]
    steps = [(t, n, arrays, step) for t, n, arrays in prepared if (step := t.step(arrays)) is not None]
    uses = Counter(step.launch.key for *_, step in steps)
    steps = [found for found in steps if uses[found[3].launch.key] >= RARE]
    native.warm(dict.fromkeys(step.launch.key for *_, step in steps))
    for trial, length, arrays, _ in steps:
        name = f"{trial.kernel}: {trial.op} on {[None if a is None else a.shape for a in arrays]}, {trial.layouts}"
        last.write_text(name)
        try:
            run(trial, arrays)
        except CnnccError:
            continue  # the reference refuses indices that the shorter axis does not have
        except Exception as error:
            bad += 1
            print(f"FAILED {name}: {str(error).strip()[:300]}", flush=True)
        lengths.setdefault(trial.kernel, set()).add(length)
    for kernel in sorted(lengths):
        print(f"{kernel}: {len(lengths[kernel])} of {len(LENGTHS)} lengths")
    print(f"{len(steps)} runs at each guard page")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
