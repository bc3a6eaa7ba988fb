"""Mutants of plan files whose checksums are right: what a validator has to see through.

A mutant is a seed with one to four edits. An edit knows what it alters: steps, operators, types, weights, memory,
ports. After some, the types of all that is computed are inferred anew, as the operators would have it, so that mutants
do not all end at the first type that does not fit.
"""

from __future__ import annotations

import contextlib
import json
import random

import numpy as np

from cnncc.errors import CnnccError

from .plan_draft import Draft, seal, take_apart
from .plan_edits import EDITS
from .plan_seeds import seeds

__all__ = ["mutant"]

SPOILT = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, BufferError, AssertionError, CnnccError)


def mutant(numbers: np.random.Generator) -> bytes:
    """One mutant of one seed."""
    rng = random.Random(int(numbers.integers(2**63)))
    header, weights = take_apart(rng.choice(seeds()))
    draft = Draft(header, bytearray(weights), rng)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        edit = rng.choices(list(EDITS), list(EDITS.values()))[0]
        with contextlib.suppress(*SPOILT):
            edit(draft)
    if rng.random() < 0.5:
        with contextlib.suppress(*SPOILT):
            draft.repair()
    return _sealed(draft, rng)


def _sealed(draft: Draft, rng: random.Random) -> bytes:
    text = bytearray(json.dumps(draft.header, separators=(",", ":")).encode())
    if rng.random() < 0.02:
        at = rng.randrange(len(text))
        text[at:at + rng.choice((0, 1, 1, 2))] = rng.choice((b"", b"9", b"[", b'"', b"}", b",", b"\xff", b"1e9",
                                                             b"\\ud800"))
    if rng.random() < 0.01:
        odd = rng.choice(({"version": 2}, {"features": 1}, {"spare": 1}, {"start": 64}, {"total": 1 << 40}))
        return seal(bytes(text), bytes(draft.weights), **odd)
    data = seal(bytes(text), bytes(draft.weights))
    if rng.random() < 0.005:
        at = rng.randrange(len(data))
        flipped = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]
        return rng.choice((data[:at], data + data[at:], flipped))
    return data
