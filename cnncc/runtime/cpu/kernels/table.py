"""Every kernel of the CPU runtime, by name. One line a kernel, alphabetical by file."""

from cnncc.runtime.cpu import executor, worker_pool
from cnncc.runtime.cpu.kernels import (
    arg_extreme,
    conv_depthwise,
    conv_direct,
    conv_grouped,
    conv_grouped_1x1,
    conv_transpose,
    conv_winograd,
    copy,
    elementwise,
    gather,
    gemm,
    join,
    limits,
    lrn,
    pad,
    pool,
    reduce,
    reorder,
    softmax,
)

_ALL = (
    executor.RUN,
    executor.WORK,
    worker_pool.PARALLEL_FOR,
    worker_pool.WORKER,
    arg_extreme.KERNEL,
    conv_depthwise.KERNEL,
    conv_direct.KERNEL,
    conv_winograd.KERNEL,
    conv_grouped.KERNEL,
    conv_grouped_1x1.KERNEL,
    conv_transpose.KERNEL,
    copy.KERNEL,
    elementwise.KERNEL,
    gather.KERNEL,
    gemm.KERNEL,
    join.KERNEL,
    limits.FMA,
    limits.READ,
    lrn.KERNEL,
    pad.KERNEL,
    pool.KERNEL,
    reduce.KERNEL,
    reorder.KERNEL,
    softmax.KERNEL,
)

KERNELS = {kernel.name: kernel for kernel in _ALL}
