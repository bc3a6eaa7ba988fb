"""The command line on the target cuda, on machines with and without a GPU; and `cnncc doctor`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnncc
from cnncc.errors import InputError, UnsupportedError
from cnncc.ir import parse_graph
from cnncc.ops import OPS
from cnncc.runtime.cuda.driver import missing

from .conftest import Cli

PART = """graph @part(%x: f32[2,3,3]) {
  %0 = Det(%x) : f32[2] @first
  %1 = Acos(%x) : f32[2,3,3] @second
  %2 = Neg(%0) : f32[2]
  return %2, %1
}"""
without_gpu = pytest.mark.skipif(missing() is None, reason="there is a GPU here")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A convolution as an ONNX file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["y"])]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", c, 16, 16]) for n, c in (("x", 3), ("y", 8))]
    graph = helper.make_graph(nodes, "one_conv", ports[:1], ports[1:], [weights])
    path = tmp_path / "one_conv.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_compiling_needs_no_gpu(cli: Cli, model: Path) -> None:
    result = cli("compile", model, "-o", "one.plan", "--target", "cuda", "--device", "a100", "--shape", "N=1", "--json")
    assert result.code == 0 and result.json["target"] == "cuda" and result.json["fallbacks"] == 0
    shown = cli("inspect", "one.plan")
    assert shown.code == 0 and "conv_" in shown.out
    assert cnncc.Plan.load(Path("one.plan")).target == "cuda"


def test_the_bound_of_tensor_cores_is_shown(cli: Cli, tmp_path: Path) -> None:
    text = """graph @three(%x: f32[64,256,14,14]) {
  %w = const @w : f32[256,256,1,1]
  %v = const @v : f32[256,8,2,2]
  %0 = Conv(%x, %w) : f32[64,256,14,14]
  %1 = MatMul(%0, %0) : f32[64,256,14,14]
  %2 = ConvTranspose(%1, %v) {strides=[2,2]} : f32[64,8,28,28]
  return %2
}"""
    graph = parse_graph(text, OPS)
    from cnncc.runtime.cuda.devices import DEVICES
    from cnncc.runtime.cuda.explain import explain

    plan = cnncc.compile(graph, target="cuda", accuracy="tf32", warm=False)
    conv, product, transposed = explain(plan, "tf32", DEVICES["h100"])
    assert (conv.chosen, conv.bound) == ("conv_direct/tf32", f"{2**14 + 3 * 256 + 64} u sum|x||w|")
    assert product.bound == f"{2**14 + 3 * 14 + 64} u sum|x||w|"
    assert transposed.bound == f"{2**14 + 3 * 4 * 256 + 64} u sum|x||w|"
    assert conv.estimate > 0 and [a.candidate for a in conv.alternatives] == ["conv_direct"]
    assert conv.alternatives[0].estimate > 1


@without_gpu
def test_running_without_a_gpu_is_one_error_that_names_what_is_missing(cli: Cli, model: Path) -> None:
    assert cli("compile", model, "-o", "one.plan", "--target", "cuda", "--shape", "N=1", "-q").code == 0
    for arguments in (("profile", "one.plan"), ("profile", model, "--target", "cuda", "--shape", "N=1")):
        result = cli(*arguments)
        assert result.code == 2 and result.err.count("\n") == 1, result.err
        assert result.err.startswith("error: the target cuda cannot be used: ") and "(" in result.err
    with pytest.raises(InputError, match="the target cuda cannot be used"):
        cnncc.InferenceSession("one.plan", providers=["CUDAExecutionProvider", "CPUExecutionProvider"])


def test_nodes_without_a_kernel_are_listed_together(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError) as error:
        cnncc.compile(parse_graph(PART, OPS), target="cuda")
    assert len(error.value.problems) == 2
    assert "'first' (Det)" in str(error.value) and "'second' (Acos)" in str(error.value)
    assert "--fallback cpu" in str(error.value)
    plan = cnncc.compile(parse_graph(PART, OPS), target="cuda", fallback="cpu")
    assert [s.name for s in plan.fallbacks] == ["first", "second"]
    # What the CPU computes and the GPU reads is copied by a step of the plan; so is every output.
    assert [s.kernel for s in plan.steps] == ["reorder", "reference", "reference", "reorder", "elementwise", "reorder"]
    plan.save(tmp_path / "part.plan")
    assert cnncc.Plan.load(tmp_path / "part.plan").steps == plan.steps


@pytest.mark.parametrize(("options", "message"), [
    (("--tune", "--target", "cuda"), "--tune is for the CPU's kernels"),
    (("--accuracy", "tf32"), "the target cpu has no accuracy 'tf32'"),
    (("--target", "cuda", "--device", "k80"), "there is no device 'k80': it is one of h100, a100"),
])
def test_options_that_do_not_fit(cli: Cli, model: Path, options: tuple[str, ...], message: str) -> None:
    result = cli("compile", model, *options)
    assert result.code == 2 and message in result.err


def test_providers_choose_among_what_the_plan_can_do() -> None:
    plan = cnncc.compile(parse_graph(PART, OPS))
    for providers in (None, ["CPU"], ["CUDAExecutionProvider", "CPUExecutionProvider"], [("CPUExecutionProvider", {})]):
        assert cnncc.InferenceSession(plan, providers=providers).get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(InputError, match="was compiled for the target cpu, which is not among the providers CUDA"):
        cnncc.InferenceSession(plan, providers=["CUDA"])
    with pytest.raises(InputError, match="there is no provider 'GPU': it is one of CPU, "):
        cnncc.InferenceSession(plan, providers=["GPU"])


def test_a_prediction_says_that_it_is_one(cli: Cli, model: Path) -> None:
    arguments = "profile", model, "--shape", "N=1", "--target", "cuda", "--predict"
    text = cli(*arguments)
    assert text.code == 0
    assert text.out.count("PREDICTION by a roofline model, not a measurement") == 2  # for both devices
    assert "us (predicted)" in text.out and "one_conv on NVIDIA H100" in text.out
    found = cli(*arguments, "--device", "a100", "--json")
    [prediction] = found.json
    assert prediction["prediction"] is True and prediction["device"].startswith("NVIDIA A100")
    [layer] = [layer for layer in prediction["layers"] if layer["op_type"] == "Conv"]
    assert layer["flops"] >= prediction["flops"] == 2 * 27 * 8 * 256 and layer["blocks"] > 0 < layer["seconds"]
    assert cli(*arguments[:-1], "--predict", "--device", "k80").code == 2
    assert "add --shape N=1" in cli("profile", model, "--target", "cuda", "--predict").err
    assert "add --target cuda" in cli("profile", model, "--predict").err


def test_larger_layers_take_longer_and_the_faster_device_less() -> None:
    from cnncc.runtime.cuda.devices import DEVICES
    from cnncc.runtime.cuda.prediction import predict

    def seconds(channels: int, device: str) -> float:
        text = f"""graph @one(%x: f32[1,{channels},56,56]) {{
  %w = const @w : f32[{channels},{channels},3,3]
  %0 = Conv(%x, %w) {{pads=[1,1,1,1]}} : f32[1,{channels},56,56]
  return %0
}}"""
        plan = cnncc.compile(parse_graph(text, OPS), target="cuda", device=device, accuracy="high", warm=False)
        return predict(plan, DEVICES[device]).seconds

    assert seconds(64, "h100") < seconds(256, "h100") < seconds(256, "a100")
    # No device does more than its FMAs: 2 * 9 * 256^2 * 56^2 of them at 19.5 TFLOP/s.
    assert seconds(256, "a100") > 2 * 9 * 256**2 * 56**2 / 19.5e12


def test_doctor(cli: Cli) -> None:
    result = cli("doctor", "--json")
    assert result.code == 0 and set(result.json) == {"cnncc", "cpu", "other_runtimes", "cuda"}
    assert result.json["cpu"]["floats_in_a_vector"] in (4, 8, 16) and result.json["cpu"]["threads_of_a_session"] >= 1
    cuda = result.json["cuda"]
    assert cuda["usable"] is (missing() is None) is bool(cuda["devices"])
    if not cuda["usable"]:
        assert cuda["state"] == f"kernels cannot run: {missing()}"
    text = cli("doctor")
    assert text.code == 0 and "floats in a vector" in text.out and "numba-cuda" in text.out


def test_inspect_shows_copies(cli: Cli, tmp_path: Path) -> None:
    cnncc.compile(parse_graph(PART, OPS), target="cuda", fallback="cpu").save(tmp_path / "part.plan")
    shown = cli("inspect", tmp_path / "part.plan")
    assert shown.code == 0 and "part, for cuda\n" in shown.out
    assert shown.out.count("copy to the CPU") == 1 and shown.out.count("copy to the GPU") == 2
    assert "run on the CPU between copies: 2" in shown.out
