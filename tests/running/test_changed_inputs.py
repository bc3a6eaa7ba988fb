"""Another thread changes inputs while a run reads them: a result or one clear error; nothing is remembered wrong."""

from __future__ import annotations

import contextlib
import sys
import threading

import numpy as np

from cnncc import InferenceSession, compile
from cnncc.errors import CnnccError
from cnncc.ir import parse_graph
from cnncc.ops import OPS

from .networks import same

# Indices for a native kernel (Gather) and for a reference (a GatherND of rank 6), sizes that are data, a mask.
TEXT = """graph @net(%x: f32[N,4], %i: i64[M], %s: i64[2], %m: bool[K], %y: f32[1,1,1,1,1,5], %p: i64[P,6]) {
  %0 = Gather(%x, %i) {axis=0} : f32[M,4]
  %1 = Reshape(%0, %s) : f32[a,b]
  %2 = Relu(%1) : f32[a,b]
  %3 = Compress(%x, %m) {axis=0} : f32[c,4]
  %4 = GatherND(%y, %p) : f32[P]
  return %2, %3, %4
}"""


def test_inputs_change_during_a_run() -> None:
    session = InferenceSession(compile(parse_graph(TEXT, OPS)), threads=2)
    good = {"x": np.arange(400, dtype=np.float32).reshape(100, 4), "i": np.arange(100), "s": np.array([4, 100]),
            "m": np.arange(100) % 3 == 0, "y": np.arange(5, dtype=np.float32).reshape(1, 1, 1, 1, 1, 5),
            "p": np.zeros((50, 6), np.int64)}  # fmt: skip
    wanted, stop = session.run(None, good), threading.Event()
    changing = {name: array.copy() for name, array in good.items()}
    other = {"i": [1 << 60, -(1 << 60), 7], "s": [[100, 4], [-1, 2], [1 << 40, 1 << 40]], "m": [True, False],
             "p": [1 << 50, -1, 4], "x": [np.nan, 3.0]}  # fmt: skip

    changes = [0]

    def change() -> None:
        while not stop.is_set():
            changes[0] = n = changes[0] + 1
            for name, values in other.items():
                changing[name][...] = good[name] if n % 2 else values[n // 2 % len(values)]

    thread, interval = threading.Thread(target=change), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # seconds
    thread.start()
    try:
        for _ in range(150):
            with contextlib.suppress(CnnccError):
                session.run(None, changing)
            assert same(session.run(None, good), wanted)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert changes[0] > 150
