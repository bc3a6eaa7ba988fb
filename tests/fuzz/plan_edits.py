"""Edits of plan files. Each alters one thing; many are wrong only in company."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Callable

import numpy as np

from cnncc.ir import DType
from cnncc.ops import OPS
from cnncc.runtime.cpu.kernels.table import KERNELS as NATIVE

from .plan_draft import Draft, take_apart
from .plan_seeds import seeds

__all__ = ["EDITS"]

INTEGERS = (0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 4096, -1, -2, 2**31 - 1, 2**31, 2**32,
            2**40, 2**53, 2**62, 2**63 - 1, -2**63, 2**63, 10**30)
DIMS = ("0", "1", "2", "3", "4", "5", "8", "15", "16", "17", "33", "N", "M", "u0", "N+1", "2*N", "N//2", "N*M", "N-1",
        "H*W", "(N+3)//2", "N%4", "65536", "4294967296", "9223372036854775807")
TYPES = tuple(t.value for t in DType)
WORDS = ("true", "false", "relu", "sigmoid", "hard_swish", "leaky_relu(0.5)", "clip(0.0,6.0)", "gelu", '"SAME_UPPER"',
         '"linear"', '"reflect"', '"edge"', '"wrap"', '"border"', "0", "1", "-1", "2", "3", "7", "1.5", "nan", "inf",
         "-0.0", "9223372036854775807", "[1,1]", "[2,2]", "[0,0,0,0]", "[1,2,0,1]", "[-1,0]", "[3,3]", "f64", "i8")
OTHERS = (None, True, False, "", "x", [], {}, [0], [[0, 0]], {"a": 1}, 0, -1, 1.5)


def any_value(draft: Draft) -> None:
    """Whatever stands somewhere, replaced by something of its kind, or of none."""
    rng, parent = draft.rng, draft.header
    while True:
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        key = rng.choice(list(keys))
        child = parent[key]
        if not isinstance(child, (dict, list)) or not child or rng.random() < 0.05:
            break
        parent = child
    if rng.random() < 0.1:
        parent[key] = copy.deepcopy(rng.choice(OTHERS))
    elif isinstance(child, int):
        parent[key] = rng.choice((child + 1, child - 1, 2 * child, child + 64, rng.choice(INTEGERS), rng.randrange(20)))
    elif isinstance(parent, list) and rng.random() < 0.5:
        rng.choice((lambda: parent.pop(key), lambda: parent.insert(key, copy.deepcopy(child)),
                    lambda: rng.shuffle(parent)))()
    else:
        parent[key] = copy.deepcopy(rng.choice(OTHERS))


def dimension(draft: Draft) -> None:
    buffer = draft.rng.choice(draft.plan()["buffers"])
    name, _, rest = buffer[1].partition("[")
    dims = rest[:-1].split(",") if rest[:-1] else []
    what = draft.rng.random()
    if what < 0.75 and dims:
        dims[draft.rng.randrange(len(dims))] = draft.rng.choice(DIMS)
    elif what < 0.85:
        dims.insert(draft.rng.randint(0, len(dims)), draft.rng.choice(DIMS))
    elif dims:
        dims.pop(draft.rng.randrange(len(dims)))
    buffer[1] = f"{name}[{','.join(dims)}]"


def element_type(draft: Draft) -> None:
    buffer = draft.rng.choice(draft.plan()["buffers"])
    buffer[1] = draft.rng.choice(TYPES) + buffer[1][buffer[1].index("["):]


def input_size(draft: Draft) -> None:
    """Another size of an input, and all that follows from it."""
    plan = draft.plan()
    buffer = plan["buffers"][draft.rng.choice(plan["inputs"])[1]]
    name, _, rest = buffer[1].partition("[")
    dims = rest[:-1].split(",")
    dims[draft.rng.randrange(len(dims))] = draft.rng.choice(DIMS)
    buffer[1] = f"{name}[{','.join(dims)}]"
    draft.repair()


def layout(draft: Draft) -> None:
    buffer = draft.rng.choice(draft.plan()["buffers"])
    buffer[2] = draft.rng.choice(("plain", "blocked", "blocked", "plain", "nhwc", ""))


def lanes(draft: Draft) -> None:
    value = draft.rng.choice((1, 2, 3, 4, 8, 16, 32, 64, 0, 5))
    for plan in draft.plans():
        plan["lanes"] = value


def body_lanes(draft: Draft) -> None:
    draft.plan()["lanes"] = draft.rng.choice((4, 8, 16, 7))


def kernel(draft: Draft) -> None:
    step = draft.step()
    step["kernel"] = draft.rng.choice(KERNELS)
    if draft.rng.random() < 0.5:
        step["params"] = copy.deepcopy(draft.rng.choice(PARAMS))


def parameter(draft: Draft) -> None:
    params, rng = draft.step()["params"], draft.rng
    if params and rng.random() < 0.7:
        name = rng.choice(list(params))
        params[name] = rng.choice((*range(0, 13), -1, 16, 2**40, "2", "", "relu"))
    else:
        name = rng.choice(("rows", "vectors", "m", "packed", "sums", "x"))
        params[name] = rng.choice((0, 1, 2, 3, 4, 6, 8, 12))


def attribute(draft: Draft) -> None:
    """A number or a word in an operator's attributes, or one more of them."""
    step, rng = draft.step(), draft.rng
    parts = re.split(r"(-?\d+\.?\d*|(?<==)[a-z_]+(?:\([^)]*\))?|\"\w+\")", step["attributes"])
    if len(parts) > 1 and rng.random() < 0.75:
        at = rng.randrange(1, len(parts), 2)
        parts[at] = str(rng.choice(WORDS)) if rng.random() < 0.7 else str(rng.choice(INTEGERS))
        step["attributes"] = "".join(parts)
    else:
        names = [f.name for f in dataclasses.fields(OPS[step["op"]])]
        given = f"{rng.choice(names)}={rng.choice(WORDS)}"
        step["attributes"] = ", ".join(filter(None, [step["attributes"], given]))
    if rng.random() < 0.5:
        draft.repair()


def operator(draft: Draft) -> None:
    """Another operator."""
    step = draft.step()
    step["op"] = draft.rng.choice(NAMES)
    if draft.rng.random() < 0.7:
        step["attributes"] = ""
    if draft.rng.random() < 0.3:
        step["kernel"] = draft.rng.choice(("reference", "elementwise", "alias", "known", "copy", "reduce"))
        step["params"] = {}


def operand(draft: Draft) -> None:
    """A step reads something else."""
    plan, rng = draft.plan(), draft.rng
    inputs = rng.choice(plan["steps"])["inputs"]
    at = rng.randrange(len(inputs))
    count = len(plan["buffers"])
    inputs[at] = rng.choice((None, rng.randrange(count + 1), rng.randrange(count), inputs[0]))


def operands(draft: Draft) -> None:
    """More or fewer, or in another order."""
    plan, rng = draft.plan(), draft.rng
    inputs = rng.choice(plan["steps"])["inputs"]
    rng.choice((lambda: inputs.pop(), lambda: inputs.append(rng.randrange(len(plan["buffers"]))),
                lambda: rng.shuffle(inputs), lambda: inputs.append(None)))()


def result(draft: Draft) -> None:
    plan, rng = draft.plan(), draft.rng
    outputs = rng.choice(plan["steps"])["outputs"]
    if rng.random() < 0.6:
        outputs[rng.randrange(len(outputs))] = rng.randrange(len(plan["buffers"]))
    elif rng.random() < 0.5:
        outputs.append(rng.randrange(len(plan["buffers"])))
    else:
        outputs.pop()


def order(draft: Draft) -> None:
    """Steps trade places, come twice or not at all."""
    steps, rng = draft.plan()["steps"], draft.rng
    a, b = rng.randrange(len(steps)), rng.randrange(len(steps))
    what = rng.randrange(3)
    if what == 0:
        steps[a], steps[b] = steps[b], steps[a]
    elif what == 1:
        steps.insert(a, copy.deepcopy(steps[b]))
    else:
        del steps[a]


def another_step(draft: Draft) -> None:
    """One more step of an operator of one operand, on something that is there, and maybe given out."""
    plan, rng = draft.plan(), draft.rng
    at = rng.randint(0, len(plan["steps"]))
    source, target = rng.randrange(len(plan["buffers"])), len(plan["buffers"])
    op, how = rng.choice((("Relu", "elementwise"), ("Identity", "alias"), ("Identity", "reorder"), ("Flatten", "alias"),
                          ("Sigmoid", "elementwise"), ("Identity", "copy"), ("Shape", "known"), ("Neg", "reference"),
                          ("NonZero", "reference"), ("Transpose", "copy")))
    kept = plan["buffers"][source][2]
    kept = {"plain": "blocked", "blocked": "plain"}.get(kept, kept) if how == "reorder" else kept
    plan["buffers"].append([f"new{target}", plan["buffers"][source][1], kept])
    plan["steps"].insert(at, {"name": f"new{target}", "op": op, "attributes": "", "kernel": how, "params": {},
                              "inputs": [source], "outputs": [target], "reason": ""})
    if rng.random() < 0.5:
        for step in plan["steps"][at + 1:]:
            step["inputs"] = [target if b == source and rng.random() < 0.5 else b for b in step["inputs"]]
    if rng.random() < 0.5:
        plan["outputs"].append([f"new{target}", target])
    if plan["arena"] and rng.random() < 0.5:
        plan["arena"]["offsets"].append([target, rng.choice((0, 64, plan["arena"]["size"]))])
    draft.repair()


def place(draft: Draft) -> None:
    """Where a buffer lies in the arena."""
    arena, rng = draft.plan()["arena"], draft.rng
    offsets = arena["offsets"]
    what = rng.randrange(8)
    if what < 4:
        entry = rng.choice(offsets)
        entry[1] = rng.choice((rng.choice(offsets)[1], entry[1] + 64, entry[1] - 64, entry[1] + 1, entry[1] + 32,
                               arena["size"], 0, rng.choice(INTEGERS)))
    elif what == 4:
        arena["size"] = rng.choice((arena["size"] - 64, arena["size"] - 1, 0, arena["size"] + 64, 2**40, 2**62))
    elif what == 5:
        offsets.pop(rng.randrange(len(offsets)))
    elif what == 6:
        offsets.append([rng.randrange(len(draft.header["buffers"])), 0])
    else:
        rng.choice(offsets)[0] = rng.randrange(len(draft.header["buffers"]))


def port(draft: Draft) -> None:
    """An input or output that is another buffer, one more, or one fewer."""
    plan, rng = draft.plan(), draft.rng
    ports = plan[rng.choice(("inputs", "outputs", "outputs"))]
    what = rng.randrange(4)
    if what < 2:
        rng.choice(ports)[1] = rng.randrange(len(plan["buffers"]))
    elif what == 2:
        ports.append([f"p{len(ports)}", rng.randrange(len(plan["buffers"]))])
    else:
        ports.pop()


def limits(draft: Draft) -> None:
    draft.plan()["ranges"] = draft.rng.choice(([["N", 0, 3]], [["N", 3, 1]], [["q", 1, 2]], [["H", 0, 2**62]], [],
                                               [["N", 1, 4], ["N", 2, 5]]))


def weight(draft: Draft) -> None:
    """What the header says of a weight."""
    rng = draft.rng
    entry = rng.choice(draft.plan()["weights"])
    key = rng.choice(("buffer", "dtype", "shape", "offset", "length"))
    if key == "dtype":
        entry[key] = rng.choice(TYPES)
    elif key == "shape":
        entry[key] = rng.choice((entry[key][::-1], [*entry[key], 1], entry[key][1:], [-1], [2**62, 4]))
    else:
        entry[key] = rng.choice((entry[key] + 1, entry[key] + 64, entry[key] - 64, 0, rng.choice(INTEGERS)))


def contents(draft: Draft) -> None:
    """Other numbers in a weight: also as indices, shapes and axes."""
    rng = draft.rng
    values = draft.values(rng.choice([w for w in draft.plan()["weights"] if w["length"]]))
    at = rng.randrange(values.size)
    if values.dtype.kind == "f":
        values[at] = rng.choice((np.nan, np.inf, -np.inf, 0.0, -1.0, 1e30, 1e-40, 2.0))
    else:
        info = (0, 1) if values.dtype == bool else (np.iinfo(values.dtype).min, np.iinfo(values.dtype).max)
        near = int(values[at]) + 1, int(values[at]) - 1
        number = rng.choice((*info, *near, 0, 1, 2, 3, -1, -2, -5, 7, 64, 2**31, -2**40))
        values[at] = min(max(number, info[0]), info[1])
    if rng.random() < 0.5:
        draft.repair()


def weight_size(draft: Draft) -> None:
    """A weight of another size, its buffer's type and the file with it."""
    rng, plan = draft.rng, draft.plan()
    entry = rng.choice(plan["weights"])
    shape = list(entry["shape"])
    if shape and rng.random() < 0.8:
        at = rng.randrange(len(shape))
        shape[at] = rng.choice((shape[at] + 1, max(shape[at] - 1, 0), 1, 0, 2 * shape[at]))
    else:
        shape.insert(rng.randint(0, len(shape)), 1)
    dtype = DType(entry["dtype"])
    if math.prod(shape) > 1 << 16:
        return
    data = np.resize(draft.values(entry) if entry["length"] else np.zeros(1, dtype.numpy), shape)
    entry["shape"] = shape
    plan["buffers"][entry["buffer"]][1] = f"{dtype.value}[{','.join(map(str, shape))}]"
    draft.lay_out({id(entry): data.tobytes()})
    draft.repair()


def section(draft: Draft) -> None:
    """Bytes of the weights, whatever they are."""
    rng = draft.rng
    what = rng.randrange(4)
    if what == 0:
        draft.weights += bytes(rng.choice((1, 63, 64)))
    elif what == 1:
        del draft.weights[-rng.choice((1, 4, 64)):]
    else:
        for _ in range(rng.choice((1, 4))):
            draft.weights[rng.randrange(len(draft.weights))] = rng.choice((0, 1, 2, 127, 128, 255))


def bodies(draft: Draft) -> None:
    """Another plan as a body, or a plan as a body of itself; copies, since one may hold the other."""
    rng = draft.rng
    places = [(step["bodies"], name) for plan in draft.plans() for step in plan["steps"]
              for name in step.get("bodies", {})]
    holder, name = rng.choice(places)
    what = rng.randrange(3)
    if what == 0:
        holder[name] = copy.deepcopy(rng.choice(list(draft.plans())))
    elif what == 1:
        other, key = rng.choice(places)
        holder[name], other[key] = copy.deepcopy(other[key]), copy.deepcopy(holder[name])
    else:
        holder[rng.choice(("body", "then_branch", "more"))] = holder.pop(name)


EDITS: dict[Callable[[Draft], None], float] = {
    any_value: 3, dimension: 3, element_type: 2, input_size: 4, layout: 3, lanes: 1, body_lanes: 0.3, kernel: 3,
    parameter: 2, attribute: 6, operator: 3, operand: 4, operands: 2, result: 2, order: 2, another_step: 6, place: 5,
    port: 4, limits: 0.5, weight: 2, contents: 5, weight_size: 5, section: 2, bodies: 1,
}
NAMES = tuple(OPS)
KERNELS = ("alias", "body", "known", "reference", "reorder", *NATIVE)
PARAMS = tuple(step["params"] for data in seeds() for step in take_apart(data)[0]["steps"])
