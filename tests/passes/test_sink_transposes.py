from __future__ import annotations

import pytest

from cnncc.passes.sink_transposes import sink_transposes

from .harness import check_rewrite, check_stays

TO_LAST = "{perm=[0,2,3,1]}"
HEAD = "graph @net(%x: f32[N,3,H,4], %z: f32[N,3,H,4], %u: f32[N,1,1,3]) {\n  "
TURNED = f"%t = Transpose(%x) {TO_LAST} : f32[N,H,4,3]"


def net(*statements: str, result: str = "%y", head: str = HEAD) -> str:
    return head + "\n  ".join([*statements, f"return {result}\n}}"])


def after(statement: str, type_: str = "f32[N,3,H,4]", out: str = "f32[N,H,4,3]") -> tuple[str, ...]:
    return f"%y.sunk = {statement} : {type_} @y", f"%y = Transpose(%y.sunk) {TO_LAST} : {out}"


CASES = {
    "Relu": (["%y = Relu(%t) : f32[N,H,4,3]"], after("Relu(%x)")),
    "Softmax": (["%y = Softmax(%t) : f32[N,H,4,3]"], after("Softmax(%x) {axis=1}")),
    "Clip": (["%l = const -0.5 : f32[]", "%y = Clip(%t, %l) : f32[N,H,4,3]"],
             ("%l = const -0.5 : f32[]", *after("Clip(%x, %l)"))),
    "both": ([f"%s = Transpose(%z) {TO_LAST} : f32[N,H,4,3]", "%y = Mul(%t, %s) : f32[N,H,4,3]"], after("Mul(%x, %z)")),
    "constant": (["%c = const @c : f32[4,3]", "%y = Sub(%c, %t) : f32[N,H,4,3]"],
                 ("%c = const @c2 : f32[1,3,1,4]", *after("Sub(%c, %x)"))),
    "size 1": (["%y = Add(%t, %u) : f32[N,H,4,3]"],
               ("%u.unturned.shape = const [0,3,1,1] : i64[4]",
                "%u.unturned = Reshape(%u, %u.unturned.shape) : f32[N,3,1,1]", *after("Add(%x, %u.unturned)"))),
    "Concat": ([f"%s = Transpose(%z) {TO_LAST} : f32[N,H,4,3]", "%y = Concat(%t, %s) {axis=-1} : f32[N,H,4,6]"],
               after("Concat(%x, %z) {axis=1}", type_="f32[N,6,H,4]", out="f32[N,H,4,6]")),
    "Pad": (["%p = const [0,1,2,0,0,3,4,5] : i64[8]", "%y = Pad(%t, %p) : f32[N,H+4,10,8]"],
            ("%y.operand = const [0,0,1,2,0,5,3,4] : i64[8]",
             *after("Pad(%x, %y.operand)", type_="f32[N,8,H+4,10]", out="f32[N,H+4,10,8]"))),
    "Slice": (["%b = const [1,0] : i64[2]", "%e = const [3,2] : i64[2]", "%a = const [2,-1] : i64[2]",
               "%y = Slice(%t, %b, %e, %a) : f32[N,H,2,2]"],
              ("%b = const [1,0] : i64[2]", "%e = const [3,2] : i64[2]", "%y.operand = const [3,1] : i64[2]",
               *after("Slice(%x, %b, %e, %y.operand)", type_="f32[N,2,H,2]", out="f32[N,H,2,2]"))),
    "ReduceMean": (["%a = const [1,2] : i64[2]", "%y = ReduceMean(%t, %a) : f32[N,1,1,3]"],
                   ("%y.operand = const [2,3] : i64[2]",
                    *after("ReduceMean(%x, %y.operand)", type_="f32[N,3,1,1]", out="f32[N,1,1,3]"))),
    "Squeeze": (["%a = const [1,2] : i64[2]", "%m = ReduceMax(%t, %a) : f32[N,1,1,3]",
                 "%y = Squeeze(%m, %a) : f32[N,3]"],
                ("%m.operand = const [2,3] : i64[2]", "%m.sunk = ReduceMax(%x, %m.operand) : f32[N,3,1,1] @m",
                 "%y.operand = const [2,3] : i64[2]", "%y = Squeeze(%m.sunk, %y.operand) : f32[N,3]")),
    "ArgMax": (["%y = ArgMax(%t) {axis=3, keepdims=false} : i64[N,H,4]"],
               ("%y = ArgMax(%x) {axis=1, keepdims=false} : i64[N,H,4]",)),
    "Resize": (["%s = const [1.0,2.0,3.0,1.0] : f32[4]",
                '%y = Resize(%t, none, %s) {coordinate_transformation_mode="asymmetric"} : f32[N,2*H,12,3]'],
               ("%y.operand = const [1.0,1.0,2.0,3.0] : f32[4]",
                *after('Resize(%x, none, %y.operand) {coordinate_transformation_mode="asymmetric"}',
                       type_="f32[N,3,2*H,12]", out="f32[N,2*H,12,3]"))),
}


@pytest.mark.parametrize("name", CASES)
def test_sinks(name: str) -> None:
    before, wanted = CASES[name]
    text = net(*wanted)
    if name == "constant":  # the same numbers, turned
        text = text.replace("const @c2", "const @c")
    tolerance = 1e-12 if name == "ReduceMean" else 0.0  # it adds up in another order
    check_rewrite(sink_transposes, net(TURNED, *before), text, tolerance=tolerance)


def test_batch_normalization_of_the_last_axis() -> None:
    head = "graph @net(%x: f32[N,T,3]) {\n  "
    weights = ["%g = const @g : f32[3]", "%b = const @b : f32[3]", "%m = const @m : f32[3]", "%v = const @var : f32[3]"]
    graph = check_rewrite(
        sink_transposes, net(*weights, "%t = Transpose(%x) {perm=[0,2,1]} : f32[N,3,T]",
                             "%n = BatchNormalization(%t, %g, %b, %m, %v) : f32[N,3,T]",
                             "%y = Transpose(%n) {perm=[0,2,1]} : f32[N,T,3]", head=head),
        net("%n.factor = const @n.factor : f32[1,1,3]", "%n.scaled = Mul(%x, %n.factor) : f32[N,T,3]",
            "%n.shift = const @n.shift : f32[1,1,3]", "%n.shifted = Add(%n.scaled, %n.shift) : f32[N,T,3]",
            "%n = Transpose(%n.shifted) {perm=[0,2,1]} : f32[N,3,T]", "%y = Transpose(%n) {perm=[0,2,1]} : f32[N,T,3]",
            head=head), tolerance=1e-6)
    assert [n.op.op_type for n in graph.nodes] == ["Mul", "Add", "Transpose", "Transpose"]


STAYS = {
    "another's operand": net(TURNED, "%y = Add(%t, %w) : f32[N,H,4,3]", head=HEAD.replace("%u: f32[N,1,1,3]",
                                                                                        "%w: f32[N,H,4,3]")),
    "more axes": net(TURNED, "%y = Add(%t, %w) : f32[2,N,H,4,3]", head=HEAD.replace("%u: f32[N,1,1,3]",
                                                                                  "%w: f32[2,N,1,1,3]")),
    "reshaped": net(TURNED, "%s = const [0,-1] : i64[2]", "%y = Reshape(%t, %s) : f32[N,H*12]"),
    "no channels and no Transpose on the way": net("%t = Transpose(%x) {perm=[0,2,1,3]} : f32[N,H,3,4]",
                                                   "%y = Relu(%t) : f32[N,H,3,4]"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text: str) -> None:
    check_stays(sink_transposes, text)
