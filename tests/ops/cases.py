"""What every operator is tested by: a Case is one operator with inputs, and a judge runs it as a one-node ONNX model.

A family's test file holds one list CASES and runs it so:

    @pytest.mark.parametrize(("case", "judge", "dtype"), trials(CASES))
    def test_against_judges(case: Case, judge: str, dtype: DType) -> None:
        check(case, judge, dtype)

Other tests (every runtime's) run the same lists: `case.arrays(DType.F32)` are the inputs, `case.op.reference` the
truth.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from cnncc.errors import OpError
from cnncc.ir import Activation, DType, Op, Operand, TensorType, format_op, name_unknown, parse_type
from cnncc.ops import OPS
from cnncc.ops.shape import ConstantOfShape

__all__ = [
    "Case", "JUDGES", "TOLERANCE", "alike", "assert_refused", "assert_same", "check", "check_half", "inferred",
    "model_of", "normal", "operand", "trials",
]

Array = np.ndarray[Any, Any]

# Largest error over largest output. ONNX's float attributes are single precision, so f64 results agree no closer.
TOLERANCE = {DType.F16: 1e-2, DType.F32: 2e-6, DType.F64: 2e-7}


@dataclass(frozen=True)
class Case:
    """One operator with inputs.

    Attributes:
        inputs: arrays, None for an absent optional one. Those of dtype float32 are run in every precision of `dtypes`
            (see `arrays`); all others stay as they are.
        constants: indices of the inputs whose contents `infer` is given (Reshape's shape): initialisers of the model.
        outputs: how many of the operator's outputs are used and compared.
        dtypes: the precisions to run in; an operator whose inputs are not floating point has one trial only.
        skip: judge ("onnx" or "onnxruntime") -> why its answer cannot be used. A judge without a kernel for the
            operator or its type is skipped by itself.
        tolerance: factor on TOLERANCE.
        note: what the case is about, where the operator's text does not tell; part of its id.
    """

    op: Op
    inputs: tuple[Array | None, ...]
    constants: tuple[int, ...] = ()
    outputs: int = 1
    dtypes: tuple[DType, ...] = (DType.F32, DType.F64)
    skip: dict[str, str] = field(default_factory=dict)
    tolerance: float = 1.0
    note: str = ""

    def arrays(self, dtype: DType) -> list[Array | None]:
        """The inputs, floating-point ones as `dtype`."""
        return [x.astype(dtype.numpy) if x is not None and x.dtype == np.float32 else x for x in self.inputs]

    def operands(self, dtype: DType) -> list[Operand | None]:
        """What `infer` is given."""
        return [None if x is None else
                Operand(TensorType(DType.of(x.dtype), x.shape), x if i in self.constants else None)
                for i, x in enumerate(self.arrays(dtype))]

    @property
    def is_onnx(self) -> bool:
        """Whether ONNX can express it: it has the operator, and nothing is fused into that."""
        formal = ONNX_INPUTS.get(self.op.op_type, len(self.inputs))
        fused = any(isinstance(value, Activation) for value in self.op.attributes.values())
        return self.op.domain != "cnncc" and not fused and all(x is None for x in self.inputs[formal:])

    def __str__(self) -> str:
        shapes = ",".join("none" if x is None else "x".join(map(str, x.shape)) or "scalar" for x in self.inputs)
        return f"{self.op.op_type}({shapes}){format_op(self.op)}{' ' + self.note if self.note else ''}"


# Operators with operands beyond ONNX's -> the number of ONNX's own.
ONNX_INPUTS = {"Conv": 3, "ConvInteger": 4, "Gemm": 3, "MatMul": 2}


def normal(*shape: int, seed: int = 0) -> Array:
    """Standard normal f32 numbers."""
    return np.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape), np.float32)


def model_of(case: Case, dtype: DType, opset: int) -> onnx.ModelProto:
    """The one-node model; inputs x0, x1, ... (constants as initialisers), outputs y0, y1, ..."""
    arrays = case.arrays(dtype)
    names = ["" if x is None else f"x{i}" for i, x in enumerate(arrays)]
    results = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(case.op.op_type, names, results, domain=case.op.domain, **_attributes(case.op))
    types = case.op.infer(*case.operands(dtype))
    inputs = [helper.make_tensor_value_info(n, DType.of(x.dtype).onnx, x.shape)
              for i, (n, x) in enumerate(zip(names, arrays, strict=True)) if x is not None and i not in case.constants]
    outputs = [helper.make_tensor_value_info(n, t.dtype.onnx, None) for n, t in zip(results, types, strict=False)]
    initialisers = [onnx.numpy_helper.from_array(x, names[i])
                    for i, x in enumerate(arrays) if x is not None and i in case.constants]
    graph = helper.make_graph([node], "case", inputs, outputs, initialisers)
    version = 1 if case.op.domain else opset
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(case.op.domain, version)], ir_version=10)


def _attributes(op: Op) -> dict[str, Any]:
    if isinstance(op, ConstantOfShape):
        return {"value": onnx.numpy_helper.from_array(np.array([op.value], op.dtype.numpy))}
    return {name: _attribute(value) for name, value in op.attributes.items() if value not in (None, ())}


def _attribute(value: Any) -> Any:
    if isinstance(value, DType):
        return value.onnx
    return list(value) if isinstance(value, tuple) else int(value) if isinstance(value, bool) else value


def feeds_of(case: Case, dtype: DType) -> dict[str, Array]:
    return {f"x{i}": x for i, x in enumerate(case.arrays(dtype)) if x is not None and i not in case.constants}


def run_onnx(case: Case, dtype: DType) -> list[Array]:
    """The outputs of onnx's reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    model = model_of(case, dtype, onnx.defs.onnx_opset_version())
    with np.errstate(all="ignore"):
        return list(ReferenceEvaluator(model).run(None, feeds_of(case, dtype)))


def run_onnxruntime(case: Case, dtype: DType) -> list[Array]:
    """The outputs of onnxruntime without its optimisations; skips the test where it has no such kernel."""
    import onnxruntime as ort
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    try:
        session = _session(model_of(case, dtype, _onnxruntime_opset()))
    except NoKernel as error:
        pytest.skip(f"onnxruntime {ort.__version__} has no kernel: {str(error)[:200]}")
    return list(session.run(None, feeds_of(case, dtype)))


def _session(model: onnx.ModelProto) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@functools.cache
def _onnxruntime_opset() -> int:
    """The newest opset that the installed onnxruntime reads."""
    case = Case(OPS["Add"](), (normal(1), normal(1)))
    for opset in range(onnx.defs.onnx_opset_version(), 17, -1):
        try:
            _session(model_of(case, DType.F32, opset))
        except Exception:  # onnxruntime's own exception types are many, and differ by version
            continue
        return opset
    raise AssertionError("onnxruntime reads no opset that the installed onnx has")


JUDGES: dict[str, Callable[[Case, DType], list[Array]]] = {"onnx": run_onnx, "onnxruntime": run_onnxruntime}


def trials(cases: Sequence[Case], judges: Sequence[str] = tuple(JUDGES)) -> list[Any]:
    """A parameter set (case, judge, dtype) for each trial that ONNX can express and no `skip` excludes."""
    found = []
    for case, judge in itertools.product(cases, judges):
        floating = any(x is not None and x.dtype == np.float32 for x in case.inputs)
        if case.is_onnx and judge not in case.skip:
            found += [pytest.param(case, judge, dtype, id=f"{case}-{judge}-{dtype.value}")
                      for dtype in (case.dtypes if floating else case.dtypes[:1])]
    return found


def check(case: Case, judge: str, dtype: DType) -> None:
    """`infer` and `reference` give the judge's types and numbers."""
    expected = JUDGES[judge](case, dtype)
    types = case.op.infer(*case.operands(dtype))
    with np.errstate(all="ignore"):
        actual = case.op.reference(*case.arrays(dtype))
    for wanted, type_, got in zip(expected, types, actual, strict=False):
        wanted = np.asarray(wanted)
        assert type_ == TensorType(DType.of(wanted.dtype), wanted.shape), f"infer says {type_}"
        assert_same(got, wanted, case.tolerance)


def check_half(case: Case) -> None:
    """In half precision the reference stays half and is near to the double one."""
    with np.errstate(all="ignore"):
        half = case.op.reference(*case.arrays(DType.F16))
        exact = case.op.reference(*case.arrays(DType.F64))
    types = case.op.infer(*case.operands(DType.F16))
    for index in range(case.outputs):
        assert TensorType(DType.of(half[index].dtype), half[index].shape) == types[index]
        assert_same(half[index], exact[index].astype(half[index].dtype), case.tolerance)


def assert_same(actual: Array, expected: Array, factor: float = 1.0) -> None:
    """Equal dtype and shape; floats equal within TOLERANCE (over the largest finite one), all else equal exactly."""
    actual = np.asarray(actual)
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    scale = max((float(np.abs(v)) for v in expected.ravel() if np.isfinite(v)), default=0.0)
    bound = factor * TOLERANCE[DType.of(expected.dtype)]
    np.testing.assert_allclose(actual.astype(np.float64), expected.astype(np.float64), rtol=bound,
                               atol=bound * max(scale, 1.0))


def operand(text: str, value: Any = None) -> Operand:
    """The operand of the type written as `text`, such as f32[N,3,8,8]; `value`, where given, its known contents."""
    type_ = parse_type(text)
    return Operand(type_, None if value is None else np.asarray(value, type_.dtype.numpy))


def inferred(op: Op, *operands: str | Operand | None) -> str:
    """The types that `infer` gives, as text, for operands given as text or ready; sizes that only the data decide are
    called u0, u1, ..."""
    given = [operand(o) if isinstance(o, str) else o for o in operands]
    op.check_arity([o is not None for o in given])
    types, _ = name_unknown(op.infer(*given), (f"u{i}" for i in itertools.count()))
    return ", ".join(map(str, types))


def alike(actual: np.ndarray, wanted: np.ndarray, factor: float) -> None:
    """What a kernel gives is what is wanted, but for `factor` times TOLERANCE of the largest number."""
    assert (actual.dtype, actual.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(actual, wanted)
        return
    finite = np.abs(wanted[np.isfinite(wanted)].astype(np.float64))
    bound = factor * TOLERANCE[DType.of(wanted.dtype)]
    np.testing.assert_allclose(actual.astype(np.float64), wanted.astype(np.float64), rtol=bound,
                               atol=bound * max(1.0, finite.max(initial=0.0)))


def assert_refused(make: Callable[[], Op], operands: Sequence[str | Operand | None], message: str) -> None:
    """Making the operator, or inferring from the operands, raises an OpError that says `message`."""
    with pytest.raises(OpError) as caught:
        inferred(make(), *operands)
    assert message in str(caught.value)
