"""A compiler for convolutional networks: ONNX in, an optimised plan out, run on a Numba runtime."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compiler import compile
    from .errors import CnnccError
    from .language import network
    from .plan import Plan
    from .session import InferenceSession
    from .statistics import Summary, summary
    from .verification import verify

__version__ = "0.1.0"

__all__ = ["CnnccError", "InferenceSession", "Plan", "Summary", "__version__", "compile", "network", "summary",
           "verify"]

# Where the public names are. Each is imported when it is first used: a process that runs a plan has no use for the
# compiler.
_PLACES = {
    "CnnccError": "errors", "InferenceSession": "session", "Plan": "plan", "Summary": "statistics",
    "compile": "compiler", "network": "language", "summary": "statistics", "verify": "verification",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'cnncc' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(f".{_PLACES[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
