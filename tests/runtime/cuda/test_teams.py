"""What a whole block of threads computes together, and rows that do not fill the last block of warps."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.ir import Op
from cnncc.ops import OPS
from cnncc.runtime.cuda import team
from cnncc.runtime.cuda.kernels.attention import form_for
from cnncc.runtime.cuda.team import BLOCK, LARGE, WARP, arrange, team_for
from tests.ops.cases import alike, normal
from tests.runtime.cuda.harness import ORDERS
from tests.runtime.cuda.lowered import run_lowered

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
def test_team(op: Op, arrays: tuple[np.ndarray, ...], constants: tuple[int, ...],
              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "SPREAD", 1)  # blocks are as large as they get, and rows do not fill the last one
    exact = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
    wanted = op.reference(*exact)[0]
    found = run_lowered(op, arrays, constants, inplace=True)
    assert isinstance(found, list)
    alike(found[0], np.asarray(wanted).astype(found[0].dtype), 4.0)


def test_the_sizes_above_need_blocks_and_warps() -> None:
    assert (team_for(SIZE), team_for(WARP + 1)) == (BLOCK, WARP)


def test_few_results_are_spread_over_the_gpu() -> None:
    assert arrange(1000, 1) == ((32, 1, 1), (32, 1, 1))
    assert arrange(10**6, 1) == ((3907, 1, 1), (256, 1, 1))
    assert arrange(2048, WARP) == ((512, 1, 1), (WARP, 4, 1))
    assert arrange(9, BLOCK) == ((9, 1, 1), (BLOCK, 1, 1))


@pytest.mark.parametrize(("size", "form"), [(150, (4, 0)), (270, (2, 0))])
def test_attention_of_large_heads(size: int, form: tuple[int, int]) -> None:
    """Values stay where they are; the keys are more than a tile, the queries more than a warp's."""
    q, k, v = normal(1, 1, 5, size), normal(1, 1, 37, size, seed=1), normal(1, 1, 37, size, seed=2)
    op = OPS["Attention"]()
    assert form_for(size, size) == form
    found = run_lowered(op, (q, k, v), orders=ORDERS[:1])
    assert isinstance(found, list)
    wanted = op.reference(*(x.astype(np.float64) for x in (q, k, v)))[0]
    alike(found[0], wanted.astype(np.float32), 4.0)
