from __future__ import annotations

import pytest

from cnncc.passes.recognize_normalization import recognize_normalization

from .harness import check_rewrite, check_stays

TOLERANCE = 1e-6  # epsilon is a float32 in the one form and a decimal in the other
HEAD = """graph @net(%x: f32[N,T,4], %p: f32[4]) {
  %axes = const [-1] : i64[1]
  %two = const 2.0 : f32[]
  %one = const 1.0 : f32[]
  %half = const -0.5 : f32[]
  %e = const 1e-05 : f32[]
  %g = const @g : f32[4]
  %b = const @b : f32[4]"""
MEAN = "%m = ReduceMean(%x, %axes) : f32[N,T,1]\n  %d = Sub(%x, %m) : f32[N,T,4]"
SQUARES = {"Pow": "%q = Pow(%d, %two) : f32[N,T,4]", "Mul": "%q = Mul(%d, %d) : f32[N,T,4]"}
VARIANCE = "%v = ReduceMean(%q, %axes) : f32[N,T,1]\n  %w = Add(%v, %e) : f32[N,T,1]"
QUOTIENTS = {
    "Div": "%s = Sqrt(%w) : f32[N,T,1]\n  %n = Div(%d, %s) : f32[N,T,4]",
    "Reciprocal": "%s = Sqrt(%w) : f32[N,T,1]\n  %r = Reciprocal(%s) : f32[N,T,1]\n  %n = Mul(%r, %d) : f32[N,T,4]",
    "over one": "%s = Sqrt(%w) : f32[N,T,1]\n  %r = Div(%one, %s) : f32[N,T,1]\n  %n = Mul(%d, %r) : f32[N,T,4]",
    "Pow": "%r = Pow(%w, %half) : f32[N,T,1]\n  %n = Mul(%d, %r) : f32[N,T,4]",
}
AFFINE = "%s2 = Mul(%n, %g) : f32[N,T,4]\n  %y = Add(%b, %s2) : f32[N,T,4]"


def net(*statements: str, result: str = "%y") -> str:
    body = "\n  ".join(statements)
    return f"{HEAD}\n  {body}\n  return {result}\n}}"


def simple(statement: str, *constants: str, inputs: str = "%x: f32[N,T,4], %p: f32[4]") -> str:
    return "\n  ".join([f"graph @net({inputs}) {{", *constants, statement, "return %y\n}"])


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("quotient", QUOTIENTS)
def test_layer_normalization(square: str, quotient: str) -> None:
    check_rewrite(recognize_normalization, net(MEAN, SQUARES[square], VARIANCE, QUOTIENTS[quotient], AFFINE),
                  simple("%y = LayerNormalization(%x, %g, %b) : f32[N,T,4]",
                         "%g = const @g : f32[4]", "%b = const @b : f32[4]"), tolerance=TOLERANCE)


def test_without_scale_and_bias() -> None:
    check_rewrite(recognize_normalization, net(MEAN, SQUARES["Mul"], VARIANCE, QUOTIENTS["Div"], result="%n")
                  .replace("%n ", "%y ").replace("return %n", "return %y"),
                  simple("%y = LayerNormalization(%x, %x.ones) : f32[N,T,4]",
                         "%x.ones = const [1.0,1.0,1.0,1.0] : f32[4]"), tolerance=TOLERANCE)


def test_rms_normalization() -> None:
    check_rewrite(
        recognize_normalization,
        net("%q = Mul(%x, %x) : f32[N,T,4]", VARIANCE, QUOTIENTS["Reciprocal"].replace("%d", "%x"), AFFINE),
        simple("%s2 = RMSNormalization(%x, %g) : f32[N,T,4]\n  %y = Add(%b, %s2) : f32[N,T,4]",
               "%g = const @g : f32[4]", "%b = const @b : f32[4]"), tolerance=TOLERANCE)


def test_tensorflow_form() -> None:
    form = """%s = Sqrt(%w) : f32[N,T,1]
  %i = Reciprocal(%s) : f32[N,T,1]
  %r = Mul(%i, %g) : f32[N,T,4]
  %a = Mul(%x, %r) : f32[N,T,4]
  %c = Mul(%m, %r) : f32[N,T,4]
  %z = Sub(%b, %c) : f32[N,T,4]
  %y = Add(%a, %z) : f32[N,T,4]"""
    check_rewrite(recognize_normalization, net(MEAN, SQUARES["Mul"], VARIANCE, form),
                  simple("%y = LayerNormalization(%x, %g, %b) : f32[N,T,4]",
                         "%g = const @g : f32[4]", "%b = const @b : f32[4]"), tolerance=TOLERANCE)


def test_instance_normalization() -> None:
    before = net(MEAN, SQUARES["Pow"], VARIANCE, QUOTIENTS["Div"], AFFINE).replace("[N,T,4]", "[N,3,5,4]") \
        .replace("[N,T,1]", "[N,3,1,1]").replace("[-1] : i64[1]", "[2,-1] : i64[2]") \
        .replace("@g : f32[4]", "@g : f32[3,1,1]").replace("@b : f32[4]", "@b : f32[1,3,1,1]")
    check_rewrite(recognize_normalization, before,
                  simple("%y = InstanceNormalization(%x, %g, %b) : f32[N,3,5,4]", "%g = const @g : f32[3]",
                         "%b = const @b : f32[3]", inputs="%x: f32[N,3,5,4], %p: f32[4]")
                  .replace("%g", "%g_1").replace("%b", "%b_1"), tolerance=TOLERANCE)


STAYS = {
    "cubes": net(MEAN, SQUARES["Pow"], VARIANCE, QUOTIENTS["Div"], AFFINE).replace("2.0 :", "3.0 :"),
    "epsilon outside": net(MEAN, SQUARES["Mul"], "%v = ReduceMean(%q, %axes) : f32[N,T,1]",
                           "%t = Sqrt(%v) : f32[N,T,1]", "%s = Add(%t, %e) : f32[N,T,1]",
                           "%n = Div(%d, %s) : f32[N,T,4]", AFFINE),
    "the first axis": net(MEAN, SQUARES["Mul"], VARIANCE, QUOTIENTS["Div"], AFFINE).replace("[-1]", "[1]")
    .replace("[N,T,1]", "[N,1,4]"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text: str) -> None:
    check_stays(recognize_normalization, text)


def test_a_scale_that_is_computed_stays_outside() -> None:
    check_rewrite(recognize_normalization,
                  net(MEAN, SQUARES["Mul"], VARIANCE, QUOTIENTS["Div"], "%y = Mul(%n, %p) : f32[N,T,4]"),
                  simple("%n = LayerNormalization(%x, %x.ones) : f32[N,T,4]\n  %y = Mul(%n, %p) : f32[N,T,4]",
                         "%x.ones = const [1.0,1.0,1.0,1.0] : f32[4]"), tolerance=TOLERANCE)
