"""Every kernel of the CUDA runtime, by name."""

from __future__ import annotations

from types import ModuleType

from cnncc.lazy import LazyTable
from cnncc.runtime.cuda.kernel import Kernel

__all__ = ["KERNELS"]

# module -> the names of its kernels, alphabetical by file
_MODULES = {
    "arg_extreme": "arg_extreme",
    "attention": "attention",
    "conv_depthwise": "conv_depthwise",
    "conv_direct": "conv_direct",
    "conv_sum": "conv_sum",
    "copy": "copy transpose",
    "elementwise": "elementwise",
    "gather": "gather",
    "conv_winograd": "winograd_input winograd_output",
    "gemm": "gemm gemm_sum",
    "gemv": "gemv",
    "grid_sample": "grid_sample",
    "lrn": "lrn",
    "normalize": "normalize",
    "pad": "pad",
    "pool": "pool max_pool_places",
    "reduce": "reduce",
    "resize": "resize",
    "roi_align": "roi_align",
    "softmax": "softmax",
}


def _kernels(module: ModuleType) -> dict[str, Kernel]:
    return {value.name: value for value in vars(module).values() if isinstance(value, Kernel)}


KERNELS: LazyTable[Kernel] = LazyTable("cnncc.runtime.cuda.kernels", _MODULES, _kernels)
