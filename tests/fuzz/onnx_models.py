"""Mutants of small ONNX models: imported, compiled at each level and run."""

from __future__ import annotations

import functools
import zlib

import numpy as np
import onnx
import onnx.parser

from cnncc.errors import CnnccError
from cnncc.plan import Plan

from .subject import Subject

SIZE = 5  # of symbolic dimensions

_CONV = """<ir_version: 8, opset_import: ["": 17]>
net (float[N,3,6,6] x) => (float[N,4,3,3] y) {
    c = Conv<pads = [1,1,1,1], kernel_shape = [3,3]> (x, w, b)
    r = Relu(c)
    y = MaxPool<kernel_shape = [2,2], strides = [2,2]> (r)
}"""


@functools.cache
def _seeds() -> list[bytes]:
    model = onnx.parser.parse_model(_CONV)
    for name, shape in (("w", (4, 3, 3, 3)), ("b", (4,))):
        array = np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return [model.SerializeToString()]


def mutant(rng: np.random.Generator) -> bytes:
    """Some bytes of a model changed."""
    seeds = _seeds()
    data = np.frombuffer(seeds[rng.integers(len(seeds))], np.uint8).copy()
    where = rng.integers(0, len(data), rng.integers(1, 4))
    data[where] = rng.integers(0, 256, len(where))
    return data.tobytes()


def attempt(data: bytes) -> str:
    """Compiles at a level that the bytes decide on, and runs with zeros."""
    import cnncc

    plan = cnncc.compile(data, level=zlib.crc32(data) % 3, warm=False)
    try:
        run_with_zeros(plan)
    except CnnccError:
        return "compiled"
    return "ran"


def run_with_zeros(plan: Plan) -> None:
    """One run on inputs of zeros, every symbolic dimension being SIZE."""
    import cnncc

    sizes = dict.fromkeys(plan.symbols, SIZE)
    types = [(port.name, plan.buffers[port.buffer].type.bind(sizes)) for port in plan.inputs]
    cnncc.InferenceSession(plan, threads=1).run(
        None, {name: np.zeros(type_.static_shape, type_.dtype.numpy) for name, type_ in types})


def prepare() -> None:
    attempt(_seeds()[0])


SUBJECT = Subject(mutant, attempt, prepare, ".onnx")
