"""A compiler for convolutional networks: ONNX in, an optimised plan out, run on a Numba runtime."""

from .compiler import compile
from .errors import CnnccError
from .plan import Plan
from .session import InferenceSession

__version__ = "0.1.0"

__all__ = ["CnnccError", "InferenceSession", "Plan", "__version__", "compile", "verify"]


def __getattr__(name: str) -> object:
    if name == "verify":
        from .verify import verify

        return verify
    raise AttributeError(f"module 'cnncc' has no attribute '{name}'")
