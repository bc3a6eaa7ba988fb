"""The JSON header of a plan file: everything of a plan but the contents of its weights.

Reading is strict. Every value is looked at through one of the four functions at the end, which know the exact JSON
type that is due there, so a header that is intact but wrong ends in a PlanInvalid that names the field.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

from .errors import GraphError, PlanInvalid
from .ir import DType, Op, TensorType, format_op, make_op, parse_attributes, parse_type
from .ops import OPS
from .plan import MAX_DEPTH, Arena, Buffer, Plan, Port, Step
from .records import record

__all__ = ["Header", "Weight", "format_header", "parse_header", "parse_json"]

T = TypeVar("T")
LARGEST = 2**63 - 1  # of any integer in a header
MAX_TEXT = 2000      # characters of a type
MAX_STRING = 1 << 20  # characters of any other string
MAX_RANK = 32
DTYPES = frozenset(t.value for t in DType)


@record
class Weight:
    """Where a weight lies: `length` bytes at `offset` of the weights section, little-endian, in C order."""

    buffer: int
    dtype: DType
    shape: tuple[int, ...]
    offset: int
    length: int


@record
class Header:
    """What a header says: the plan, in which all `weights` are still empty, and where those lie, for each plan of
    Plan.walk."""

    plan: Plan
    weights: tuple[tuple[Weight, ...], ...]


def format_header(header: Header) -> bytes:
    """The header as ASCII JSON, the same bytes for the same plan."""
    fields = _plan_fields(header.plan, iter(header.weights))
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii")


def _plan_fields(plan: Plan, weights: Iterator[tuple[Weight, ...]]) -> dict[str, Any]:
    arena = plan.arena and {"size": plan.arena.size, "lower_bound": plan.arena.lower_bound,
                            "offsets": sorted([b, o] for b, o in plan.arena.offsets.items())}
    own = next(weights)
    return {
        "name": plan.name, "target": plan.target, "lanes": plan.lanes, "producer": plan.producer,
        "buffers": [[b.name, str(b.type), b.layout] for b in plan.buffers],
        "steps": [{"name": s.name, "op": s.op.op_type, "attributes": format_op(s.op)[2:-1], "kernel": s.kernel,
                   "params": dict(sorted(s.params.items())), "inputs": s.inputs, "outputs": s.outputs,
                   "reason": s.reason} | _body_fields(s, weights) for s in plan.steps],
        "inputs": [[p.name, p.buffer] for p in plan.inputs],
        "outputs": [[p.name, p.buffer] for p in plan.outputs],
        "weights": [{"buffer": w.buffer, "dtype": w.dtype.value, "shape": w.shape, "offset": w.offset,
                     "length": w.length} for w in own],
        "arena": arena,
        "ranges": [[name, *limits] for name, limits in plan.ranges.items()],
    }


def _body_fields(step: Step, weights: Iterator[tuple[Weight, ...]]) -> dict[str, Any]:
    bodies = {name: _plan_fields(body, weights) for name, body in step.op.bodies.items()}
    return {"bodies": bodies} if bodies else {}


def parse_header(data: bytes) -> Header:
    """The inverse of `format_header`. Raises PlanInvalid where a field is missing, unknown, doubled, of the wrong JSON
    type or out of range, where it is not the text of an operator or a type, or where weights overlap or leave gaps."""
    found: list[tuple[Weight, ...]] = []
    plan = _plan(parse_json(data), "the header", found, 0)
    return Header(plan, tuple(found))


def _plan(value: Any, where: str, found: list[tuple[Weight, ...]], depth: int) -> Plan:
    """The plan that `value` describes; the places of its weights and of those of its bodies are appended to `found`."""
    if depth > MAX_DEPTH:
        _fail(f"bodies are nested deeper than {MAX_DEPTH} levels")
    top = _object(value, where, ("name", "target", "lanes", "producer", "buffers", "steps", "inputs", "outputs",
                                 "weights", "arena", "ranges"))
    at = "" if depth == 0 else f"{where}."
    buffers = _items(top["buffers"], f"{at}buffers", _buffer)
    weights = _items(top["weights"], f"{at}weights", _weight)
    found.append(weights)
    plan = Plan(
        name=_text(top["name"], f"{at}name"),
        target=_text(top["target"], f"{at}target"),
        lanes=_integer(top["lanes"], f"{at}lanes", 1, 64),
        buffers=buffers,
        steps=_items(top["steps"], f"{at}steps", lambda v, w: _step(v, w, found, depth)),
        inputs=_items(top["inputs"], f"{at}inputs", _port),
        outputs=_items(top["outputs"], f"{at}outputs", _port),
        weights={},
        arena=None if top["arena"] is None else _arena(top["arena"], f"{at}arena"),
        producer=_text(top["producer"], f"{at}producer"),
        ranges=dict(_items(top["ranges"], f"{at}ranges", _range)),
    )
    numbers = [w.buffer for w in weights] + list(plan.arena.offsets if plan.arena else ())
    bad = next((n for n in numbers if n >= len(buffers)), None)
    if bad is not None:
        _fail(f"weights and arena refer to the buffer {bad}, but there are {len(buffers)}")
    if len({w.buffer for w in weights}) != len(weights):
        _fail("two weights belong to one buffer")
    return plan


def parse_json(data: bytes) -> Any:
    """The JSON in `data`: UTF-8, no key twice, no fractions, no integer beyond 64 bits, no NaN or Infinity."""
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_int=_parse_int,
                          parse_float=_no_number, parse_constant=_no_number)
    except ValueError as error:
        _fail(f"it is not JSON ({error})")
    except RecursionError:
        _fail("it is nested too deeply")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        keys = [k for k, _ in pairs]
        _fail(f"the key {_show(next(k for k in keys if keys.count(k) > 1))} is given twice")
    return out


def _parse_int(text: str) -> int:
    value = int(text) if len(text) <= 20 else LARGEST + 1
    if abs(value) > LARGEST:
        _fail(f"the integer {text[:20]} has more than 64 bits")
    return value


def _no_number(text: str) -> NoReturn:
    _fail(f"{text[:20]} is not an integer, and no other numbers occur in a plan")


def _buffer(value: Any, where: str) -> Buffer:
    name, text, layout = _list(value, where, 3)
    return Buffer(_text(name, f"{where}[0]"), _type(text, f"{where}[1]"), _text(layout, f"{where}[2]"))


def _type(value: Any, where: str) -> TensorType:
    text = _text(value, where)
    try:
        type_ = parse_type(text) if len(text) <= MAX_TEXT else None
    except GraphError as error:
        _fail(f"{where}: {error}")
    if type_ is None or type_.rank > MAX_RANK or _extent(type_.shape) > LARGEST:
        _fail(f"{where}: {_show(text)} is not a tensor type of at most {MAX_RANK} sizes whose elements 64 bits can "
              f"count")
    return type_


def _extent(shape: tuple[Any, ...]) -> int:
    """The elements of a tensor of this shape, were its symbolic and empty dimensions 1."""
    return math.prod(d for d in shape if isinstance(d, int) and d > 0)


def _port(value: Any, where: str) -> Port:
    name, buffer = _list(value, where, 2)
    return Port(_text(name, f"{where}[0]"), _integer(buffer, f"{where}[1]"))


def _step(value: Any, where: str, found: list[tuple[Weight, ...]], depth: int) -> Step:
    names = ("name", "op", "attributes", "kernel", "params", "inputs", "outputs", "reason")
    bodies = getattr(OPS.get(value["op"]), "body_fields", ()) if isinstance(value, dict) \
        and isinstance(value.get("op"), str) else ()
    fields = _object(value, where, (*names, "bodies") if bodies else names)
    plans = _object(fields["bodies"], f"{where}.bodies", bodies) if bodies else {}
    inputs = _items(fields["inputs"], f"{where}.inputs", lambda v, w: None if v is None else _integer(v, w))
    outputs = _items(fields["outputs"], f"{where}.outputs", _integer)
    return Step(
        name=_text(fields["name"], f"{where}.name"),
        op=_op(fields, where, {name: _plan(plans[name], f"{where}.bodies.{name}", found, depth + 1)
                               for name in bodies}),
        kernel=_text(fields["kernel"], f"{where}.kernel"),
        inputs=inputs,
        outputs=outputs,
        params=_params(fields["params"], f"{where}.params"),
        reason=_text(fields["reason"], f"{where}.reason"),
    )


def _op(fields: Mapping[str, Any], where: str, bodies: Mapping[str, Plan]) -> Op:
    op_type = _text(fields["op"], f"{where}.op")
    attributes = _text(fields["attributes"], f"{where}.attributes")
    try:
        return make_op(OPS, op_type, {**parse_attributes(attributes), **bodies}) if bodies else \
            _plain_op(op_type, attributes)
    except GraphError as error:
        _fail(f"{where}: {error}")


@functools.lru_cache(1024)  # the same few come again and again
def _plain_op(op_type: str, attributes: str) -> Op:
    return make_op(OPS, op_type, parse_attributes(attributes))


def _params(value: Any, where: str) -> dict[str, int | str]:
    if not isinstance(value, dict):
        _fail(f"{where} must be an object, not {_show(value)}")
    return {key: v if isinstance(v, str) else _integer(v, f"{where}[{_show(key)}]", -LARGEST)
            for key, v in value.items()}


def _pair(value: Any, where: str) -> tuple[int, int]:
    first, second = _list(value, where, 2)
    return _integer(first, f"{where}[0]"), _integer(second, f"{where}[1]")


def _weight(value: Any, where: str) -> Weight:
    fields = _object(value, where, ("buffer", "dtype", "shape", "offset", "length"))
    name = _text(fields["dtype"], f"{where}.dtype")
    if name not in DTYPES:
        _fail(f"{where}.dtype must be an element type such as f32, not {_show(name)}")
    dtype = DType(name)
    shape = _items(fields["shape"], f"{where}.shape", _integer)
    length = _integer(fields["length"], f"{where}.length")
    if len(shape) > MAX_RANK or _extent(shape) > LARGEST or math.prod(shape) * dtype.itemsize != length:
        _fail(f"{where}: {length} bytes are not the length of {name}[{_show(list(shape))[1:-1]}]")
    return Weight(_integer(fields["buffer"], f"{where}.buffer"), dtype, shape,
                  _integer(fields["offset"], f"{where}.offset"), length)


def _arena(value: Any, where: str) -> Arena:
    fields = _object(value, where, ("size", "lower_bound", "offsets"))
    size = _integer(fields["size"], f"{where}.size")
    pairs = _items(fields["offsets"], f"{where}.offsets", _pair)
    offsets = dict(pairs)
    if len(offsets) != len(pairs):
        _fail(f"{where}.offsets places a buffer twice")
    if any(offset > size for offset in offsets.values()):
        _fail(f"{where}.offsets places a buffer outside the arena of {size} bytes")
    return Arena(size, _integer(fields["lower_bound"], f"{where}.lower_bound", 0, size), offsets)


def _range(value: Any, where: str) -> tuple[str, tuple[int, int]]:
    name, low, high = _list(value, where, 3)
    return _text(name, f"{where}[0]"), (_integer(low, f"{where}[1]"), _integer(high, f"{where}[2]"))


def _object(value: Any, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        _fail(f"{where} must be an object, not {_show(value)}")
    for key in (*keys, *value):
        if key not in value:
            _fail(f"{where} lacks the key {_show(key)}")
        if key not in keys:
            _fail(f"{where} has the unknown key {_show(key)}")
    return value


def _list(value: Any, where: str, count: int | None = None) -> list[Any]:
    if not isinstance(value, list) or count not in (None, len(value)):
        _fail(f"{where} must be a list{'' if count is None else f' of {count}'}, not {_show(value)}")
    return value


def _items(value: Any, where: str, read: Callable[[Any, str], T]) -> tuple[T, ...]:
    return tuple(read(v, f"{where}[{i}]") for i, v in enumerate(_list(value, where)))


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_STRING:
        _fail(f"{where} must be a string of at most {MAX_STRING} characters, not {_show(value)}")
    return value


def _integer(value: Any, where: str, low: int = 0, high: int = LARGEST) -> int:
    if type(value) is not int or not low <= value <= high:
        limit = f"at least {low}" if high == LARGEST else f"from {low} to {high}"
        _fail(f"{where} must be an integer {limit}, not {_show(value)}")
    return value


def _show(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fail(problem: str) -> NoReturn:
    raise PlanInvalid(f"the plan's header is wrong: {problem}")
