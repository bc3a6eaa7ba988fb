"""The process that one engine runs in: it is told by lines of JSON what to do, and answers with one line each.

It is run as a script, not as a module of cnncc, so that a peer's process holds nothing but NumPy and the peer.

    python worker.py CPUS                                 serves requests from stdin (see REQUESTS)
    python worker.py ENGINE MODEL INPUTS THREADS CPUS     loads, runs once, says so on stdout and ends
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["ENGINES", "Engine", "installed_version"]

Array = np.ndarray[Any, Any]


class Engine:
    """A runtime with a model loaded. `suffix` is of the model files it reads, `package` what provides it."""

    package = ""
    suffix = ".onnx"

    def __init__(self, model: str, threads: int, inputs: list[Array]) -> None:
        raise NotImplementedError  # abstract

    def run(self) -> Any:
        """One inference; what it gives, `arrays` makes NumPy arrays of."""
        raise NotImplementedError  # abstract

    def arrays(self, result: Any) -> list[Array]:
        return [np.asarray(array) for array in result]


class Cnncc(Engine):
    package, suffix = "cnncc", ".plan"

    def __init__(self, model: str, threads: int, inputs: list[Array]) -> None:
        import cnncc

        self.session = cnncc.InferenceSession(model, threads=threads)
        self.feeds = {i.name: x for i, x in zip(self.session.get_inputs(), inputs, strict=True)}

    def run(self) -> Any:
        return self.session.run(None, self.feeds)


class OnnxRuntime(Engine):
    package = "onnxruntime"

    def __init__(self, model: str, threads: int, inputs: list[Array]) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.feeds = {i.name: x for i, x in zip(self.session.get_inputs(), inputs, strict=True)}

    def run(self) -> Any:
        return self.session.run(None, self.feeds)


class OpenVino(Engine):
    """Held to float32: OpenVINO takes bfloat16 by itself where the CPU has it."""

    package = "openvino"

    def __init__(self, model: str, threads: int, inputs: list[Array]) -> None:
        import openvino

        core = openvino.Core()
        network = core.read_model(model)
        if network.is_dynamic():
            network.reshape({port: x.shape for port, x in zip(network.inputs, inputs, strict=True)})
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        compiled = core.compile_model(network, "CPU", settings)
        self.request = compiled.create_infer_request()
        self.feeds = dict(enumerate(inputs))
        self.count = len(compiled.outputs)

    def run(self) -> Any:
        return self.request.infer(self.feeds, share_inputs=True, share_outputs=True)

    def arrays(self, result: Any) -> list[Array]:
        return [np.array(result[number]) for number in range(self.count)]


class Ncnn(Engine):
    """Reads what ncnn_net.py writes. It has no batches: images go through one after the other."""

    package, suffix = "ncnn", ".param"

    def __init__(self, model: str, threads: int, inputs: list[Array]) -> None:
        import ncnn

        self.ncnn, self.net = ncnn, ncnn.Net()
        options = self.net.opt
        options.num_threads = threads
        options.use_vulkan_compute = False
        options.use_winograd_convolution = options.use_sgemm_convolution = options.use_packing_layout = True
        for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage",
                     "use_bf16_packed"):
            setattr(options, name, False)
        if self.net.load_param(model) or self.net.load_model(str(Path(model).with_suffix(".bin"))):
            raise RuntimeError(f"ncnn cannot load {model}")
        batch = len(inputs[0])
        self.images = [[np.ascontiguousarray(x[n]) for x in inputs] for n in range(batch)]
        self.outputs = [n for n in self.net.output_names() if n.startswith("out")]

    def run(self) -> Any:
        found = []
        for image in self.images:
            extractor = self.net.create_extractor()
            for number, array in enumerate(image):
                extractor.input(f"in{number}", self.ncnn.Mat(array))
            found.append([extractor.extract(name)[1] for name in self.outputs])
        return found

    def arrays(self, result: Any) -> list[Array]:
        return [np.stack([np.array(image[n]) for image in result]) for n in range(len(self.outputs))]


ENGINES: dict[str, type[Engine]] = {"cnncc": Cnncc, "onnxruntime": OnnxRuntime, "openvino": OpenVino, "ncnn": Ncnn}


def installed_version(engine: str) -> str | None:
    """The version of the engine's package, None where it is not installed."""
    try:
        return version(ENGINES[engine].package)
    except PackageNotFoundError:
        return None


# --- requests -------------------------------------------------------------------------------------------------------

_loaded: list[Engine] = []


def pin(cpus: list[int]) -> None:
    """Before an engine is imported, which sizes its pools by the CPUs it may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def load(engine: str, model: str, inputs: str, threads: int) -> dict[str, Any]:
    """Opens the model; how long that took, without importing the engine, and how long the first run took."""
    __import__(ENGINES[engine].package)
    arrays = read_arrays(inputs)
    _loaded.clear()
    start = time.perf_counter()
    opened = ENGINES[engine](model, threads, arrays)
    ready = time.perf_counter()
    opened.run()
    end = time.perf_counter()
    _loaded.append(opened)
    return {"load": ready - start, "first": end - ready}


def measure(seconds: float, least: int, most: int) -> dict[str, Any]:
    """Times in seconds of as many runs as fit, after runs that do not count: one, and more within a tenth of it."""
    run, clock = _loaded[0].run, time.perf_counter
    start = clock()
    run()
    while clock() - start < seconds / 10:
        run()
    times: list[float] = []
    begin = clock()
    while len(times) < least or (clock() - begin < seconds and len(times) < most):
        start = clock()
        run()
        times.append(clock() - start)
    return {"times": times}


def outputs(path: str) -> dict[str, Any]:
    arrays = _loaded[0].arrays(_loaded[0].run())
    np.savez(path, *arrays)
    return {"count": len(arrays)}


def memory() -> dict[str, Any]:
    """The largest memory that this process has had, in bytes. (ru_maxrss would count the parent's before exec.)"""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return {"peak": next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))}
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"peak": peak if sys.platform == "darwin" else peak * 1024}


REQUESTS: dict[str, Callable[..., dict[str, Any]]] = {
    "load": load, "measure": measure, "outputs": outputs, "memory": memory}


def read_arrays(path: str) -> list[Array]:
    with np.load(path) as file:
        return [file[f"arr_{number}"] for number in range(len(file.files))]


def serve() -> None:
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what engines print is no answer
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = REQUESTS[request.pop("do")](**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=channel, flush=True)


def main(arguments: list[str]) -> None:
    pin([int(cpu) for cpu in arguments[-1].split(",")])
    if len(arguments) == 1:
        serve()
        return
    engine, model, inputs, threads = arguments[:4]
    ENGINES[engine](model, int(threads), read_arrays(inputs)).run()
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
