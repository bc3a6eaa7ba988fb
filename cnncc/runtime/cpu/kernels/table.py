"""Every kernel of the CPU runtime, by name. The order is alphabetical by file."""

from cnncc.runtime.cpu.executor import RUN, WORK
from cnncc.runtime.cpu.kernels import conv_direct

KERNELS = {kernel.name: kernel for kernel in (conv_direct.KERNEL, RUN, WORK)}
