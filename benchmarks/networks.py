"""What `make bench` runs: the published networks of examples/networks.py against ONNX Runtime, at each thread count.

    python benchmarks/networks.py                           # all networks, 1 thread and all CPUs
    python benchmarks/networks.py resnet50 --threads 2      # one of them
    python benchmarks/networks.py --json > before.json

Times are medians in milliseconds at batch 1; the two runtimes take turns (see examples/timing.py).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

import cnncc

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from networks import NETWORKS, load
from timing import median_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"some of {', '.join(NETWORKS)}")
    parser.add_argument("--threads", type=int, nargs="+", help="thread counts; by default 1 and all CPUs")
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each runtime")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown:
        parser.error(f"there is no network '{unknown[0]}'; there are {', '.join(NETWORKS)}")
    rows = []
    if not options.json:
        print(f"{'network':14}{'threads':>8}{'cnncc ms':>12}{'ORT ms':>12}{'speed-up':>10}")
    for name in options.networks or NETWORKS:
        for row in measure(name, options.threads, options.seconds):
            rows.append(row)
            if not options.json:
                print(f"{row['network']:14}{row['threads']:8}{row['cnncc_ms']:12.3f}{row['ort_ms']:12.3f}"
                      f"{row['ort_ms'] / row['cnncc_ms']:9.2f}x", flush=True)
    if options.json:
        print(json.dumps({"onnxruntime": ort.__version__, "cnncc": cnncc.__version__, "rows": rows}, indent=2))


def measure(name: str, threads: list[int] | None, seconds: float) -> list[dict[str, str | int | float]]:
    """One row a thread count."""
    model = load(name)
    plan = cnncc.compile(model)
    data = model.SerializeToString()
    feeds = {plan.inputs[0].name: np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)}
    everything = cnncc.InferenceSession(plan).threads
    rows: list[dict[str, str | int | float]] = []
    for count in threads or sorted({1, everything}):
        session = cnncc.InferenceSession(plan, threads=count)
        options = ort.SessionOptions()
        options.intra_op_num_threads = count
        options.log_severity_level = 3
        other = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        times = median_ms({"cnncc": lambda s=session: s.run(None, feeds), "ort": lambda s=other: s.run(None, feeds)},
                          seconds)
        rows.append({"network": NETWORKS[name].title, "threads": count, "cnncc_ms": times["cnncc"],
                     "ort_ms": times["ort"]})
    return rows


if __name__ == "__main__":
    main()
