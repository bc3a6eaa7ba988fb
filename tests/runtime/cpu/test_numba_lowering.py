"""What Python's integers and loops are compiled to, against Python itself."""

import ctypes

import pytest

from cnncc.runtime.cpu import codegen
from cnncc.runtime.cpu.kernel import Kernel

LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
NUMBERS = (0, 1, 2, 3, 7, 8, 9, 255, HIGHEST, LOWEST, -1, -2, -3, -7, -8, -9, -256)


def compiled(name: str, build):
    data = codegen.compile_object(Kernel(name, (), (), build), (), f"test_{name}")
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(codegen.load_object(data, f"test_{name}"))


def build_division():
    from cnncc.runtime.cpu.memory_access import store_i64

    def division(at, x, y):
        store_i64(at, x // y)
        store_i64(at + 8, x % y)

    return division


def build_constant_division(divisor: int):
    from cnncc.runtime.cpu.memory_access import store_i64

    def division(at, x, y):
        store_i64(at, x // divisor)
        store_i64(at + 8, x % divisor)

    return division


def build_loops():
    from cnncc.runtime.cpu.memory_access import store_i64

    def loops(at, start, stop):
        for step in range(-3, 4):
            if step != 0:
                for i in range(start, stop, step):
                    store_i64(at, i)
                    at += 8
        for i in range(start, stop):
            for k in range(i):
                store_i64(at, k)
                at += 8
        for i in range(stop, start, -2):
            store_i64(at, i)
            at += 8
        for i in range(start, stop, 3):
            store_i64(at, i)
            at += 8
        store_i64(at, 99)

    return loops


def quotient(x: int, y: int) -> tuple[int, int]:
    """(0, 0) where int64 has no quotient."""
    return divmod(x, y) if y != 0 and (x, y) != (LOWEST, -1) else (0, 0)


def test_division() -> None:
    run, out = compiled("division", build_division), (ctypes.c_int64 * 2)()
    for x in NUMBERS:
        for y in NUMBERS:
            run(ctypes.addressof(out), x, y)
            assert tuple(out) == quotient(x, y), (x, y)


@pytest.mark.parametrize("divisor", [1, 3, 8, -5])
def test_division_by_a_constant(divisor: int) -> None:
    run, out = compiled(f"by_{divisor % 100}", lambda: build_constant_division(divisor)), (ctypes.c_int64 * 2)()
    for x in NUMBERS:
        run(ctypes.addressof(out), x, 0)
        assert tuple(out) == divmod(x, divisor), x


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 7), (-2, 4), (5, -3), (3, 4)])
def test_loops(loops, start: int, stop: int) -> None:
    out = (ctypes.c_int64 * 500)()
    loops(ctypes.addressof(out), start, stop)
    wanted = [i for step in range(-3, 4) if step for i in range(start, stop, step)]
    wanted += [k for i in range(start, stop) for k in range(i)]
    wanted += [*range(stop, start, -2), *range(start, stop, 3), 99]
    assert list(out)[: len(wanted)] == wanted
    assert not any(list(out)[len(wanted) :])


@pytest.fixture(scope="module")
def loops():
    return compiled("loops", build_loops)
