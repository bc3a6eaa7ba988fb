"""What can be fuzzed: one module each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

__all__ = ["CORPUS", "SUBJECTS", "Subject", "corpus", "load_subject"]

# name -> the module of this package whose SUBJECT it is, in the order in which all are run
SUBJECTS: dict[str, str] = {"onnx": "onnx_models", "plans": "plans", "dsl": "networks", "ir": "ir_texts"}

CORPUS = Path(__file__).parent / "corpus"


@dataclass(frozen=True)
class Subject:
    """What is fuzzed, and how.

    Attributes:
        mutant: from random numbers to a case, the bytes of a file. It must depend on nothing else.
        attempt: tries a case and says in a word what came of it ("ran"), for the tally. A CnnccError may leave it,
            which is tallied under its class's name; any other exception is a failure, and so are death and exhaustion.
        prepare: imports and warms up what attempts need, before the limits below hold.
        suffix: of the files in which cases are kept.
        seconds: of processor time (all threads together) that a case may take.
        batch: cases that one process tries, so that what one leaves behind is not there for ever.
        memory: bytes of address space that attempts may take beyond what there is after `prepare`.
    """

    mutant: Callable[[np.random.Generator], bytes]
    attempt: Callable[[bytes], str]
    prepare: Callable[[], None]
    suffix: str
    seconds: float = 10.0
    batch: int = 2000
    memory: int = 1 << 30

    def case(self, seed: int, number: int) -> bytes:
        return self.mutant(np.random.default_rng([seed, number]))


def load_subject(name: str) -> Subject:
    """The subject of this name, or of a module of this package that is in no table."""
    subject: Subject = import_module(f".{SUBJECTS.get(name, name)}", __package__).SUBJECT
    return subject


def corpus(name: str) -> list[Path]:
    """The files that are kept of a subject: what once failed, and what reaches far."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
