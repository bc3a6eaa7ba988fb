"""Weights in external files are held once, however large they are: peak memory of a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

WIDTH, LAYERS = 2048, 6  # 96 MiB
PAGE = 4096

SCRIPT = """
import gc, json, sys
import cnncc

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) << 10

small, large, plan_file = sys.argv[1:]
cnncc.compile(small, warm=False).save(plan_file)  # loads all modules
cnncc.Plan.load(plan_file)
found = [peak()]
plan = cnncc.compile(large, warm=False)
found.append(peak())
plan.save(plan_file)
found.append(peak())
del plan
gc.collect()  # the graph that it came from goes as well
plan = cnncc.Plan.load(plan_file)
found.append(peak())
print(json.dumps({"peaks": found, "weights": plan.weight_bytes}))
"""


def write_model(folder: Path, width: int, layers: int) -> Path:
    """Fully connected layers, float32, all weights in one file beside the model."""
    weights, nodes, value = [], [], "x"
    with (folder / "weights.bin").open("wb") as file:
        for i in range(layers):
            matrix = np.random.default_rng(i).standard_normal((width, width)).astype(np.float32)
            file.seek(-file.tell() % PAGE, 1)
            tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=matrix.shape,
                                 data_location=TensorProto.EXTERNAL)
            for key, entry in (("location", "weights.bin"), ("offset", file.tell()), ("length", matrix.nbytes)):
                tensor.external_data.add(key=key, value=str(entry))
            file.write(matrix.tobytes())
            weights.append(tensor)
            nodes += [helper.make_node("Gemm", [value, f"w{i}"], [f"g{i}"], transB=1),
                      helper.make_node("Relu", [f"g{i}"], [f"r{i}"])]
            value = f"r{i}"
    graph = helper.make_graph(nodes, "large", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
                              [helper.make_tensor_value_info(value, TensorProto.FLOAT, None)], weights)
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_weights_are_held_once(tmp_path: Path) -> None:
    paths = []
    for name, width, layers in (("small", 8, 1), ("large", WIDTH, LAYERS)):
        (tmp_path / name).mkdir()
        paths.append(write_model(tmp_path / name, width, layers))
    result = subprocess.run([sys.executable, "-c", SCRIPT, *map(str, paths), str(tmp_path / "x.plan")],
                            capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    base, compiled, saved, loaded = found["peaks"]
    assert found["weights"] == LAYERS * WIDTH * WIDTH * 4
    for peak in (compiled, saved, loaded):
        assert 0.9 * found["weights"] < peak - base < 1.3 * found["weights"]
