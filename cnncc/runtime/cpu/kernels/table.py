"""Every kernel of the CPU runtime, by name. The order is alphabetical by file."""

from cnncc.runtime.cpu.executor import RUN, WORK

KERNELS = {kernel.name: kernel for kernel in (RUN, WORK)}
