"""Every kernel of the CPU runtime, by name. One line a kernel, alphabetical by file."""

from cnncc.runtime.cpu import executor, worker_pool
from cnncc.runtime.cpu.kernels import conv_depthwise
from cnncc.runtime.cpu.kernels import conv_direct
from cnncc.runtime.cpu.kernels import conv_winograd
from cnncc.runtime.cpu.kernels import conv_grouped
from cnncc.runtime.cpu.kernels import copy
from cnncc.runtime.cpu.kernels import elementwise
from cnncc.runtime.cpu.kernels import gemm
from cnncc.runtime.cpu.kernels import pool
from cnncc.runtime.cpu.kernels import reduce
from cnncc.runtime.cpu.kernels import reorder

_ALL = (
    executor.RUN,
    executor.WORK,
    worker_pool.PARALLEL_FOR,
    worker_pool.WORKER,
    conv_depthwise.KERNEL,
    conv_direct.KERNEL,
    conv_winograd.KERNEL,
    conv_grouped.KERNEL,
    copy.KERNEL,
    elementwise.KERNEL,
    gemm.KERNEL,
    pool.KERNEL,
    reduce.KERNEL,
    reorder.KERNEL,
)

KERNELS = {kernel.name: kernel for kernel in _ALL}
