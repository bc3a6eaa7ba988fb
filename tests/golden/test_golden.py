"""What the whole compiler makes of known networks, as text that a person can read and compare.

`make golden` writes the files anew; `git diff` then shows what a change does to real networks. A refactoring changes
none of them.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from cnncc.compiler import compile, optimise
from cnncc.frontends import load_graph
from cnncc.ir import format_graph
from cnncc.plan import Plan

HERE = Path(__file__).parent
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
MODELS = {
    "lenet5": HERE.parents[1] / "examples" / "lenet" / "lenet5.onnx",
    "resnet50": LIGHT / "light_resnet50.onnx",
    "inception_v1": LIGHT / "light_inception_v1.onnx",
    "shufflenet": LIGHT / "light_shufflenet.onnx",
}
LANES = 16  # whatever the machine has


def describe(plan: Plan) -> str:
    """The steps of a plan and where its buffers lie."""
    lines = []
    for step in plan.steps:
        params = ",".join(f"{k}={v}" for k, v in sorted(step.params.items()))
        outputs = ", ".join(f"{b}: {plan.buffers[b].type} {plan.buffers[b].layout}" for b in step.outputs)
        inputs = ", ".join("none" if b is None else str(b) for b in step.inputs)
        lines.append(f"{step.kernel}({inputs}){f' {{{params}}}' if params else ''} -> {outputs}  # {step.name}")
    if plan.arena is not None:
        lines.append(f"arena {plan.arena.size} bytes, at least {plan.arena.lower_bound}: "
                     + ", ".join(f"{b} at {at}" for b, at in sorted(plan.arena.offsets.items())))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", MODELS)
def test_graph_and_plan(name: str, request: pytest.FixtureRequest) -> None:
    graph = load_graph(MODELS[name])
    optimise(graph)
    text = f"# the graph after -O2\n{format_graph(graph)}\n# the plan for vectors of {LANES} floats\n" \
        + describe(compile(MODELS[name], lanes=LANES, warm=False))
    path = HERE / f"{name}.txt"
    if request.config.getoption("--update-golden", default=False):
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines(), \
        f"{path.name} differs; 'make golden' writes it anew if that is meant"
