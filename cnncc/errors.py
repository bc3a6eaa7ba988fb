"""The errors a user may meet. Every message names what is wrong, where, and the remedy."""

from __future__ import annotations

__all__ = [
    "CnnccError", "GraphError", "InputError", "ModelError", "OpError", "PlanCorrupt", "PlanError", "PlanInvalid",
    "PlanVersionError", "UnsupportedError", "VerificationFailed",
]


# What operators and lowerings raise where a file asks of them what nobody thought of; readers of files refuse it.
MISTAKES = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class CnnccError(Exception):
    """Base of all errors that cnncc raises on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 2


class GraphError(CnnccError):
    """A graph or its text form breaks a rule of the IR."""


class OpError(GraphError):
    """An operator's attributes or operands are not acceptable (raised by `Op.infer` and `Op.check`)."""


class ModelError(CnnccError):
    """A model file cannot be read or is not a valid model."""


class UnsupportedError(ModelError):
    """A valid model uses things cnncc does not support; the message lists all of them, `problems` one each."""

    def __init__(self, message: str, problems: list[str] | None = None) -> None:
        super().__init__(message)
        self.problems = problems or []


class PlanError(CnnccError):
    """A plan file cannot be used."""


class PlanCorrupt(PlanError):
    """The bytes of a plan file are damaged: truncated, altered, or not a plan at all."""


class PlanInvalid(PlanError):
    """A plan file is intact, but its contents contradict the operators it names."""


class PlanVersionError(PlanError):
    """A plan file was written by a newer cnncc, or needs a feature this one lacks."""


class InputError(CnnccError):
    """A feed, an argument or a path given by the caller is wrong."""


class VerificationFailed(CnnccError):
    """Outputs differ from the reference by more than the tolerance."""

    exit_code = 1
