"""Every kernel of the CPU runtime, by name."""

from types import ModuleType

from cnncc.lazy import LazyTable
from cnncc.runtime.cpu.kernel import Kernel

# module -> the names of its kernels, alphabetical by file
_MODULES = {
    "executor": "executor_run executor_work",
    "worker_pool": "pool_parallel_for pool_worker",
    "kernels.affine_grid": "affine_grid",
    "kernels.arg_extreme": "arg_extreme",
    "kernels.attention": "attention",
    "kernels.col2im": "col2im",
    "kernels.conv_depthwise": "conv_depthwise",
    "kernels.conv_direct": "conv_direct",
    "kernels.conv_first": "conv_first",
    "kernels.conv_grouped": "conv_grouped",
    "kernels.conv_grouped_1x1": "conv_grouped_1x1",
    "kernels.conv_integer": "conv_integer",
    "kernels.conv_integer_depthwise": "conv_integer_depthwise",
    "kernels.conv_integer_first": "conv_integer_first",
    "kernels.conv_plain": "conv_plain",
    "kernels.conv_pointwise_depthwise": "conv_pointwise_depthwise",
    "kernels.conv_strassen": "conv_strassen",
    "kernels.conv_transpose": "conv_transpose",
    "kernels.conv_winograd": "conv_winograd",
    "kernels.conv_winograd_raw": "conv_winograd_raw",
    "kernels.copy": "copy",
    "kernels.crc32": "crc32",
    "kernels.cumulate": "cumulate",
    "kernels.deform_conv": "deform_conv",
    "kernels.elementwise": "elementwise",
    "kernels.gather": "gather",
    "kernels.gather_elements": "gather_elements scatter_elements",
    "kernels.gather_nd": "gather_nd scatter_nd",
    "kernels.gemm": "gemm",
    "kernels.gemm_integer": "gemm_integer",
    "kernels.grid_sample": "grid_sample",
    "kernels.join": "join",
    "kernels.limits": "limit_fma limit_read",
    "kernels.lookup": "lookup",
    "kernels.lrn": "lrn",
    "kernels.normalize": "normalize",
    "kernels.nothing": "nothing",
    "kernels.pad": "pad",
    "kernels.pool": "pool pool_columns",
    "kernels.pool_integer": "pool_integer",
    "kernels.quantize_dynamic": "quantize_dynamic",
    "kernels.recurrence": "recurrence",
    "kernels.reduce": "reduce",
    "kernels.reorder": "reorder",
    "kernels.resize": "resize",
    "kernels.reverse_sequence": "reverse_sequence",
    "kernels.roi_align": "roi_align",
    "kernels.roi_pool": "roi_pool",
    "kernels.softmax": "softmax",
    "kernels.suppression": "list_boxes suppress_boxes",
    "kernels.top_k": "top_k",
    "kernels.unpool": "pool_places unpool",
}


def _kernels(module: ModuleType) -> dict[str, Kernel]:
    return {value.name: value for value in vars(module).values() if isinstance(value, Kernel)}


KERNELS: LazyTable[Kernel] = LazyTable("cnncc.runtime.cpu", _MODULES, _kernels)
