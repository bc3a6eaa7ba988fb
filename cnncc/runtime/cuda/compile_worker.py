"""A process that compiles kernels into the kernel cache, as a program: runtime/cpu/compile_pool.py says how it is told
which."""

from __future__ import annotations

import json
import sys

from cnncc.runtime.cuda.codegen import compile_image

__all__: list[str] = []


def _work() -> None:
    for line in sys.stdin:
        name, params, capability = json.loads(line)
        compile_image((name, tuple((k, v) for k, v in params)), tuple(capability))
        print("done", flush=True)


if __name__ == "__main__":
    _work()
