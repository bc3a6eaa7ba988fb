"""Mutants of small ONNX models: imported, compiled at each level and run."""

from __future__ import annotations

import math
import os
import signal
import tempfile
import zlib
from pathlib import Path

import numpy as np
from onnx import ModelProto

import cnncc
from cnncc.errors import CnnccError
from cnncc.plan import Plan
from cnncc.runtime.cpu import codegen
from cnncc.runtime.cpu.kernel import make_params
from cnncc.runtime.cpu.kernels.table import KERNELS

from .onnx_mutations import mutate
from .onnx_seeds import seeds
from .subject import Subject

SIZE = 5             # of symbolic dimensions
RUN_BYTES = 1 << 25  # of all tensors: what is larger is compiled only
RUN_SECONDS = 1.0    # a network may ask for a Loop without end: a run ends after these


def mutant(rng: np.random.Generator) -> bytes:
    """A model after some changes of its parts; of every tenth, bytes change as well, or its end is cut off."""
    models = seeds()
    model, other = (ModelProto.FromString(models[rng.integers(len(models))]) for _ in range(2))
    for _ in range(min(int(rng.geometric(0.4)), 8)):
        mutate(rng, model, other)
    data = model.SerializeToString(deterministic=True)
    if rng.integers(10) == 0 and data:
        changed = np.frombuffer(data, np.uint8).copy()
        where = rng.integers(0, len(data), rng.integers(1, 4))
        changed[where] = rng.integers(0, 256, len(where))
        data = changed[:rng.integers(1, len(data) + 1)].tobytes() if rng.integers(3) == 0 else changed.tobytes()
    return bytes(data)


def attempt(data: bytes) -> str:
    """Compiles at a level that the bytes decide on, and runs with zeros."""
    source: bytes | Path = data
    if b"location" in data:
        source = _folder / "model.onnx"
        source.unlink(missing_ok=True)
        source.write_bytes(data)
    plan = cnncc.compile(source, level=zlib.crc32(data) % 3, warm=False)
    try:
        return _run(plan)
    except (CnnccError, MemoryError):
        return "compiled"


class _Enough(BaseException):
    pass


def _run(plan: Plan) -> str:
    """One run on inputs of zeros, every symbolic dimension being SIZE."""
    sizes = dict.fromkeys(plan.symbols, SIZE)
    types = [buffer.type.bind(sizes) for part in plan.walk() for buffer in part.buffers]
    if sum(math.prod(d for d in t.shape if isinstance(d, int)) for t in types) > RUN_BYTES:
        return "compiled, too large to run"
    given = [(port.name, plan.buffers[port.buffer].type.bind(sizes)) for port in plan.inputs]
    session = cnncc.InferenceSession(plan, threads=1)
    signal.setitimer(signal.ITIMER_REAL, RUN_SECONDS)
    try:
        session.run(None, {name: np.zeros(type_.static_shape, type_.dtype.numpy) for name, type_ in given})
    except _Enough:
        return "compiled, ran for too long"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "ran"


def _stop(*_: object) -> None:
    raise _Enough


_folder = Path()


def prepare() -> None:
    """A folder for models with external data, in which there is everything that must not be read."""
    global _folder
    # A run that is stopped while Numba is imported, or compiles for the first time, would leave it there by half.
    codegen.llvm_ir(KERNELS["reorder"], make_params(direction="to_plain", lanes=4, item=4))
    outside = Path(tempfile.mkdtemp(prefix="cnncc-fuzz-"))
    _folder = outside / "model"
    (_folder / "sub").mkdir(parents=True)
    for path in (outside / "w.bin", _folder / "w.bin", _folder / "sub" / "w.bin"):
        path.write_bytes(bytes(range(256)) * 16)
    (_folder / "link.bin").symlink_to(outside / "w.bin")
    (_folder / "folder").symlink_to(outside)
    os.link(outside / "w.bin", _folder / "hard.bin")
    os.mkfifo(_folder / "fifo")
    signal.signal(signal.SIGALRM, _stop)
    np.seterr(all="ignore")
    for data in seeds()[:20]:
        try:
            attempt(data)
        except CnnccError:
            continue


SUBJECT = Subject(mutant, attempt, prepare, ".onnx")
