"""Plans on a GPU: every case of the operators' own tests, networks at full size, and what only a device can show."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncc.runtime.cuda.driver import missing

if missing() is not None:
    pytest.skip(f"there is no GPU to test on: {missing()}", allow_module_level=True)

import cnncc
from cnncc import zoo
from cnncc.errors import UnsupportedError
from cnncc.ir import DType, Graph
from cnncc.runtime.cuda.lower.table import LOWERINGS
from tests.ops.cases import Case, alike
from tests.ops.every import cases_of, constants_of

ROOT = Path(__file__).parents[2]
CASES = cases_of(LOWERINGS)
NETWORKS = ("resnet18", "vgg16", "mobilenet_v2", "densenet121", "googlenet", "efficientnet_b0", "squeezenet", "unet")
TOLERANCE = {"default": 1e-4, "tf32": 5e-3}  # largest difference from the CPU's kernels over the largest output


def graph_of(case: Case, dtype: DType) -> tuple[Graph, dict[str, np.ndarray]]:
    """The case as a network of one node, whose constants are weights; and its other inputs."""
    graph, feeds, constants = Graph("case"), {}, constants_of(case)
    if case.op.op_type in ("Gemm", "MatMul"):
        constants = tuple(range(1, 3))
    values: list[Any] = []
    for number, array in enumerate(case.arrays(dtype)):
        if array is None:
            values.append(None)
        elif number in constants:
            values.append(graph.add_constant(array, f"w{number}"))
        else:
            values.append(graph.add_input(f"x{number}", cnncc.ir.TensorType(DType.of(array.dtype), array.shape)))
            feeds[f"x{number}"] = array
    node = graph.add_node(case.op, values, outputs=case.outputs)
    graph.set_outputs(list(node.outputs), [f"y{i}" for i in range(case.outputs)])
    return graph, feeds


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator(case: Case) -> None:
    dtype = case.dtypes[0]
    graph, feeds = graph_of(case, dtype)
    try:
        plan = cnncc.compile(graph, level=0, target="cuda")
    except UnsupportedError as error:
        pytest.skip(str(error))
    with np.errstate(all="ignore"):
        wanted = [np.asarray(y) for y in case.op.reference(*case.arrays(dtype))[:case.outputs]]
    session = cnncc.InferenceSession(plan)
    for _ in range(3):  # as it comes, captured, as a graph
        for got, want in zip(session.run(None, feeds), wanted, strict=True):
            alike(got, want, 8.0 * case.tolerance)


@pytest.mark.parametrize(("name", "accuracy"), [
    *((name, "default") for name in NETWORKS), *((name, "tf32") for name in NETWORKS[:3])])
def test_network(name: str, accuracy: str) -> None:
    sizes = {"N": 1, **zoo.find(name).sizes}
    plans = [cnncc.compile(zoo.load(name), target=target, shapes=sizes, accuracy=allowed)
             for target, allowed in (("cuda", accuracy), ("cpu", "default"))]
    ours, expected = map(cnncc.InferenceSession, plans)
    [port] = ours.get_inputs()
    x = np.random.default_rng(0).standard_normal(port.shape).astype(np.float32)
    for _ in range(3):
        for got, want in zip(ours.run(None, {port.name: x}), expected.run(None, {port.name: x}), strict=True):
            assert abs(got - want).max() <= TOLERANCE[accuracy] * abs(want).max()


def lenet() -> tuple[cnncc.InferenceSession, dict[str, np.ndarray]]:
    session = cnncc.InferenceSession(cnncc.compile(ROOT / "examples/lenet/lenet5.onnx", target="cuda"))
    return session, {"image": np.random.default_rng(1).random((4, 1, 32, 32), np.float32)}


def test_many_threads_share_a_session() -> None:
    session, feeds = lenet()
    [wanted] = session.run(None, feeds)
    wrong: list[int] = []

    def work(number: int) -> None:
        mine = {"image": feeds["image"] * (number + 1)}
        [first] = session.run(None, mine)
        for _ in range(20):
            [again] = session.run(None, mine)
            if not np.array_equal(first, again) or (number == 0 and not np.array_equal(again, wanted)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_torch_s_arrays_are_used_where_they_lie() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    session, feeds = lenet()
    [wanted] = session.run(None, feeds)
    [y] = session.run_on_device({"image": torch.from_numpy(feeds["image"]).cuda()})
    np.testing.assert_array_equal(torch.from_dlpack(y).cpu().numpy(), wanted)
    np.testing.assert_array_equal(torch.as_tensor(y, device="cuda").cpu().numpy(), wanted)


def test_a_profile_has_a_time_for_every_step() -> None:
    session, feeds = lenet()
    found = session.profile(feeds, runs=3)
    assert all(step.seconds > 0 for step in found.steps) and found.machine.endswith("by its data sheet")
