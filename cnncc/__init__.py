"""A compiler for convolutional networks: ONNX in, a plan out, run on a Numba runtime."""
