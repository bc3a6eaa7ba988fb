"""Steps without a native kernel: on the reference of their operator, or where it has bodies, as plans of their own."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import CnnccError, InputError
from ...plan import BODY, Step

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["References"]

Array = np.ndarray[Any, Any]


class References:
    """Computes such steps of one plan. It does not know what runs the plan itself: whose memory is given back with its
    last use then, not when Python looks for cycles."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._runners: dict[int, dict[str, Runner]] = {}  # of bodies, by step

    def compute(self, step: Step, arrays: Sequence[Array | None]) -> Sequence[Array]:
        """The results of a step. Raises InputError where the operator cannot compute these data."""
        with _naming(step):
            return step.op.reference(*arrays) if step.kernel != BODY else self._run_bodies(step, arrays)

    def _run_bodies(self, step: Step, arrays: Sequence[Array | None]) -> Sequence[Array]:
        runners = self._runners.get(id(step))
        if runners is None:
            from .runner import Runner

            made = {name: Runner(body, self._threads) for name, body in step.op.bodies.items()}
            runners = self._runners.setdefault(id(step), made)
        op: Any = step.op
        results: Sequence[Array] = op.run(
            lambda name, inputs: runners[name].run([_dense(array) for array in inputs]), *arrays)
        return results


@contextmanager
def _naming(step: Step) -> Iterator[None]:
    """Within, errors of what computes the step in Python name it; whatever the operator raises is an InputError."""
    where = f"step '{step.name}' ({step.op.op_type})"
    try:
        yield
    except CnnccError as error:
        raise type(error)(f"{where}: {error}") from None
    except (MemoryError, SystemError, ctypes.ArgumentError):  # what NumPy and ctypes make of the first in places
        raise
    except Exception as error:
        raise InputError(f"{where} cannot compute what it is given ({error or type(error).__name__}): look at the "
                         "contents of the inputs") from error


def _dense(array: Array) -> Array:
    """The array in C order."""
    return array if array.flags.c_contiguous and array.flags.aligned else np.require(array, requirements=("C", "A"))
