"""What `make zoo` runs: every network of the zoo at full size and batch 1, compared with ONNX Runtime.

    python benchmarks/zoo.py                          # all of them
    python benchmarks/zoo.py resnet50 vgg16           # some
    python benchmarks/zoo.py --seconds 0              # without timing
    python benchmarks/zoo.py --json > zoo.json

Fallbacks are steps without a native kernel. The error is the largest difference of any output over the largest element
of ONNX Runtime's; the exit code is 1 if one exceeds 1e-4, a top-1 differs or a count of parameters is not the
published one.
Times are medians in milliseconds with all CPUs; the two runtimes take turns (see examples/timing.py).
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

import cnncc
from cnncc import zoo
from cnncc.frontends.onnx import export_model
from cnncc.verification import compare_arrays

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from timing import median_ms

TOLERANCE = 1e-4
PICTURE = 256  # pixels along the axes of networks for pictures of any size
COLUMNS = (("network", 20), ("parameters", 13), ("GMACs", 9), ("input", 24), ("output", 40), ("steps", 6),
           ("fallbacks", 10), ("error", 9), ("top-1", 6), ("cnncc ms", 10), ("ORT ms", 9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="some of those that `cnncc zoo list` shows")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each runtime; 0 for none")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    unknown = [name for name in options.networks if name not in zoo.names()]
    if unknown:
        parser.error(f"there is no network '{unknown[0]}'; there are {', '.join(zoo.names())}")
    rows = []
    if not options.json:
        print_row([title for title, _ in COLUMNS])
    for name in options.networks or zoo.names():
        rows.append(measure(zoo.find(name), options.seconds))
        if not options.json:
            print_row(cells(rows[-1]))
        gc.collect()
    if options.json:
        print(json.dumps({"onnxruntime": ort.__version__, "cnncc": cnncc.__version__, "rows": rows}, indent=2))
    wrong = [row["network"] for row in rows if not row["passed"]]
    if wrong:
        sys.exit(f"not as published, or not in agreement with ONNX Runtime: {', '.join(wrong)}")


def measure(entry: zoo.Entry, seconds: float) -> dict[str, Any]:
    """Everything that the table says of a network."""
    graph = zoo.load(entry.name)
    found = cnncc.summary(graph)
    sizes = {name: PICTURE // _factor(entry, name) for name in entry.sizes}
    model = export_model(graph).SerializeToString()
    plan = cnncc.compile(graph, shapes={"N": 1, **sizes})
    macs = cnncc.summary(_bound(entry, sizes)).macs
    random = np.random.default_rng(0)
    types = [plan.buffers[port.buffer].type for port in plan.inputs]
    feeds = {port.name: random.standard_normal(type_.static_shape).astype(np.float32)
             for port, type_ in zip(plan.inputs, types, strict=True)}
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session, other = cnncc.InferenceSession(plan), ort.InferenceSession(model, options, ["CPUExecutionProvider"])
    names = [port.name for port in plan.outputs]
    differences = [compare_arrays(name, a, b) for name, a, b in
                   zip(names, session.run(names, feeds), other.run(names, feeds), strict=True)]
    times = median_ms({"cnncc": lambda: session.run(None, feeds), "ort": lambda: other.run(None, feeds)}, seconds) \
        if seconds else {"cnncc": None, "ort": None}
    error, top1 = max(d.error for d in differences), [d.top1 for d in differences if d.top1 is not None]
    return {
        "network": entry.name, "parameters": found.parameters, "macs": macs,
        "inputs": [str(type_) for type_ in types], "outputs": [f"f32{list(d.shape)}" for d in differences],
        "steps": len(plan.steps), "fallbacks": len(plan.fallbacks), "error": error, "top1": min(top1, default=None),
        "cnncc_ms": times["cnncc"], "ort_ms": times["ort"],
        "passed": error <= TOLERANCE and min(top1, default=1.0) == 1.0 and found.parameters == entry.parameters}


def _factor(entry: zoo.Entry, symbol: str) -> int:
    """k of a dimension k*symbol of the first input."""
    dims = entry.inputs.split()[0].partition("[")[2].rstrip("]").split(",")
    return next(int(d.partition("*")[0]) if "*" in d else 1 for d in dims if d.endswith(symbol))


def _bound(entry: zoo.Entry, sizes: dict[str, int]) -> Any:
    """The graph without weights, its symbolic dimensions at these sizes."""
    graph = zoo.load(entry.name, seed=None)
    for value in graph.inputs:
        value.type = value.type.bind({"N": 1, **sizes})
    graph.reinfer()
    return graph


def print_row(texts: list[str]) -> None:
    print("".join(text.ljust(width - 1) + " " for text, (_, width) in zip(texts, COLUMNS, strict=True)), flush=True)


def cells(row: dict[str, Any]) -> list[str]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    return [row["network"], f"{row['parameters']:,}", f"{row['macs'] / 1e9:.3f}", " ".join(row["inputs"]),
            " ".join(o.replace(" ", "") for o in row["outputs"]), str(row["steps"]), str(row["fallbacks"]),
            f"{row['error']:.1e}", "" if row["top1"] is None else f"{row['top1']:.0%}", number(row["cnncc_ms"]),
            number(row["ort_ms"])]


if __name__ == "__main__":
    main()
