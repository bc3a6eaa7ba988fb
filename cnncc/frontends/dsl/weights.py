"""Where a network's weights come from: a file, an initialisation by seed, or nowhere yet."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import ModelError
from ...ir import TensorType
from ...records import record

__all__ = ["MAX_DRAWN", "MAX_ELEMENTS", "Absent", "Given", "Initial", "Seeded", "Weights", "load_weights"]

MAX_ELEMENTS = 2**33  # of one weight
MAX_DRAWN = 2**32  # bytes of all weights that are drawn
_IGNORED = ".num_batches_tracked"  # a counter in PyTorch's state dicts, of use in training only

Array = np.ndarray[Any, Any]


@record
class Initial:
    """How a weight is drawn.

    kind: "he" (normal, variance 2/fan_in; He et al. 2015), "xavier" (uniform, variance 2/(fan_in + fan_out);
    Glorot and Bengio 2010), "normal" (standard deviation `a`), "uniform" (from a to b) or "fill" (a).
    """

    kind: str
    a: float = 0.0
    b: float = 0.0


class Weights(Protocol):
    """Gives the contents of a weight when its layer is built."""

    def array(self, name: str, type_: TensorType, initial: Initial) -> Array: ...


class Absent:
    """Zeros that take no memory: enough for shapes and counts."""

    def array(self, name: str, type_: TensorType, initial: Initial) -> Array:
        _check_size(name, type_)
        return np.broadcast_to(np.zeros((), type_.dtype.numpy), type_.static_shape)


class Seeded:
    """Draws each weight from a generator of its own, seeded by `seed` and the weight's name: neither the order of the
    layers nor a change elsewhere in the network alters it."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._drawn = 0

    def array(self, name: str, type_: TensorType, initial: Initial) -> Array:
        _check_size(name, type_)
        self._drawn += type_.nbytes
        if self._drawn > MAX_DRAWN:
            raise ModelError(f"the weights up to '{name}' have more than {MAX_DRAWN:,} bytes: give them in a file")
        shape, dtype = type_.static_shape, type_.dtype.numpy
        if initial.kind == "fill":
            return np.full(shape, initial.a, dtype)
        if not type_.dtype.is_float:
            return np.zeros(shape, dtype)
        digest = hashlib.blake2b(f"{self._seed}:{name}".encode(), digest_size=16).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
        if initial.kind == "uniform":
            return rng.uniform(initial.a, initial.b, shape).astype(dtype)
        fan_out = shape[0] * math.prod(shape[2:]) if shape else 1
        fan_in = math.prod(shape[1:]) or 1
        if initial.kind == "xavier":
            limit = math.sqrt(6 / (fan_in + fan_out))
            return ((rng.random(shape, np.float32) * 2 - 1) * np.float32(limit)).astype(dtype, copy=False)
        deviation = math.sqrt(2 / fan_in) if initial.kind == "he" else initial.a
        drawn = rng.standard_normal(shape, np.float32)
        drawn *= np.float32(deviation)
        return drawn.astype(dtype, copy=False)


class Given:
    """Arrays by name. What does not fit is collected: `check` raises one error that lists all of it."""

    def __init__(self, arrays: Mapping[str, Array], origin: str = "the weights") -> None:
        self._arrays, self._origin = arrays, origin
        self._asked: set[str] = set()
        self._problems: list[str] = []

    def array(self, name: str, type_: TensorType, initial: Initial) -> Array:
        self._asked.add(name)
        found = self._arrays.get(name)
        wanted = type_.dtype.numpy
        if found is None:
            self._problems.append(f"missing: {name} {type_}")
        elif found.shape != type_.static_shape:
            self._problems.append(f"of another shape: {name} is {list(found.shape)}, the network has {type_}")
        elif found.dtype.kind != wanted.kind and found.dtype != wanted:
            self._problems.append(f"of another type: {name} is {found.dtype}, the network has {type_}")
        else:
            return np.ascontiguousarray(found, wanted).reshape(found.shape)
        return Absent().array(name, type_, initial)

    def check(self) -> None:
        extra = [f"not in the network: {name} {array.dtype}{list(array.shape)}" for name, array in self._arrays.items()
                 if name not in self._asked and not name.endswith(_IGNORED)]
        problems = self._problems + extra
        if problems:
            raise ModelError(f"{self._origin} do not fit the network in {len(problems)} places:\n"
                             + "\n".join(f"  - {p}" for p in problems))


def load_weights(path: str | Path) -> dict[str, Array]:
    """The arrays of a .safetensors or .npz file by name. Raises ModelError where it is neither."""
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
    except OSError as error:
        raise ModelError(f"cannot read the weights '{path}': {error.strerror or error}") from None
    except Exception as error:
        # both libraries raise errors of many kinds on damaged files
        raise ModelError(f"'{path}' is not a file of weights: {error}") from None
    raise ModelError(f"'{path}' is not a file of weights: its name must end in .safetensors or .npz")


def _check_size(name: str, type_: TensorType) -> None:
    if math.prod(type_.static_shape) > MAX_ELEMENTS:
        raise ModelError(f"the weight '{name}' {type_} has more than {MAX_ELEMENTS:,} elements")
