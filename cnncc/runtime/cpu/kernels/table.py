"""Every kernel of the CPU runtime, by name. One line a kernel, alphabetical by file."""

from cnncc.runtime.cpu import executor, worker_pool
from cnncc.runtime.cpu.kernels import (
    conv_depthwise,
    conv_direct,
    conv_grouped,
    conv_grouped_1x1,
    conv_winograd,
    copy,
    elementwise,
    gather,
    gemm,
    join,
    limits,
    pad,
    pool,
    reduce,
    reorder,
)

_ALL = (
    executor.RUN,
    executor.WORK,
    worker_pool.PARALLEL_FOR,
    worker_pool.WORKER,
    conv_depthwise.KERNEL,
    conv_direct.KERNEL,
    conv_winograd.KERNEL,
    conv_grouped.KERNEL,
    conv_grouped_1x1.KERNEL,
    copy.KERNEL,
    elementwise.KERNEL,
    gather.KERNEL,
    gemm.KERNEL,
    join.KERNEL,
    limits.FMA,
    limits.READ,
    pad.KERNEL,
    pool.KERNEL,
    reduce.KERNEL,
    reorder.KERNEL,
)

KERNELS = {kernel.name: kernel for kernel in _ALL}
