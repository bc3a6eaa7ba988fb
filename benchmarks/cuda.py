"""What `make bench-cuda` runs: cnncc on a GPU against ONNX Runtime's CUDA provider and PyTorch with cuDNN.

    python benchmarks/cuda.py                                   # all networks, batch 1, 8 and 32
    python benchmarks/cuda.py --networks resnet50 --batch 1
    python benchmarks/cuda.py --accuracy tf32                   # tensor cores, for all

Inputs and outputs lie on the device for all. Everybody computes in float32 without TF32, or everybody may use it;
ONNX Runtime and PyTorch replay a captured graph, as cnncc does, and cuDNN may search for its fastest algorithms
first. Whoever is not installed, or has no GPU of its own, is left out with the reason; outputs must agree before
anything is timed. The table goes to benchmarks/results/ with the device's name. Where there is no GPU this says so
and ends well.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from cuda_torch import TorchNetwork

import cnncc
from cnncc import zoo
from cnncc.benchmark.report import Table, markdown
from cnncc.cli.console import print_line
from cnncc.compiler import optimise
from cnncc.frontends.onnx.exporter import export_model
from cnncc.runtime.cuda.driver import missing

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from timing import median_ms

HERE = Path(__file__).parent
NETWORKS = {"alexnet": 224, "vgg16": 224, "resnet18": 224, "resnet50": 224, "googlenet": 224, "densenet121": 224,
            "mobilenet_v2": 224, "efficientnet_b0": 224, "squeezenet": 224, "resnext50": 224}
TOLERANCE = {"default": 1e-3, "tf32": 1e-2}
Engine = tuple[Callable[[], Any], Callable[[], np.ndarray]]  # a run, and the first output of the last one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=2.0, help="for each engine and network")
    parser.add_argument("--accuracy", choices=TOLERANCE, default="default", help="of all engines (default)")
    options = parser.parse_args()
    reason = missing()
    if reason is not None:
        print_line(f"skipped: nothing can be measured on a GPU here, because {reason}")
        return
    from cnncc.runtime.cuda.device import device

    rows, left_out = [], {}
    for name in options.networks:
        for batch in options.batch:
            rows.append(measure(name, batch, options.accuracy, options.seconds, left_out))
            print_line("  ".join(rows[-1]))
    here = device()
    table = Table(("network", "batch", *ENGINES, "cnncc over the fastest peer"), tuple(rows))
    today, precision = datetime.date.today().isoformat(), "TF32" if options.accuracy == "tf32" else "float32"
    head = f"{here.name}, CUDA {here.driver_version}, {today}, {precision}, median ms a run"
    lines = [f"# On a GPU: {head}", "", markdown(table), *(f"{e} is left out: {why}" for e, why in left_out.items())]
    path = HERE / "results" / f"cuda-{here.name.lower().replace(' ', '-')}-{precision.lower()}-{today}.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print_line(f"wrote {path}")


def measure(name: str, batch: int, accuracy: str, seconds: float, left_out: dict[str, str]) -> tuple[str, ...]:
    """A row of the table: medians of the engines, which take turns."""
    x = np.random.default_rng(0).standard_normal((batch, 3, NETWORKS[name], NETWORKS[name])).astype(np.float32)
    engines: dict[str, Engine] = {}
    for title, make in ENGINES.items():
        try:
            engines[title] = make(name, x, accuracy)
        except (ImportError, RuntimeError, NotImplementedError) as error:
            left_out[title] = str(error).splitlines()[0]
    for title, (run, result) in engines.items():
        run()
        expected, found = engines["cnncc"][1](), result()
        if abs(found - expected).max() > TOLERANCE[accuracy] * abs(expected).max():
            raise SystemExit(f"error: {title} and cnncc differ on {name}")
    times = median_ms({title: run for title, (run, _) in engines.items()}, seconds)
    peers = [ms for title, ms in times.items() if title != "cnncc"]
    return (name, str(batch), *(f"{times[t]:.3f}" if t in times else "" for t in ENGINES),
            f"{min(peers) / times['cnncc']:.2f}" if peers else "")


def graph_of(name: str, batch: int) -> cnncc.ir.Graph:
    graph = zoo.load(name)
    for value in graph.inputs:
        value.type = value.type.bind({"N": batch})
    graph.reinfer()
    return graph


def ours(name: str, x: np.ndarray, accuracy: str) -> Engine:
    from cnncc.runtime.cuda.device_array import empty

    session = cnncc.InferenceSession(cnncc.compile(graph_of(name, len(x)), target="cuda", accuracy=accuracy))
    given = empty(x.shape, x.dtype)
    given.fill(x)
    feeds = {session.get_inputs()[0].name: given}
    outputs = dict(zip([o.name for o in session.get_outputs()], session.run_on_device(feeds), strict=True))
    return lambda: session.run_on_device(feeds, outputs), lambda: next(iter(outputs.values())).numpy()


def onnx_runtime(name: str, x: np.ndarray, accuracy: str) -> Engine:
    import onnxruntime as ort

    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise ImportError("the onnxruntime that is installed has no CUDA provider: pip install onnxruntime-gpu")
    options = {"enable_cuda_graph": "1", "use_tf32": str(int(accuracy == "tf32")),
               "cudnn_conv_algo_search": "EXHAUSTIVE"}
    session = ort.InferenceSession(export_model(graph_of(name, len(x))).SerializeToString(),
                                   providers=[("CUDAExecutionProvider", options)])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise ImportError("onnxruntime cannot start its CUDA provider")
    binding = session.io_binding()
    binding.bind_ortvalue_input(session.get_inputs()[0].name, ort.OrtValue.ortvalue_from_numpy(x, "cuda", 0))
    shape = [len(x), *session.get_outputs()[0].shape[1:]]
    result = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cuda", 0)
    binding.bind_ortvalue_output(session.get_outputs()[0].name, result)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run, result.numpy


def pytorch(name: str, x: np.ndarray, accuracy: str) -> Engine:
    import torch

    if not torch.cuda.is_available():
        raise ImportError("the PyTorch that is installed has no CUDA")
    graph = graph_of(name, len(x))
    optimise(graph, 2)
    return TorchNetwork(graph, "cuda", accuracy == "tf32").captured(x)


ENGINES: dict[str, Callable[[str, np.ndarray, str], Engine]] = {
    "cnncc": ours, "ONNX Runtime": onnx_runtime, "PyTorch": pytorch}

if __name__ == "__main__":
    main()
