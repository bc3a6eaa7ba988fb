"""A compiler for convolutional networks: ONNX in, an optimised plan out, run on a Numba runtime."""

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
