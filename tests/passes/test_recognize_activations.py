from __future__ import annotations

import pytest

from cnncc.passes.recognize_activations import recognize_activations

from .harness import check_rewrite, check_same_numbers, check_stays, parse


def net(statements: str, result: str = "%9") -> str:
    return f"graph @net(%x: f32[N,8]) {{\n  {statements}\n  return {result}\n}}"


NUMBERS = """%three = const 3.0 : f32[]
  %six = const 6.0 : f32[]
  %sixth = const 0.16666667163372039794921875 : f32[]
  %zero = const 0.0 : f32[]
  %half = const 0.5 : f32[]
  %one = const [1.0] : f32[1]
  %root = const 1.41421353816986083984375 : f32[]
  %inverse = const 0.707106769084930419921875 : f32[]
  """
RELU6 = NUMBERS + """%0 = Add(%three, %x) : f32[N,8]
  %1 = Clip(%0, %zero, %six) : f32[N,8]
  """
ERF = NUMBERS + """%0 = Div(%x, %root) : f32[N,8]
  %1 = Erf(%0) : f32[N,8]
  %2 = Add(%1, %one) : f32[N,8]
  """
TANH = NUMBERS + """%cubic = const 0.044715 : f32[]
  %outer = const 0.7978845834732056 : f32[]
  %n3 = const 3.0 : f32[]
  %0 = Pow(%x, %n3) : f32[N,8]
  %1 = Mul(%0, %cubic) : f32[N,8]
  %2 = Add(%x, %1) : f32[N,8]
  %3 = Mul(%2, %outer) : f32[N,8]
  %4 = Tanh(%3) : f32[N,8]
  %5 = Add(%4, %one) : f32[N,8]
  %6 = Mul(%x, %half) : f32[N,8]
  %9 = Mul(%6, %5) : f32[N,8]"""
FIRES = {
    "gelu_tanh": (TANH, 'Gelu(%x) {approximate="tanh"}'),
    "gelu_tanh, cube by products": (TANH.replace("%0 = Pow(%x, %n3)",
                                                 "%00 = Mul(%x, %x) : f32[N,8]\n  %0 = Mul(%00, %x)"),
                                    'Gelu(%x) {approximate="tanh"}'),
    "leaky_relu": ("%a = const 0.25 : f32[]\n  %0 = Mul(%a, %x) : f32[N,8]\n  %9 = Max(%x, %0) : f32[N,8]",
                   "LeakyRelu(%x) {alpha=0.25}"),
    "swish": ("%0 = Sigmoid(%x) : f32[N,8]\n  %9 = Mul(%x, %0) : f32[N,8]", "Swish(%x)"),
    "swish, swapped": ("%0 = Sigmoid(%x) : f32[N,8]\n  %9 = Mul(%0, %x) : f32[N,8]", "Swish(%x)"),
    "mish": ("%0 = Softplus(%x) : f32[N,8]\n  %1 = Tanh(%0) : f32[N,8]\n  %9 = Mul(%x, %1) : f32[N,8]", "Mish(%x)"),
    "hard_sigmoid": (RELU6 + "%9 = Div(%1, %six) : f32[N,8]",
                     "HardSigmoid(%x) {alpha=0.16666666666666666}"),
    "hard_sigmoid, multiplied": (RELU6 + "%9 = Mul(%sixth, %1) : f32[N,8]",
                                 "HardSigmoid(%x) {alpha=0.16666666666666666}"),
    "hard_swish": (RELU6 + "%2 = Mul(%x, %1) : f32[N,8]\n  %9 = Div(%2, %six) : f32[N,8]", "HardSwish(%x)"),
    "hard_swish, divided first": (RELU6 + "%2 = Div(%1, %six) : f32[N,8]\n  %9 = Mul(%2, %x) : f32[N,8]",
                                  "HardSwish(%x)"),
    "hard_swish by HardSigmoid": ("%0 = HardSigmoid(%x) {alpha=0.16666667} : f32[N,8]\n  %9 = Mul(%x, %0) : f32[N,8]",
                                  "HardSwish(%x)"),
    "gelu": (ERF + "%3 = Mul(%x, %2) : f32[N,8]\n  %9 = Mul(%3, %half) : f32[N,8]", "Gelu(%x)"),
    "gelu, halved first": (ERF + "%3 = Mul(%half, %x) : f32[N,8]\n  %9 = Mul(%3, %2) : f32[N,8]", "Gelu(%x)"),
    "gelu, halved within": (ERF + "%3 = Mul(%2, %half) : f32[N,8]\n  %9 = Mul(%x, %3) : f32[N,8]", "Gelu(%x)"),
    "gelu, multiplied": (ERF.replace("Div(%x, %root)", "Mul(%x, %inverse)")
                         + "%3 = Mul(%x, %2) : f32[N,8]\n  %9 = Mul(%3, %half) : f32[N,8]", "Gelu(%x)"),
}


@pytest.mark.parametrize(("before", "after"), FIRES.values(), ids=FIRES)
def test_fires(before, after):
    check_rewrite(recognize_activations, net(before), net(f"%9 = {after} : f32[N,8]"), tolerance=1e-6)


SLOPE = "%s = const @s : f32[8]\n  "
RELU = "%0 = Relu(%x) : f32[N,8]\n  "


@pytest.mark.parametrize("text", [
    "%1 = Neg(%x) : f32[N,8]\n  %2 = Relu(%1) : f32[N,8]\n  %3 = Mul(%s, %2) : f32[N,8]\n  %9 = Sub(%0, %3) : f32[N,8]",
    "%1 = Neg(%x) : f32[N,8]\n  %2 = Relu(%1) : f32[N,8]\n  %3 = Mul(%2, %s) : f32[N,8]\n  %9 = Add(%3, %0) : f32[N,8]",
    "%h = const 0.5 : f32[]\n  %1 = Abs(%x) : f32[N,8]\n  %2 = Sub(%x, %1) : f32[N,8]\n  %3 = Mul(%s, %2) : f32[N,8]\n"
    "  %4 = Mul(%3, %h) : f32[N,8]\n  %9 = Add(%0, %4) : f32[N,8]",
], ids=["less the negative part", "plus the negative part", "by the absolute value"])
def test_prelu_by_arithmetic(text):
    graph = parse(net(SLOPE + RELU + text))
    assert recognize_activations(graph)
    assert [n.op.op_type for n in graph.nodes] == ["PRelu"]
    check_same_numbers(parse(net(SLOPE + RELU + text)), graph, tolerance=1e-6)


STAYS = {
    "the greater of x and 2 x": net("%a = const 2.0 : f32[]\n  %0 = Mul(%a, %x) : f32[N,8]\n"
                                    "  %9 = Max(%x, %0) : f32[N,8]"),
    "the negative part of another": net(
        SLOPE + RELU + "%y = Exp(%x) : f32[N,8]\n  %1 = Neg(%y) : f32[N,8]\n  %2 = Relu(%1) : f32[N,8]\n"
        "  %3 = Mul(%s, %2) : f32[N,8]\n  %9 = Sub(%0, %3) : f32[N,8]"),
    "the positive part taken away": net(
        SLOPE + RELU + "%1 = Neg(%x) : f32[N,8]\n  %2 = Relu(%1) : f32[N,8]\n  %3 = Mul(%s, %2) : f32[N,8]\n"
        "  %9 = Sub(%3, %0) : f32[N,8]"),
    "another power": net(TANH.replace("const 3.0 : f32[]\n  %0 = Pow", "const 2.0 : f32[]\n  %0 = Pow")),
    "another operand": net("%y = Relu(%x) : f32[N,8]\n  %0 = Sigmoid(%y) : f32[N,8]\n  %9 = Mul(%x, %0) : f32[N,8]"),
    "a gate": net("%0 = Sigmoid(%x) : f32[N,8]\n  %9 = Add(%x, %0) : f32[N,8]"),
    "in between an output": net("%0 = Sigmoid(%x) : f32[N,8]\n  %9 = Mul(%x, %0) : f32[N,8]", "%9, %0"),
    "in between read twice": net("%0 = Sigmoid(%x) : f32[N,8]\n  %1 = Mul(%x, %0) : f32[N,8]\n"
                                 "  %9 = Add(%1, %0) : f32[N,8]"),
    "other numbers": net("%0 = HardSigmoid(%x) : f32[N,8]\n  %9 = Mul(%x, %0) : f32[N,8]"),
    "other bounds": net("%three = const 3.0 : f32[]\n  %zero = const 0.0 : f32[]\n  %six = const 6.0 : f32[]\n"
                        "  %0 = Add(%x, %three) : f32[N,8]\n  %1 = Clip(%0, none, %six) : f32[N,8]\n"
                        "  %9 = Div(%1, %six) : f32[N,8]"),
    "widened": net("%six = const [[[6.0]]] : f32[1,1,1]\n  %three = const 3.0 : f32[]\n  %zero = const 0.0 : f32[]\n"
                   "  %s = const 6.0 : f32[]\n  %0 = Add(%x, %three) : f32[N,8]\n"
                   "  %1 = Clip(%0, %zero, %s) : f32[N,8]\n  %9 = Div(%1, %six) : f32[1,N,8]"),
    "other factor": net("%half = const 0.4 : f32[]\n  %one = const 1.0 : f32[]\n  %root = const 1.4142135 : f32[]\n"
                        "  %0 = Div(%x, %root) : f32[N,8]\n  %1 = Erf(%0) : f32[N,8]\n  %2 = Add(%1, %one) : f32[N,8]\n"
                        "  %3 = Mul(%x, %2) : f32[N,8]\n  %9 = Mul(%3, %half) : f32[N,8]"),
    "of sums": net("%0 = Sigmoid(%x) : f32[N,8]\n  %9 = Mul(%0, %0) : f32[N,8]"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text):
    check_stays(recognize_activations, text)
