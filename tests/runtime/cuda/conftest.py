"""These tests run in Numba's CUDA simulator, in a process of their own: see tests/runtime/test_cuda_simulator.py."""

import os

if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
    collect_ignore_glob = ["*"]
