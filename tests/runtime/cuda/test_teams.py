"""What a whole block of threads computes together, and rows that do not fill the last block of warps."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ir import Op
from cnncc.ops import OPS
from cnncc.runtime.cuda.team import BLOCK, LARGE, WARP, team_for
from tests.ops.cases import normal
from tests.runtime.cuda.lowered import run_lowered
from tests.runtime.cuda.test_cases import alike

SIZE = LARGE + 45
WEIGHTS = (normal(SIZE, seed=1), normal(SIZE, seed=2))
TRIALS = [
    (OPS["Softmax"](), (normal(2, SIZE),), ()),
    (OPS["Softmax"](), (normal(9, WARP + 1),), ()),
    (OPS["LogSoftmax"](), (normal(1, SIZE) + 1000,), ()),
    (OPS["GlobalAveragePool"](), (normal(1, 2, SIZE) + 3,), ()),
    (OPS["GlobalMaxPool"](), (-abs(normal(1, 2, SIZE)),), ()),
    (OPS["ReduceSum"](keepdims=False), (np.arange(2 * SIZE, dtype=np.int64).reshape(2, SIZE), np.array([1])), (1,)),
    (OPS["ReduceL2"](), (normal(2, 3, 3, 5), np.array([1, 3])), (1,)),
    (OPS["LayerNormalization"](), (normal(2, SIZE) + 100, *WEIGHTS), (1, 2)),
    (OPS["RMSNormalization"](), (normal(1, SIZE), WEIGHTS[0]), (1,)),
    (OPS["InstanceNormalization"](), (normal(1, 2, SIZE), normal(2), normal(2, seed=3)), (1, 2)),
    (OPS["ArgMax"](axis=1), (normal(9, 70),), ()),
]


@pytest.mark.parametrize(("op", "arrays", "constants"), TRIALS, ids=lambda v: v.op_type if isinstance(v, Op) else "")
def test_team(op: Op, arrays: tuple[np.ndarray, ...], constants: tuple[int, ...]) -> None:
    exact = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
    wanted = op.reference(*exact)[0]
    found = run_lowered(op, arrays, constants, inplace=True)
    assert isinstance(found, list)
    alike(found[0], np.asarray(wanted).astype(found[0].dtype), 4.0)


def test_the_sizes_above_need_blocks_and_warps() -> None:
    assert (team_for(SIZE), team_for(WARP + 1)) == (BLOCK, WARP)
