"""A subject that fails in every way there is: what the runner must notice."""

from __future__ import annotations

import ctypes
import itertools
import os

import numpy as np

from cnncc.errors import ModelError

from .subject import Subject


def attempt(data: bytes) -> str:
    return WAYS[data[0]]()


def ran() -> str:
    return "ran"


def refused() -> str:
    raise ModelError("what an attempt may raise")


def _other_error() -> str:
    raise ValueError("what it may not")


def _recursion() -> str:
    return _recursion()


def _memory() -> str:
    return str(np.ones(1 << 28).sum())


def _crash() -> str:
    return str(ctypes.string_at(8))


def _endless() -> str:
    return str(sum(itertools.count()))


def _exit() -> str:
    os._exit(3)


WAYS = (ran, _other_error, refused, _recursion, _memory, _crash, _endless, _exit)

SUBJECT = Subject(lambda rng: bytes([int(rng.integers(len(WAYS)))]), attempt, lambda: None, ".bin", seconds=0.3,
                  memory=256 << 20)
