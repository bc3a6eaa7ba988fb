"""Choosing convolution kernels by measuring them on this machine, and telling what was chosen."""
