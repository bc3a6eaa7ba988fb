"""Every operator has the form of ONNX's newest opset: attributes, defaults, inputs, outputs, element types."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.defs import OpSchema, get_schema

from cnncc.ir import DType, Op
from cnncc.ops import OPS
from cnncc.ops.elementwise import Elementwise
from cnncc.ops.reduce import Reduce

OPSET = onnx.defs.onnx_opset_version()
# Fields that hold what ONNX says otherwise (a tensor, an attribute without effect in inference), or beyond ONNX.
OWN_FIELDS = {"ConstantOfShape": {"value", "dtype"}, "Loop": {"carried"}, "Scan": {"states"}, "RNN": {"activations"}}
FUSED_FIELDS = {"activation", "projected"}
FUSED_INPUTS = {"If": {"captures"}, "Conv": {"R"}, "ConvInteger": {"scale", "B"}, "Gemm": {"R"}, "MatMul": {"C", "R"}}
# Inputs that ONNX requires, but that passes may make part of others.
FOLDED_INPUTS = dict.fromkeys(("GRU", "LSTM", "RNN"), ("W?",))
ONNX_NAMES = {"tensor(float)": DType.F32, "tensor(double)": DType.F64, "tensor(float16)": DType.F16,
              "tensor(bool)": DType.BOOL} | {f"tensor({t.numpy.name})": t for t in DType if t.is_integer}


def schema_of(op: type[Op], opset: int = OPSET) -> OpSchema:
    if op.domain:
        pytest.skip(f"onnx does not describe the domain {op.domain}")
    if op.since > OPSET:
        pytest.skip(f"the installed onnx knows opset {OPSET} only")
    return get_schema(op.op_type, opset, op.domain)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_since_is_an_opset_of_the_operator(op: type[Op]) -> None:
    """Its form at `since` is the newest one's but for attributes' and types' additions."""
    then, now = schema_of(op, op.since), schema_of(op)
    assert then.since_version == op.since
    assert [i.name for i in then.inputs] == [i.name for i in now.inputs]


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_attributes(op: type[Op]) -> None:
    schema = schema_of(op)
    fields = {f.name: f for f in dataclasses.fields(op)}
    own = OWN_FIELDS.get(op.op_type, set())
    assert set(fields) - own - FUSED_FIELDS <= set(schema.attributes), "fields that ONNX does not have"
    for name, attribute in schema.attributes.items():
        if name in own or name not in fields:
            continue
        if attribute.required:
            assert fields[name].default is dataclasses.MISSING, name
        elif attribute.default_value.type:
            default = onnx.helper.get_attribute_value(attribute.default_value)
            wanted: Any = default.decode() if isinstance(default, bytes) else default
            ours = 0 if fields[name].default is None else fields[name].default  # ONNX's number of no element type
            ours = ours.onnx if isinstance(ours, DType) else ours
            wanted = tuple(wanted) if isinstance(wanted, list) else wanted
            assert (np.float32(ours) if isinstance(wanted, float) else ours) == wanted, name  # ONNX's are single


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_operands(op: type[Op]) -> None:
    formal = OpSchema.FormalParameterOption
    marks = {formal.Optional: "?", formal.Variadic: "*"}
    own = [o for o in op.operands if o.rstrip("?*") not in FUSED_INPUTS.get(op.op_type, ())]
    own = [o.rstrip("?") if o in FOLDED_INPUTS.get(op.op_type, ()) else o for o in own]
    schema = schema_of(op)
    assert [o[-1] if o[-1] in "?*" else "" for o in own] == [marks.get(i.option, "") for i in schema.inputs]
    assert [o.rstrip("?*") for o in own] == [i.name for i in schema.inputs]


TYPED = {name: op for name, op in OPS.items() if issubclass(op, (Elementwise, Reduce)) and hasattr(op, "accepts")}


@pytest.mark.parametrize("op", TYPED.values(), ids=TYPED)
def test_accepted_types(op: Any) -> None:
    schema = schema_of(op)
    (allowed,) = [c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == schema.inputs[0].type_str]
    known = {ONNX_NAMES[t] for t in allowed if t in ONNX_NAMES}
    if op.op_type == "Pow":  # whose exponent may be of more types than its base
        assert known <= set(op.accepts)
    else:
        assert known == set(op.accepts)
