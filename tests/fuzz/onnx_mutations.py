"""Changes of a model, each where a random number says. They know the format, so most mutants are read to some depth."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["MUTATIONS", "mutate"]

Random = np.random.Generator

INTEGERS = (0, 1, 2, 3, -1, -2, 4, 5, 7, 8, 9, 16, 17, 64, 255, 256, 1000, 65536, 2**31 - 1, 2**31, -2**31, 2**32,
            2**40, 2**62, 2**63 - 1, -2**63)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-45, 1e-7, 3e38, float("inf"), float("-inf"), float("nan"), 1e6)
WORDS = ("", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "nearest", "linear", "cubic", "constant", "reflect", "edge",
         "wrap", "LEFT", "RIGHT", "forward", "reverse", "bidirectional", "DCR", "CRD", "half_pixel", "asymmetric",
         "align_corners", "pytorch_half_pixel", "tf_crop_and_resize", "tf_half_pixel_for_nn", "floor", "ceil",
         "round_prefer_ceil", "none", "tanh", "add", "mul", "max", "avg", "ij,jk->ik", "i...,...j->ij", "ii->i", "iii",
         "->", "a,b,c,d,e->abcde", "Sigmoid", "Relu", "\x00", "x" * 300)
DOMAINS = ("", "ai.onnx", "com.microsoft", "ai.onnx.ml", "own", "ghost")


def mutate(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """One change of the model; some take parts of another one."""
    with contextlib.suppress(DecodeError):  # deeper than protobuf goes
        MUTATIONS[rng.integers(len(MUTATIONS))](rng, model, other)


# -- finding a place ---------------------------------------------------------------------------------------------------


def _pick(rng: Random, things):  # type: ignore[no-untyped-def]
    things = list(things)
    return things[rng.integers(len(things))] if things else None


def _graphs(model: ModelProto) -> Iterator[GraphProto]:
    pending = [model.graph]
    while pending:
        graph = pending.pop()
        yield graph
        pending += [a.g for node in graph.node for a in node.attribute if a.type == AttributeProto.GRAPH]


def _nodes(model: ModelProto) -> list[NodeProto]:
    return [*(n for graph in _graphs(model) for n in graph.node), *(n for f in model.functions for n in f.node)]


def _attributes(model: ModelProto) -> list[AttributeProto]:
    return [a for node in _nodes(model) for a in node.attribute]


def _tensors(model: ModelProto) -> list[TensorProto]:
    return [*(t for graph in _graphs(model) for t in graph.initializer),
            *(a.t for a in _attributes(model) if a.type == AttributeProto.TENSOR)]


def _names(model: ModelProto) -> list[str]:
    found = [n for node in _nodes(model) for n in (*node.input, *node.output)]
    found += [v.name for graph in _graphs(model) for v in (*graph.input, *graph.initializer)]
    return [*found, "", "ghost"]


def _integer(rng: Random, near: int = 0) -> int:
    if rng.integers(3) == 0:
        return max(-2**63, min(2**63 - 1, near + int(rng.integers(-2, 3))))
    return int(INTEGERS[rng.integers(len(INTEGERS) if rng.integers(3) == 0 else 12)])


def _change_list(rng: Random, values, new) -> None:  # type: ignore[no-untyped-def]
    """An element of a repeated field replaced, left out, doubled or added."""
    at = int(rng.integers(len(values) + 1))
    way = int(rng.integers(4))
    if at == len(values) or way == 3:
        values.append(new(None))
    elif way == 2:
        del values[at]
    else:
        values[at] = new(values[at])


# -- attributes --------------------------------------------------------------------------------------------------------


def change_attribute(rng: Random, model: ModelProto, other: ModelProto) -> None:
    attribute = _pick(rng, _attributes(model))
    if attribute is None:
        return add_attribute(rng, model, other)
    kind = attribute.type
    if kind == AttributeProto.INT:
        attribute.i = _integer(rng, attribute.i)
    elif kind == AttributeProto.INTS:
        _change_list(rng, attribute.ints, lambda old: _integer(rng, old or 0))
    elif kind == AttributeProto.FLOAT:
        attribute.f = FLOATS[rng.integers(len(FLOATS))]
    elif kind == AttributeProto.FLOATS:
        _change_list(rng, attribute.floats, lambda old: FLOATS[rng.integers(len(FLOATS))])
    elif kind == AttributeProto.STRING:
        attribute.s = WORDS[rng.integers(len(WORDS))].encode()
    elif kind == AttributeProto.STRINGS:
        _change_list(rng, attribute.strings, lambda old: WORDS[rng.integers(len(WORDS))].encode())
    elif kind == AttributeProto.TENSOR:
        _change_tensor(rng, attribute.t)


def add_attribute(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """One that the operator has, or of another operator; or two of one name."""
    node = _pick(rng, _nodes(model))
    if node is None:
        return
    formal = _schema_attributes(node)
    taken = _pick(rng, _attributes(other))
    if taken is not None and rng.integers(3) == 0:
        node.attribute.add().CopyFrom(taken)
    elif formal:
        name = formal[rng.integers(len(formal))]
        value = onnx.defs.get_schema(node.op_type, domain=node.domain).attributes[name]
        node.attribute.append(helper.make_attribute(name, _value(rng, value.type.value)))


def _schema_attributes(node: NodeProto) -> list[str]:
    try:
        return sorted(onnx.defs.get_schema(node.op_type, domain=node.domain).attributes)
    except onnx.defs.SchemaError:
        return []


def _value(rng: Random, kind: int) -> object:
    count = int(rng.integers(1, 5))
    if kind == AttributeProto.FLOAT:
        return float(FLOATS[rng.integers(len(FLOATS))])
    if kind == AttributeProto.FLOATS:
        return [float(FLOATS[rng.integers(len(FLOATS))]) for _ in range(count)]
    if kind == AttributeProto.STRING:
        return WORDS[rng.integers(len(WORDS))]
    if kind == AttributeProto.STRINGS:
        return [WORDS[rng.integers(len(WORDS))] for _ in range(count)]
    if kind == AttributeProto.INTS:
        return [_integer(rng) for _ in range(count)]
    if kind == AttributeProto.TENSOR:
        return numpy_helper.from_array(np.arange(count).astype(("f4", "i8", "u1", "?")[rng.integers(4)]))
    return _integer(rng)


def retype_attribute(rng: Random, model: ModelProto, other: ModelProto) -> None:
    attribute = _pick(rng, _attributes(model))
    if attribute is not None:
        attribute.type = int(rng.integers(0, 15))


def drop_attribute(rng: Random, model: ModelProto, other: ModelProto) -> None:
    node = _pick(rng, [n for n in _nodes(model) if n.attribute])
    if node is not None:
        del node.attribute[rng.integers(len(node.attribute))]


# -- tensors -----------------------------------------------------------------------------------------------------------


def change_tensor(rng: Random, model: ModelProto, other: ModelProto) -> None:
    tensor = _pick(rng, _tensors(model))
    if tensor is not None:
        _change_tensor(rng, tensor)


def _change_tensor(rng: Random, tensor: TensorProto) -> None:
    """Its contents, or what it says of them; every second time both still fit."""
    try:
        array = numpy_helper.to_array(tensor) if tensor.data_location != TensorProto.EXTERNAL else None
    except Exception:
        array = None
    way = int(rng.integers(10))
    if array is not None and way < 3:
        flat = array.ravel().copy()
        for _ in range(min(flat.size, int(rng.integers(1, 4)))):
            flat[rng.integers(flat.size)] = _number(rng, flat.dtype, flat[0])
        _put(tensor, flat.reshape(array.shape))
    elif array is not None and way == 3:
        _put(tensor, np.resize(array, _shape(rng, array.shape)))
    elif array is not None and way == 4:
        with np.errstate(all="ignore"):
            _put(tensor, array.astype(("f4", "f8", "f2", "i8", "i4", "u1", "i1", "?", "u8")[rng.integers(9)]))
    elif way == 5:
        _change_list(rng, tensor.dims, lambda old: _integer(rng, old or 0))
    elif way == 6:
        tensor.data_type = int(rng.integers(-1, 30))
    elif way == 7:
        tensor.raw_data = tensor.raw_data[:rng.integers(0, len(tensor.raw_data) + 1)] + bytes(int(rng.integers(3)))
    elif way == 8:
        tensor.int64_data.append(_integer(rng))
        tensor.float_data.append(1.0)
    else:
        _make_external(rng, tensor)


def _number(rng: Random, dtype: np.dtype, near: object) -> object:
    if dtype.kind == "f":
        with np.errstate(all="ignore"):
            return np.float64(FLOATS[rng.integers(len(FLOATS))]).astype(dtype)
    if dtype.kind == "b":
        return bool(rng.integers(2))
    return np.array(_integer(rng, int(near)) & (256**dtype.itemsize - 1), np.uint64).astype(dtype)  # type: ignore


def _shape(rng: Random, shape: tuple[int, ...]) -> list[int]:
    """A shape that differs a little, of few elements."""
    dims = list(shape)
    if not dims or rng.integers(3) == 0:
        dims.insert(int(rng.integers(len(dims) + 1)), int(rng.integers(0, 3)))
    elif rng.integers(3) == 0:
        del dims[rng.integers(len(dims))]
    else:
        dims[rng.integers(len(dims))] = int(rng.integers(0, 9))
    return dims if np.prod(dims) < 5000 else [1]


def _put(tensor: TensorProto, array: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), tensor.name))


LOCATIONS = ("w.bin", "sub/w.bin", "./w.bin", "../w.bin", "/etc/hostname", "link.bin", "folder/w.bin", "hard.bin",
             "fifo", "", ".", "absent", "w.bin\0", "sub/../w.bin", "C:\\w.bin", "model.onnx", "x" * 5000)


def _make_external(rng: Random, tensor: TensorProto) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value=LOCATIONS[rng.integers(len(LOCATIONS)) if rng.integers(2) else 0])
    for key in ("offset", "length", "checksum", "ghost"):
        if rng.integers(4) == 0:
            tensor.external_data.add(key=key, value=str(_integer(rng)))


# -- names and nodes ---------------------------------------------------------------------------------------------------


def rewire(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """An input of a node becomes another value, is left out or added; or an output gets another name."""
    node = _pick(rng, _nodes(model))
    if node is None:
        return
    names = node.output if rng.integers(5) == 0 else node.input
    _change_list(rng, names, lambda old: _pick(rng, _names(model)))


def rename(rng: Random, model: ModelProto, other: ModelProto) -> None:
    graph = _pick(rng, _graphs(model))
    thing = _pick(rng, (*graph.input, *graph.output, *graph.initializer, *graph.node))
    if thing is not None:
        thing.name = _pick(rng, _names(model))


def drop(rng: Random, model: ModelProto, other: ModelProto) -> None:
    graph = _pick(rng, _graphs(model))
    fields = [f for f in (graph.node, graph.input, graph.output, graph.initializer, model.opset_import, model.functions)
              if len(f)]
    if fields:
        field = fields[rng.integers(len(fields))]
        del field[rng.integers(len(field))]


def double(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """A part stands there twice; a node usually under another name."""
    graph = _pick(rng, _graphs(model))
    fields = [f for f in (graph.node, graph.input, graph.output, graph.initializer, model.functions) if len(f)]
    if fields:
        field = fields[rng.integers(len(fields))]
        new = field.add()
        new.CopyFrom(field[rng.integers(len(field) - 1)])
        if isinstance(new, NodeProto) and rng.integers(4):
            _rename_outputs(graph, new)


def _rename_outputs(graph: GraphProto, node: NodeProto) -> None:
    taken = {n for one in graph.node for n in one.output}
    for i, name in enumerate(node.output):
        if name:
            node.output[i] = next(f"{name}_{k}" for k in range(99) if f"{name}_{k}" not in taken)


def swap(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """Two nodes change places, or their outputs do."""
    graph = _pick(rng, _graphs(model))
    if len(graph.node) > 1:
        i, j = (int(v) for v in rng.choice(len(graph.node), 2, replace=False))
        a, b = graph.node[i], graph.node[j]
        if rng.integers(2):
            first = copy.deepcopy(a)
            a.CopyFrom(b)
            b.CopyFrom(first)
        elif a.output and b.output:
            a.output[0], b.output[0] = b.output[0], a.output[0]


def change_operator(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """Another operator in a node's place."""
    node, taken = _pick(rng, _nodes(model)), _pick(rng, _nodes(other))
    if node is not None and taken is not None:
        node.op_type, node.domain = taken.op_type, taken.domain
        if rng.integers(2):
            del node.attribute[:]
            node.attribute.extend(taken.attribute)


def change_domain(rng: Random, model: ModelProto, other: ModelProto) -> None:
    node = _pick(rng, _nodes(model))
    if node is not None:
        node.domain = DOMAINS[rng.integers(len(DOMAINS))]


def insert(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """A node of another model with its weights, which reads a value in place of its first input, and is read by those
    who read that value."""
    graph, node = model.graph, _pick(rng, other.graph.node)
    if node is None:
        return
    source = _pick(rng, [n for n in _names(model) if n])
    weights = {t.name: t for t in other.graph.initializer}
    new = NodeProto()
    new.CopyFrom(node)
    for i, name in enumerate(new.input):
        if name in weights:
            new.input[i] = f"{name}_in"
            if not any(t.name == f"{name}_in" for t in graph.initializer):
                graph.initializer.add().CopyFrom(weights[name])
                graph.initializer[-1].name = f"{name}_in"
        elif name:
            new.input[i] = source
    _rename_outputs(graph, new)
    if new.output and rng.integers(4):
        for reader in graph.node:
            for i, name in enumerate(reader.input):
                if name == source:
                    reader.input[i] = new.output[0]
    graph.node.append(new)
    domains = {entry.domain for entry in model.opset_import}
    model.opset_import.extend(entry for entry in other.opset_import if entry.domain not in domains)


def nest(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """The nodes of a graph become the body of a Loop or the branches of an If, some levels deep."""
    graph = model.graph
    if not graph.output:
        return
    for level in range(int(rng.integers(1, 5)) if rng.integers(8) else int(rng.integers(5, 40))):
        body = GraphProto(name=f"level{level}")
        body.node.extend(graph.node)
        body.output.extend(graph.output)
        for value in body.output:
            old, value.name = value.name, f"{value.name}.{level}"
            body.node.append(helper.make_node("Identity", [old], [value.name]))
        del graph.node[:]
        names = [v.name for v in graph.output]
        graph.node.append(helper.make_node("Constant", [], [f"k{level}"], value_int=int(rng.integers(0, 3))))
        graph.node.append(helper.make_node("Cast", [f"k{level}"], [f"c{level}"], to=TensorProto.BOOL))
        if level < 3 and rng.integers(3):  # both branches hold all that is within
            graph.node.append(helper.make_node("If", [f"c{level}"], names, then_branch=body, else_branch=body))
        else:
            body.input.extend([helper.make_tensor_value_info(f"i{level}", TensorProto.INT64, []),
                               helper.make_tensor_value_info(f"g{level}", TensorProto.BOOL, [])])
            body.output.insert(0, helper.make_tensor_value_info(f"g{level}", TensorProto.BOOL, []))
            graph.node.append(helper.make_node("Loop", [f"k{level}", ""], names, body=body))


# -- inputs, versions --------------------------------------------------------------------------------------------------


def change_input(rng: Random, model: ModelProto, other: ModelProto) -> None:
    graph = _pick(rng, _graphs(model))
    value = _pick(rng, (*graph.input, *graph.output))
    if value is None:
        return
    tensor = value.type.tensor_type
    way = int(rng.integers(6))
    if way == 0:
        tensor.elem_type = int(rng.integers(-1, 27))
    elif way == 1:
        tensor.ClearField("shape")
    elif way == 2:
        tensor.shape.dim.add().dim_value = _integer(rng)
    elif way == 3 and tensor.shape.dim:
        del tensor.shape.dim[rng.integers(len(tensor.shape.dim))]
    elif tensor.shape.dim:
        dim = tensor.shape.dim[rng.integers(len(tensor.shape.dim))]
        if rng.integers(3):
            dim.dim_value = _integer(rng, dim.dim_value)
        else:
            dim.dim_param = ("N", "H", "a b", "", "2", "\n", "N//2")[rng.integers(7)]


def change_version(rng: Random, model: ModelProto, other: ModelProto) -> None:
    if model.opset_import and rng.integers(4):
        entry = _pick(rng, model.opset_import)
        entry.version = int(rng.integers(1, onnx.defs.onnx_opset_version() + 2))
    elif rng.integers(2):
        model.opset_import.add(domain=DOMAINS[rng.integers(len(DOMAINS))], version=int(rng.integers(0, 3)))
    else:
        model.ir_version = _integer(rng, model.ir_version)


def fix_input(rng: Random, model: ModelProto, other: ModelProto) -> None:
    """An input becomes a weight, so that more is known when compiling; or the other way round."""
    graph = model.graph
    value = _pick(rng, graph.input)
    if value is not None and rng.integers(4):
        dims = [d.dim_value or 2 for d in value.type.tensor_type.shape.dim]
        try:
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        except Exception:
            return
        if all(0 < d < 100 for d in dims) and np.prod(dims) < 10000 and dtype.kind in "fiub":
            graph.initializer.append(numpy_helper.from_array(np.ones(dims, dtype), value.name))
    elif graph.initializer:
        tensor = _pick(rng, graph.initializer)
        graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
        if rng.integers(2):
            graph.initializer.remove(tensor)


Mutation = Callable[[Random, ModelProto, ModelProto], None]
# Those that are to happen more often stand here more often.
MUTATIONS: tuple[Mutation, ...] = (
    change_attribute, change_attribute, change_attribute, add_attribute, add_attribute, retype_attribute,
    drop_attribute,
    change_tensor, change_tensor, change_tensor,
    rewire, rewire, rename, drop, double, swap, change_operator, change_domain, insert, insert, insert, nest,
    change_input, change_input, change_version, fix_input,
)
