"""A plan file taken apart, to be altered and sealed again with right checksums."""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from cnncc.ir import DType, Operand, known_outputs, make_op, name_unknown, parse_attributes, parse_type
from cnncc.ops import OPS

__all__ = ["Draft", "Header", "seal", "take_apart"]

Header = dict[str, Any]


def take_apart(data: bytes) -> tuple[Header, bytes]:
    """The header and the weights of a plan file."""
    length, start = struct.unpack_from("<QQ", data, 16)
    return json.loads(data[64:64 + length]), data[start:]


def seal(header: bytes, weights: bytes, *, version: int = 1, features: int = 0, spare: int = 0,
         start: int | None = None, total: int | None = None) -> bytes:
    """A plan file with right checksums, built from the description of the format, independently of the writer."""
    end = -(-(64 + len(header)) // 64) * 64
    start = end if start is None else start
    prelude = struct.pack("<8sIIQQQQIII", b"CNNCCPLN", version, features, len(header), start, len(weights),
                          start + len(weights) if total is None else total, zlib.crc32(header), zlib.crc32(weights),
                          spare)
    prelude += struct.pack("<I", zlib.crc32(prelude))
    return prelude + header + bytes(end - 64 - len(header)) + weights


def _walk(plan: Header) -> Iterator[Header]:
    yield plan
    for step in plan["steps"]:
        for body in step.get("bodies", {}).values():
            yield from _walk(body)


class Draft:
    """A plan file in the making."""

    def __init__(self, header: Header, weights: bytearray, rng: random.Random) -> None:
        self.header, self.weights, self.rng = header, weights, rng

    def plans(self) -> Iterator[Header]:
        """The plan and the plans of its bodies, as Plan.walk has them."""
        return _walk(self.header)

    def plan(self) -> Header:
        found = list(self.plans())
        return found[0] if self.rng.random() < 0.6 else self.rng.choice(found)

    def step(self) -> Header:
        step: Header = self.rng.choice(self.plan()["steps"])
        return step

    def values(self, weight: Header) -> np.ndarray:
        """The contents of a weight, to be written."""
        raw = np.frombuffer(self.weights, np.uint8)[weight["offset"]:weight["offset"] + weight["length"]]
        return raw.view(DType(weight["dtype"]).numpy)

    def lay_out(self, contents: dict[int, bytes]) -> None:
        """Places all weights anew; those whose id() is in `contents` get these bytes."""
        out = bytearray()
        for plan in self.plans():
            for weight in plan["weights"]:
                begin, end = weight["offset"], weight["offset"] + weight["length"]
                own = contents.get(id(weight), bytes(self.weights[begin:end]))
                out += bytes(-len(out) % 64)
                weight["offset"], weight["length"] = len(out), len(own)
                out += own
        self.weights = out

    def repair(self) -> None:
        """Infers the types of what steps compute, as far as operators accept their operands; memory is then planned
        when the plan is loaded."""
        for plan in reversed(list(self.plans())):
            _infer(self, plan)
            if self.rng.random() < 0.8:
                plan["arena"] = None


def _infer(draft: Draft, plan: Header) -> None:
    known: dict[int, Any] = {
        w["buffer"]: draft.values(w).reshape(w["shape"]) for w in plan["weights"] if w["length"] <= 256}
    fresh = (f"s{n}" for n in range(1000))
    for step in plan["steps"]:
        bodies = {name: _Body(body) for name, body in step.get("bodies", {}).items()}
        op = make_op(OPS, step["op"], parse_attributes(step["attributes"]) | bodies)
        operands = [None if b is None else Operand(parse_type(plan["buffers"][b][1]), known.get(b))
                    for b in step["inputs"]]
        op.check_arity([o is not None for o in operands])
        inferred = op.infer(*operands)
        types, _ = name_unknown(inferred[:len(step["outputs"])], fresh)
        for b, type_, value in zip(step["outputs"], types, known_outputs(op, operands, inferred), strict=False):
            plan["buffers"][b][1] = str(type_)
            if value is not None:
                known[b] = value


class _Body:
    """What an operator asks of a body."""

    def __init__(self, plan: Header) -> None:
        self.plan = plan

    @property
    def signature(self) -> Any:
        return tuple(tuple(parse_type(self.plan["buffers"][b][1]) for _, b in self.plan[ports])
                     for ports in ("inputs", "outputs"))

    def first_result(self, number: int) -> tuple[bool, Any]:
        return self.plan["outputs"][0][1] == self.plan["inputs"][number][1], None
