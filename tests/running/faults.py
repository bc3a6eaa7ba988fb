"""A run of every small network in which an allocation fails, for each allocation in turn: it ends with MemoryError or
the right result, and the session is as good as before.

    python -m tests.running.faults [STEP]

Every STEP-th allocation of a run that binds new sizes, every one of a run that does not. In a process of its own: a
crash is what this looks for.
"""

from __future__ import annotations

import _testcapi  # type: ignore[import-not-found]  # CPython's own tests
import ctypes
import functools
import sys
from collections.abc import Callable

from cnncc import InferenceSession
from cnncc.runtime.cpu.executor import threading_layer

from .networks import NETWORKS, Network, Results, same
from .numpy_memory import NumpyMemory


def failing_object(k: int, run: Callable[[], Results]) -> Results | None:
    """The results where the k-th allocation of the interpreter fails; None for MemoryError, or what ctypes, NumPy and
    CPython make of it in places."""
    _testcapi.set_nomemory(k, k + 1)
    try:
        return run()
    except (MemoryError, SystemError):
        return None
    except ctypes.ArgumentError as error:
        assert "MemoryError" in str(error)
        return None
    finally:
        _testcapi.remove_mem_hooks()


def failing_array(memory: NumpyMemory) -> Callable[[int, Callable[[], Results]], Results | None]:
    """Likewise for the k-th allocation of an array's elements."""

    def failing(k: int, run: Callable[[], Results]) -> Results | None:
        memory.fail_after(k)
        try:
            return run()
        except MemoryError:
            return None
        finally:
            memory.fail_after(0)

    return failing


def try_all(session: InferenceSession, network: Network, numbers: Callable[[int], int], failing: Callable[..., object],
            step: int) -> tuple[int, int]:
    """How many runs failed, and how many did not although an allocation did; ends when three in a row had too few
    allocations for k."""
    failed = survived = in_a_row = 0
    k = 1
    while in_a_row < 3:
        number = numbers(k)
        feeds = network.feeds(number)
        wanted = InferenceSession(network.plan, threads=1).run(None, feeds)
        got = failing(k, functools.partial(session.run, None, feeds))
        if got is None:
            failed, in_a_row = failed + 1, 0
        else:
            survived, in_a_row = survived + 1, in_a_row + 1
            assert same(got, wanted), f"allocation {k} failed unnoticed, and the result is wrong"
        assert same(session.run(None, feeds), wanted), f"the session is spoilt by the failure of allocation {k}"
        k += step
    return failed, survived - 3


def main() -> int:
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    for kind in ("objects", "arrays"):
        failing = failing_object if kind == "objects" else failing_array(NumpyMemory())
        for name, network in NETWORKS.items():
            # A thread that has no memory to start with hangs in Python's own code.
            session = InferenceSession(network.plan, threads=1)
            again = try_all(session, network, lambda k: 1, failing, 1)
            fresh = try_all(session, network, lambda k: k, failing, step if kind == "objects" else 1)
            print(f"{name:8} {kind:8} {again[0]} runs failed, {again[1]} went on; of new sizes {fresh[0]} and "
                  f"{fresh[1]}", flush=True)
    assert threading_layer().gate[0] == 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
