"""Every kernel of the CPU runtime, by name. The order is alphabetical by file."""

from cnncc.runtime.cpu.executor import RUN, WORK
from cnncc.runtime.cpu.kernels import conv_direct, reorder

KERNELS = {kernel.name: kernel for kernel in (conv_direct.KERNEL, reorder.KERNEL, RUN, WORK)}
