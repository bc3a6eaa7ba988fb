"""What cnncc supports, operator by operator: opsets, element types, and for which of these there is a native kernel.

Nothing of it is written down: each operator is asked, by a network of one node (SAMPLES), for every element type.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .errors import InputError, OpError, UnsupportedError
from .ir import DType, Graph, TensorType, make_op, parse_attributes, parse_type
from .ops import OPS
from .records import record

__all__ = ["Row", "by_definition", "markdown", "table", "types_text"]

Array = np.ndarray[Any, Any]

LANES = 16  # of the plans that tell which kernels there are: the answer is to be the same on all machines
INTERNAL = "cnncc"  # the domain of operators that passes make and no model has

# Operands and attributes of the one-node network, where it is not tensors T[1,16,4,4] for all required inputs. T is the
# type in question; `=` before a type makes the operand a constant (ones, or the numbers behind it), - leaves one out.
_SCALES = "=f32[], =T[]"
_QUANTISED = f"T[1,16,4,4], {_SCALES}, {_SCALES}"
_QUANTISED_PAIR = f"T[1,16,4,4], {_SCALES}, T[1,16,4,4], {_SCALES}, {_SCALES}"
_CUMULATIVE = "T[2,3], =i64[] 1"
_POOLED = "T[1,16,4,4] {kernel_shape=[2,2]}"
_RECURRENT = "T[5,1,3], =T[1,{0},3], =T[1,{0},4] {{hidden_size=4}}"
SAMPLES = {
    "Conv": "T[1,16,8,8], =T[8,16,3,3]",
    "ConvTranspose": "T[1,16,8,8], =T[16,8,3,3]",
    "DeformConv": "T[1,4,5,5], =T[3,4,2,2], T[1,8,4,4]",
    "BatchNormalization": "T[1,16,4,4], =T[16], =T[16], =T[16], =T[16]",
    "GroupNormalization": "T[1,16,4,4], =T[16], =T[16] {num_groups=4}",
    "InstanceNormalization": "T[1,16,4,4], =T[16], =T[16]",
    "LayerNormalization": "T[1,4,16], =T[16], =T[16]",
    "RMSNormalization": "T[1,4,16], =T[16]",
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _POOLED),
    "MaxRoiPool": "T[1,16,4,4], T[2,5] {pooled_shape=[2,2]}",
    "RoiAlign": "T[1,16,4,4], T[2,4], i64[2]",
    "CenterCropPad": "T[4,4], =i64[2] 2,5",
    "Col2Im": "T[1,4,9], =i64[2] 4,4, =i64[2] 2,2",
    "MaxUnpool": "T[1,1,2,2], i64[1,1,2,2] {kernel_shape=[2,2], strides=[2,2]}",
    "LRN": "T[1,16,4,4] {size=3}",
    "Gemm": "T[2,16], =T[16,8], =T[8]",
    "MatMul": "T[2,16], =T[16,8]",
    "Einsum": 'T[2,3], T[3,4] {equation="ij,jk->ik"}',
    "Attention": "T[1,2,4,8], T[1,2,4,8], T[1,2,4,8]",
    "RotaryEmbedding": "T[1,2,4,8], T[1,4,4], T[1,4,4]",
    "ConvInteger": "T[1,16,8,8], =T[8,16,3,3]",
    "QLinearConv": f"T[1,16,8,8], {_SCALES}, =T[8,16,3,3], {_SCALES}, {_SCALES}",
    "MatMulInteger": "T[2,16], =T[16,8]",
    "QLinearMatMul": f"T[2,16], {_SCALES}, =T[16,8], {_SCALES}, {_SCALES}",
    "MatMulIntegerToFloat": "T[2,16], =T[16,8], =f32[], =f32[]",
    "DynamicQuantizeMatMul": "f32[2,16], =T[16,8], =f32[]",
    "QGemm": f"T[2,16], {_SCALES}, =T[16,8], {_SCALES}, -, {_SCALES}",
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _QUANTISED_PAIR),
    "QLinearAveragePool": f"{_QUANTISED} {{kernel_shape=[2,2]}}",
    "QLinearConcat": f"{_SCALES}, T[1,16,4,4], {_SCALES}, T[1,16,4,4], {_SCALES} {{axis=1}}",
    **dict.fromkeys(("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearSigmoid"), _QUANTISED),
    "QLinearSoftmax": f"{_QUANTISED} {{opset=13}}",
    "DequantizeLinear": "T[1,16,4,4], =f32[], =T[]",
    "QuantizeLinear": "T[1,16,4,4], =T[], =u8[]",
    "PRelu": "T[1,16,4,4], =T[16,1,1]",
    "Clip": "T[1,16,4,4], =T[], =T[]",
    "BitShift": 'T[2,3], T[2,3] {direction="LEFT"}',
    "Where": "bool[1,16,4,4], T[1,16,4,4], T[1,16,4,4]",
    "BitCast": "T[2,3] {to=T}",
    "Cast": "T[1,16,4,4] {to=f32}",
    "CastLike": "T[1,16,4,4], f32[1]",
    "ConstantOfShape": "=i64[2] 2,3 {value=1, dtype=T}",
    "Expand": "T[2,1], =i64[2] 2,3",
    "Reshape": "T[2,3], =i64[2] 3,2",
    "Squeeze": "T[2,1], =i64[1]",
    "Unsqueeze": "T[2,3], =i64[1]",
    "Concat": "T[1,16,4,4], T[1,16,4,4] {axis=1}",
    "Split": "T[1,16,4,4] {axis=1, num_outputs=1}",
    "Tile": "T[2,3], =i64[2] 2,2",
    "Slice": "T[4,4], =i64[1] 1, =i64[1] 3",
    "Gather": "T[4,4], i64[2]",
    "GatherElements": "T[4,4], i64[2,4]",
    "GatherND": "T[4,4], i64[2,1]",
    "OneHot": "i64[3], =i64[] 4, T[2]",
    "Compress": "T[4], bool[4]",
    "ScatterElements": "T[4,4], i64[2,4], T[2,4]",
    "ScatterND": "T[4,4], i64[2,1], T[2,4]",
    "TensorScatter": "T[2,4,3], T[2,2,3]",
    "Pad": "T[1,16,4,4], =i64[8] 0,0,1,1,0,0,1,1",
    "Resize": "T[1,16,4,4], -, =f32[4] 1,1,2,2",
    "AffineGrid": "T[1,2,3], =i64[4] 1,1,4,4",
    "GridSample": "T[1,1,4,4], T[1,2,2,2]",
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), "T[1,16,4,4] {blocksize=2}"),
    "GRU": _RECURRENT.format(12),
    "LSTM": _RECURRENT.format(16),
    "RNN": _RECURRENT.format(4),
    "DynamicQuantizeLSTM": "f32[5,1,3], =T[1,3,16], =T[1,4,16], -, -, -, -, -, =f32[1], =T[1], =f32[1], =T[1] "
                           "{hidden_size=4}",
    "NonMaxSuppression": "f32[1,6,4], f32[1,1,6]",
    "TopK": "T[2,8], =i64[1] 2",
    **dict.fromkeys(("CumProd", "CumSum"), _CUMULATIVE),
    "EyeLike": "T[2,3]",
    "Det": "T[3,3]",
    "Range": "=T[] 0, =T[] 6, =T[] 2",
    "ReverseSequence": "T[4,2], i64[2]",
    "DFT": "T[1,8,1]",
    "MelWeightMatrix": "=i64[] 8, =i64[] 16, =i64[] 8192, =f32[] 0, =f32[] 4096 {output_datatype=T}",
    "STFT": "T[1,20,1], =i64[] 4, =T[8]",
}


@record
class Row:
    """One operator: since which opset of its domain it is read, the element types of its main operand, those with a
    native CPU kernel, and those with a CUDA kernel. `free`: it costs nothing in a run, being evaluated before or no
    more than a view. `bodies`: it runs graphs of its own."""

    name: str
    domain: str
    opset: int
    types: tuple[DType, ...]
    native: tuple[DType, ...]
    cuda: tuple[DType, ...] = ()
    free: bool = False
    bodies: bool = False

    @property
    def kernel(self) -> str:
        if self.bodies:
            return "those of its body"
        if self.free:
            return "none needed"
        return types_text(self.native) or "reference"

    @property
    def cuda_kernel(self) -> str:
        return "none needed" if self.free else types_text(self.cuda) or "no"


def table(names: Iterable[str] = ()) -> list[Row]:
    """The operators that a model may have, by domain and name; only those of `names` if any are given.

    Raises InputError for a name that none of them has.
    """
    known = [name for name in OPS if OPS[name].domain != INTERNAL]
    wanted = list(names) or known
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            raise InputError(f"cnncc has no operator '{name}'" + (f"; did you mean '{close[0]}'?" if close else ""))
    return sorted(map(_row, wanted), key=lambda row: (row.domain, row.name))


def by_definition() -> list[tuple[str, str, int]]:
    """The operators that are replaced by ONNX's own definition of them: name, domain, and since which opset."""
    import onnx

    from .frontends.onnx.adapters import has_adapter
    from .frontends.onnx.function_bodies import has_body

    newest = {s.name: s for s in onnx.defs.get_all_schemas() if s.name not in OPS}
    return sorted((s.name, s.domain or "ai.onnx", min([*s.function_opset_versions,
                                                       *s.context_dependent_function_opset_versions]))
                  for s in newest.values() if has_body(s, s.since_version) and not has_adapter(s.name, s.since_version))


def _row(name: str) -> Row:
    domain, opset = OPS[name].domain or "ai.onnx", _first_opset(name)
    if OPS[name].body_fields:
        return Row(name, domain, opset, tuple(DType), tuple(DType), bodies=True)
    types, native, cuda, free = [], [], [], True
    for dtype in DType if "T" in _sample(name) else (DType.F32,):
        try:
            graph = _network(name, dtype)
        except OpError:
            continue
        types.append(dtype)
        kernels = _kernels(graph)
        free = free and (OPS[name].alias or not kernels)
        if "reference" not in kernels:
            native.append(dtype)
        if _runs_on_cuda(graph):
            cuda.append(dtype)
    return Row(name, domain, opset, tuple(types), tuple(native), tuple(cuda), free and bool(types))


def _kernels(graph: Graph) -> set[str]:
    """The kernels of the plan of a graph, which is optimised in place, without those that do nothing."""
    from .compiler import compile
    from .plan import ALIAS, KNOWN

    return {step.kernel for step in compile(graph, lanes=LANES, warm=False).steps} - {ALIAS, KNOWN}


def _runs_on_cuda(graph: Graph) -> bool:
    """Whether every node of an optimised graph has a CUDA kernel."""
    from .compiler import compile

    try:
        compile(graph, level=0, target="cuda", device="h100", warm=False)
    except UnsupportedError:
        return False
    return True


def _network(name: str, dtype: DType) -> Graph:
    """The operator's sample with operands of a type. Raises OpError where it does not take it."""
    graph = Graph(name)
    operands, _, attributes = _sample(name).partition(" {")
    fields = parse_attributes(re.sub(r"=T\b", f"={dtype.value}", attributes.rstrip("}")))
    inputs = [_operand(graph, text, dtype, f"x{i}") for i, text in enumerate(operands.split(", "))]
    try:
        node = graph.add_node(make_op(OPS, name, fields), inputs)
    except OverflowError as error:
        raise OpError(f"{name}: {error}") from None
    graph.set_outputs(list(node.outputs), [v.name for v in node.outputs])
    return graph


def _sample(name: str) -> str:
    required = sum(2 if o.endswith("*") else not o.endswith("?") for o in OPS[name].operands)
    return SAMPLES.get(name) or ", ".join(["T[1,16,4,4]"] * required)


def _operand(graph: Graph, text: str, dtype: DType, name: str) -> Any:
    if text == "-":
        return None
    declared, _, numbers = text.lstrip("=").partition(" ")
    type_: TensorType = parse_type(re.sub(r"^T\b", dtype.value, declared))
    if not text.startswith("="):
        return graph.add_input(name, type_)
    contents = [float(n) for n in numbers.split(",")] if numbers else [1.0]
    return graph.add_constant(np.resize(contents, type_.static_shape).astype(type_.dtype.numpy), name)


_REFUSED = {("Scan", 8)}  # whose sequences have an axis for the batch


def _first_opset(name: str) -> int:
    """The first opset that has the operator; 1 in domains that ONNX does not describe."""
    import onnx

    versions = [s.since_version for s in onnx.defs.get_all_schemas_with_history()
                if s.name == name and s.domain == OPS[name].domain and (name, s.since_version) not in _REFUSED]
    return min(versions, default=1)


# -- text --------------------------------------------------------------------------------------------------------------


def types_text(types: Sequence[DType]) -> str:
    """Element types as a person writes them: `integers` for all eight of these."""
    integers = [t for t in DType if t.is_integer]
    whole = [t for t in types if t.is_integer]
    return " ".join([*(t.value for t in types if t.is_float), *(["integers"] if whole == integers else
                                                                [t.value for t in whole]),
                     *(t.value for t in types if t is DType.BOOL)])


def markdown() -> str:
    """The text of docs/operators.md."""
    lines = _HEAD.splitlines()
    for row in table():
        lines.append(f"| {row.name} | {row.domain} | {row.opset} | {types_text(row.types)} | {row.kernel} | "
                     f"{row.cuda_kernel} |")
    lines += _BY_DEFINITION.splitlines()
    lines += [f"| {name} | {domain} | {opset} |" for name, domain, opset in by_definition()]
    return "\n".join(lines) + "\n"


_HEAD = """\
# Operators

Written by `cnncc ops --markdown`; do not edit.

An operator of the standard domain `ai.onnx` is read in all its forms from the opset named on, older ones being brought
into the newest. The element types are those of the main operand (`integers` are all of 8 to 64 bits, with and without
sign). A type that stands under "native CPU kernel" has one for the usual attributes and shapes: `cnncc inspect` shows
what a network gets. Everything else runs on the operator's NumPy reference, which `cnncc compile` warns of. A type that
does not stand under "CUDA kernel" cannot be compiled for a GPU without `--fallback cpu`. "none needed" are operators
that cost nothing in a run: they are evaluated before it, or are another view of their input.

| operator | domain | since opset | element types | native CPU kernel | CUDA kernel |
|---|---|---|---|---|---|
"""

_BY_DEFINITION = """\

## By ONNX's own definition

Operators that ONNX defines by others are replaced by their definition where they are not in the table above.

| operator | domain | since opset |
|---|---|---|
"""
