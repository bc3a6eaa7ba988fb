"""If, Loop and Scan from ONNX and back, and on the runtime, against ONNX Runtime: onnx's evaluator gives wrong answers
for a Loop in a branch and none for a Loop that never runs."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from cnncc import InferenceSession, compile
from cnncc.errors import GraphError, PlanInvalid, UnsupportedError
from cnncc.frontends.onnx import import_model
from cnncc.frontends.onnx.exporter import export_model
from cnncc.ir import evaluate, format_graph, parse_graph, verify
from cnncc.ops import OPS
from cnncc.plan_checks import check_plan
from cnncc.planfile import parse_plan, plan_bytes

Array = np.ndarray[Any, Any]


def model_of(text: str, opset: int = 17) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')


def f32(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def check(model: onnx.ModelProto, *feeds: dict[str, Any], level: int = 2) -> None:
    """All of: the graph, its text read back, the plan from its file, and the exported model."""
    judge = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    graph = import_model(model)
    verify(graph)
    text = format_graph(graph)
    assert format_graph(parse_graph(text, OPS)) == text
    exported = export_model(graph)
    onnx.checker.check_model(exported)
    plan = compile(import_model(model), level=level, warm=False)
    sessions = [InferenceSession(parse_plan(plan_bytes(plan)), threads=1),
                InferenceSession(compile(exported, level=1, warm=False), threads=1)]
    for feed in feeds:
        feed = {name: np.asarray(array) for name, array in feed.items()}
        wanted = judge.run(None, feed)
        for found in [list(evaluate(graph, feed).values()), *(s.run(None, feed) for s in sessions)]:
            for got, want in zip(found, wanted, strict=True):
                if want.size or got.size:  # ONNX Runtime makes all sizes 0 of what a Loop that never ran would give
                    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5, strict=True)


IF = """
net (float[N,4] x, bool c) => (float[a,4] y, float[N,4] z) {
    w = Constant<value = float[4] {1, 2, 3, 4}>()
    u = Add(x, w)
    y, z = If (c) <then_branch = g1 () => (float[N,4] t, float[N,4] x2) { t = Mul(u, w) x2 = Identity(x) },
                   else_branch = g2 () => (float[b,4] e, float[N,4] v) { e = Concat<axis = 0>(x, x) v = Identity(u) }>
}
"""


def test_if() -> None:
    check(model_of(IF), *({"x": f32(n, 4), "c": c} for n in (1, 3) for c in (True, False)))


def test_if_that_is_decided_is_not_in_the_graph() -> None:
    text = """
    net (float[2,4] x) => (float[k,4] y) {
        s = Shape(x)
        zero = Constant<value = int64 {0}>()
        two = Constant<value = int64 {2}>()
        n = Gather(s, zero)
        c = Equal(n, two)
        y = If (c) <then_branch = g1 () => (float[2,4] t) { t = Relu(x) },
                    else_branch = g2 () => (float[4] e) { e = ReduceSum<keepdims = 0>(x, zero) }>
        unused = Exp(y)
    }
    """
    graph = import_model(model_of(text))
    assert [n.op.op_type for n in graph.nodes if n.output is graph.outputs[0]] == ["Relu"]
    check(model_of(text), {"x": f32(2, 4)})


LOOP = """
net (float[N,4] x, int64 m, bool c) => (float[N,4] last, float[t,N,4] all) {
    half = Constant<value = float {0.5}>()
    last, all = Loop (m, c, x) <body = b (int64 i, bool going, float[N,4] v)
                                    => (bool more, float[N,4] next, float[N,4] row) {
        f = Cast<to = 1>(i)
        scaled = Mul(v, half)
        next = Add(scaled, x)
        row = Add(v, f)
        s = ReduceMax<keepdims = 0>(next)
        limit = Constant<value = float {2.5}>()
        more = Less(s, limit)
    }>
}
"""


def test_loop_with_a_condition() -> None:
    check(model_of(LOOP), *({"x": f32(n, 4, seed=seed), "m": m, "c": c} for n, seed in ((1, 0), (2, 1))
                            for m in (0, 1, 5) for c in (True, False)))


GROWING = """
net (float[N] x, int64 m) => (float[k] grown, int64[t] sizes) {
    grown, sizes = Loop (m, , x) <body = b (int64 i, bool going, float[L] v)
                                       => (bool going2, float[M] next, int64 size) {
        going2 = Identity(going)
        next = Concat<axis = 0>(v, x)
        shape = Shape(next)
        zero = Constant<value = int64 {0}>()
        size = Gather(shape, zero)
    }>
}
"""


def test_loop_whose_values_grow() -> None:
    graph = import_model(model_of(GROWING))
    assert [str(v.type) for v in graph.outputs] == ["f32[u0]", "i64[u1]"]
    check(model_of(GROWING), *({"x": f32(n), "m": m} for n in (1, 3) for m in (1, 4)))


def test_loop_that_is_unrolled() -> None:
    text = LOOP.replace("int64 m, bool c)", "bool c)").replace("half =", "m = Constant<value = int64 {3}>() half =")
    text = text.replace("(m, c, x)", "(m, , x)").replace("more = Less(s, limit)", "more = Identity(going)")
    plan = compile(model_of(text), warm=False)
    assert not any(s.kernel == "body" for s in plan.steps)
    check(model_of(text), {"x": f32(2, 4), "c": True})


def scan(axis: int = 0, back: int = 0, out: int = 0, length: int | str = "T") -> str:
    dims = ["B", "4"]
    dims.insert(axis, str(length))
    return f"""
    net (float[B,4] h, float[{','.join(dims)}] x) => (float[B,4] last, float[p,q,r] all) {{
        last, all = Scan (h, x) <num_scan_inputs = 1, scan_input_axes = [{axis}], scan_input_directions = [{back}],
                                 scan_output_axes = [{out}], scan_output_directions = [{back}],
                                 body = b (float[B,4] s, float[B,4] e) => (float[B,4] t, float[B,4] y) {{
            sum = Add(s, e)
            t = Tanh(sum)
            y = Sub(t, h)
        }}>
    }}
    """


@pytest.mark.parametrize(("axis", "back", "out"), [(0, 0, 0), (1, 1, 2), (2, 0, 1)])
def test_scan(axis: int, back: int, out: int) -> None:
    text = scan(axis, back, out)
    sequences = [np.moveaxis(f32(length, 2, 4), 0, axis) for length in (1, 5)]
    feeds = [{"h": f32(2, 4), "x": np.ascontiguousarray(x)} for x in sequences]
    # onnx's evaluator has no scan_output_axes and no directions: the judge here is NumPy.
    for plan in (compile(model_of(text), warm=False), compile(model_of(scan(axis, back, out, 5)), warm=False)):
        session = InferenceSession(plan)
        for feed in feeds if plan.symbols[-1:] == ("T",) or "T" in plan.symbols else feeds[1:]:
            state, rows = feed["h"], []
            steps = np.moveaxis(feed["x"], axis, 0)
            for e in steps[::-1] if back else steps:
                state = np.tanh(state + e)
                rows.append(state - feed["h"])
            last, stacked = session.run(None, feed)
            np.testing.assert_allclose(last, state, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(stacked, np.stack(rows[::-1] if back else rows, out), rtol=1e-5, atol=1e-6)


NESTED = """
net (float[N,4] x, int64 m, bool c) => (float[N,4] y) {
    y = Loop (m, , x) <body = outer (int64 i, bool going, float[N,4] v) => (bool going2, float[N,4] next) {
        going2 = Identity(going)
        two = Constant<value = int64 {2}>()
        odd = Mod(i, two)
        flag = Cast<to = 9>(odd)
        either = Or(flag, c)
        inner = If (either) <then_branch = t () => (float[N,4] a) {
            a = Loop (i, , v) <body = b (int64 j, bool g, float[N,4] w) => (bool g2, float[N,4] w2) {
                g2 = Identity(g)
                w1 = Add(w, x)
                w2 = Tanh(w1)
            }>
        }, else_branch = e () => (float[N,4] b) { b = Neg(v) }>
        next = Add(inner, x)
    }>
}
"""


@pytest.mark.parametrize("level", [0, 2])
def test_bodies_in_bodies(level: int) -> None:
    check(model_of(NESTED), *({"x": f32(2, 4), "m": m, "c": c} for m in (0, 3) for c in (True, False)), level=level)


def random_body(rng: np.random.Generator, values: list[str], depth: int, stem: str) -> tuple[list[str], str]:
    """Lines that compute something of the shape of the values, and its name."""
    lines, known = [], list(values)
    for number in range(int(rng.integers(2, 5))):
        name, kind = f"{stem}_{number}", rng.integers(6)
        a, b = rng.choice(known, 2)
        if kind < 2:
            lines.append(f"{name} = {rng.choice(['Add', 'Sub', 'Mul'])}({a}, {b})")
        elif kind == 2 or depth == 0:
            lines.append(f"{name} = {rng.choice(['Tanh', 'Neg', 'Relu', 'Identity'])}({a})")
        elif kind == 3:
            branches = [random_body(rng, known, depth - 1, f"{name}{s}") for s in "te"]
            lines += [f"{name}s = ReduceSum<keepdims = 0>({a})", f"{name}z = Constant<value = float {{0}}>()",
                      f"{name}c = Greater({name}s, {name}z)",
                      f"{name} = If ({name}c) <" + ", ".join(
                          f"{field} = {name}{s}g () => (float[N,3] {result}) {{ {' '.join(inner)} }}"
                          for field, s, (inner, result) in zip(("then_branch", "else_branch"), "te", branches,
                                                               strict=True)) + ">"]
        else:
            state = f"{name}v"
            inner, result = random_body(rng, [*known, state], depth - 1, f"{name}b")
            count = f"{name}m"
            lines.append(f"{count} = Constant<value = int64 {{{rng.integers(0, 4)}}}>()" if kind == 4
                         else f"{count} = Identity(m)")
            lines.append(f"{name}, {name}r = Loop ({count}, , {a}) <body = {name}g (int64 {name}i, bool {name}p, "
                         f"float[N,3] {state}) => (bool {name}q, float[N,3] {name}n, float[N,3] {name}o) {{ "
                         f"{' '.join(inner)} {name}q = Identity({name}p) {name}n = Tanh({result}) "
                         f"{name}o = Neg({state}) }}>")
        known.append(name)
    return lines, known[-1] if known[-1] not in values else lines[-1].split()[0]


@pytest.mark.parametrize("seed", range(8))
def test_random_bodies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines, result = random_body(rng, ["x", "w"], 2, "n")
    model = model_of(f"net (float[N,3] x, int64 m) => (float[N,3] {result}) {{ "
                     f"w0 = Constant<value = float[3] {{0.5, -1, 2}}>() w = Mul(x, w0) {' '.join(lines)} }}")
    check(model, *({"x": f32(n, 3, seed=seed), "m": np.array(m)} for n, m in ((2, 2), (1, 0))), level=seed % 3)


@pytest.mark.parametrize(("text", "said"), [
    (IF.replace("Concat<axis = 0>(x, x)", "Flatten<axis = 0>(x)").replace("float[b,4] e", "float[p,q] e").replace(
        "t = Mul(u, w)", "t = ReduceSum<keepdims = 0>(u)"),
     r"node 'y' \(If, opset 17\): If: an output is f32\[\] from then_branch, but f32\[1,4\*N\] from else_branch"),
    (LOOP.replace("next = Add(scaled, x)", "next = Shape(scaled)").replace("ReduceMax<keepdims = 0>(next)",
                                                                            "ReduceMax<keepdims = 0>(v)"),
     r"the value 'v' of its body is f32\[N,4\] before and i64\[2\] after it; it must keep its element type and rank"),
    (LOOP.replace("f = Cast<to = 1>(i)", "f0 = RandomNormalLike(v) f = Cast<to = 1>(i)"),
     r"in the body 'b': node 'f0' \(RandomNormalLike, opset 17\): cnncc has no such operator"),
    (LOOP.replace("Loop (m, c, x)", "Loop (m, c)"), "which does not fit 0 values"),
])
def test_what_does_not_fit(text: str, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        import_model(model_of(text))


def test_scan_of_opset_8() -> None:
    with pytest.raises(UnsupportedError, match="Scan is supported from opset 9 on"):
        import_model(model_of("""net (float[1,2,4] x) => (float[1,2,4] y) { y = Scan<num_scan_inputs = 1,
            body = b (float[4] e) => (float[4] r) { r = Relu(e) }>( , x) }""", 8))


def nested(levels: int) -> str:
    """If in If in If, as IR text."""
    if levels == 0:
        return "%y = Relu(%x) : f32[4]\n"
    inner = nested(levels - 1)
    return (f"%y = If(%c, %x, %c) : f32[4]\n"
            f"then_branch = graph @a(%x: f32[4], %c: bool[]) {{\n{inner}return %y\n}}\n"
            f"else_branch = graph @b(%x: f32[4], %c: bool[]) {{\n%y = Neg(%x) : f32[4]\nreturn %y\n}}\n")


def test_depth_is_limited() -> None:
    text = "graph @net(%x: f32[4], %c: bool[]) {{\n{}return %y\n}}\n"
    deep = parse_graph(text.format(nested(16)), OPS)
    plan = compile(deep, level=0, warm=False)
    assert parse_plan(plan_bytes(plan)).symbols == ()
    with pytest.raises(GraphError, match="bodies are nested deeper than 16 levels"):
        parse_graph(text.format(nested(17)), OPS)
    step = dataclasses.replace(plan.steps[0], op=dataclasses.replace(plan.steps[0].op, then_branch=plan))
    with pytest.raises(PlanInvalid, match="nested deeper than 16 levels"):
        check_plan(dataclasses.replace(plan, steps=(step,)))
