"""Many processes that compile into one kernel cache at once; each compiles a network, runs it and looks at the result.

    XDG_CACHE_HOME=FOLDER python -m tests.files.together 16          # forked: what all networks need is in the cache
    XDG_CACHE_HOME=FOLDER python -m tests.files.together 16 --fresh  # processes of their own, and an empty cache
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback

import numpy as np

import cnncc
from cnncc.ir import parse_graph
from cnncc.ops import OPS
from cnncc.runtime.cpu import kernel_cache, native

SHARED = ("executor_run", "executor_work", "pool_parallel_for", "pool_worker")
TEXT = """graph @net(%x: f32[3,5]) {
  %0 = Transpose(%x) {perm=[1,0]} : f32[5,3]
  return %0 as "y"
}"""


def use() -> None:
    """Compiles the network and runs it."""
    x = np.arange(15, dtype=np.float32).reshape(3, 5)
    session = cnncc.InferenceSession(cnncc.compile(parse_graph(TEXT, OPS)))
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x.T)


def wait_for_all() -> None:
    """Until the standard input ends."""
    while os.read(0, 1):
        pass


def forked(count: int) -> list[int]:
    """The statuses of processes that have the compiler loaded and lack one kernel."""
    for name in SHARED:
        native.publish((name, ()))
    waiting, start = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child:
            children.append(child)
            continue
        status = 1
        try:
            os.close(start)
            os.dup2(waiting, 0)
            wait_for_all()
            use()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(start)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def fresh(count: int) -> list[int]:
    """The statuses of processes that find nothing."""
    command = [sys.executable, "-m", "tests.files.together", "0"]
    waiting, start = os.pipe()
    children = [subprocess.Popen(command, stdin=waiting) for _ in range(count)]
    os.close(start)
    return [child.wait() for child in children]


def main() -> int:
    count = int(sys.argv[1])
    if count == 0:
        wait_for_all()
        use()
        return 0
    statuses = fresh(count) if "--fresh" in sys.argv else forked(count)
    folder = kernel_cache.cache_folder()
    assert folder is not None
    names = sorted(p.name for p in folder.iterdir())
    damaged = [name for name in names if kernel_cache.read_entry(name) is None]
    print(f"{statuses.count(0)} of {count} succeeded; {len(names)} files, {len(damaged)} of them no entries")
    return 1 if any(statuses) or damaged or not names else 0


if __name__ == "__main__":
    sys.exit(main())
