"""Copies in forms that small cases of operators do not reach: squares through shared memory, parts in place."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ops import OPS
from cnncc.runtime.cuda.kernels import copy
from tests.ops.cases import normal
from tests.runtime.cuda.lowered import launch_of, run_lowered


@pytest.mark.parametrize(("shape", "perm"), [
    ((40, 35), (1, 0)), ((2, 9, 33), (0, 2, 1)), ((3, 8, 2, 10), (2, 3, 0, 1)), ((12, 33, 3, 8), (3, 2, 1, 0))])
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_transpose_through_shared_memory(shape: tuple[int, ...], perm: tuple[int, ...], dtype: type) -> None:
    x, op = (100 * normal(*shape)).astype(dtype), OPS["Transpose"](perm=perm)
    prepared = launch_of(op, [x])
    assert isinstance(prepared, tuple) and prepared[0].stages[0].kernel is copy.TRANSPOSE
    found = run_lowered(op, [x])
    assert isinstance(found, list)
    np.testing.assert_array_equal(found[0], x.transpose(perm))


def test_parts_have_places_in_the_whole_where_they_are_contiguous_there() -> None:
    parts, op = [normal(1, n, 2, 3) for n in (2, 1, 3)], OPS["Concat"](axis=1)
    prepared = launch_of(op, parts)
    assert isinstance(prepared, tuple)
    assert [s.in_place for s in prepared[0].stages] == [
        ("part_0", "whole", 0), ("part_1", "whole", 48), ("part_2", "whole", 72)]
    prepared = launch_of(op, [normal(2, n, 2, 3) for n in (2, 1)])
    assert isinstance(prepared, tuple) and all(s.in_place is None for s in prepared[0].stages)
