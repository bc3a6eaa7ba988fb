from __future__ import annotations

import pytest

from cnncc.passes.fold_linear import fold_linear

from .harness import check_rewrite, check_stays

TOLERANCE = 1e-6  # weights are rounded anew


CONSTANTS = ("w : f32[4,3]", "s : f32[1,3]", "t : f32[3]")


def net(*statements: str, result: str = "%9", constants: tuple[str, ...] = CONSTANTS,
        inputs: str = "%x: f32[N,T,4]") -> str:
    lines = [f"%{c.split()[0]} = const @{c}" for c in constants] + list(statements)
    return f"graph @net({inputs}) {{\n  " + "\n  ".join(lines) + f"\n  return {result}\n}}"


PRODUCT = "%0 = MatMul(%x, %w) : f32[N,T,3] @product"


@pytest.mark.parametrize("operands", ["%0, %t", "%t, %0"])
def test_bias(operands: str) -> None:
    constants = ("w : f32[4,3]", "t : f32[3]")
    check_rewrite(fold_linear, net(PRODUCT, f"%9 = Add({operands}) : f32[N,T,3]", constants=constants),
                  net("%9 = MatMul(%x, %w, %t) : f32[N,T,3] @product", constants=constants))


def test_scale_and_shift() -> None:
    check_rewrite(fold_linear, net(PRODUCT, "%1 = Add(%0, %t) : f32[N,T,3]", "%2 = Mul(%1, %s) : f32[N,T,3]",
                                   "%9 = Sub(%2, %t) : f32[N,T,3]"),
                  net("%9 = MatMul(%x, %w, %t_1) : f32[N,T,3] @product", constants=("w : f32[4,3]", "t_1 : f32[3]")),
                  tolerance=TOLERANCE)


def test_division_and_a_product_that_is_subtracted() -> None:
    constants = ("w : f32[4,3]", "positive : f32[]", "t : f32[3]")
    check_rewrite(fold_linear, net(PRODUCT, "%1 = Div(%0, %positive) : f32[N,T,3]", "%9 = Sub(%t, %1) : f32[N,T,3]",
                                   constants=constants),
                  net("%9 = MatMul(%x, %w, %product.bias) : f32[N,T,3] @product",
                      constants=("w : f32[4,3]", "product.bias : f32[3]")), tolerance=TOLERANCE)


def test_a_sum_where_the_weights_are_computed() -> None:
    inputs = "%x: f32[N,T,4], %w: f32[N,4,3], %t: f32[3]"
    check_rewrite(fold_linear, net(PRODUCT, "%9 = Add(%0, %t) : f32[N,T,3]", constants=(), inputs=inputs),
                  net("%9 = MatMul(%x, %w, %t) : f32[N,T,3] @product", constants=(), inputs=inputs))


STAYS = {
    "read twice": net(PRODUCT, "%1 = Add(%0, %t) : f32[N,T,3]", "%9 = Mul(%0, %1) : f32[N,T,3]"),
    "an output": net(PRODUCT, "%9 = Add(%0, %t) : f32[N,T,3]", result="%0, %9"),
    "along rows": net(PRODUCT, "%9 = Add(%0, %t) : f32[N,3,3]", constants=("w : f32[4,3]", "t : f32[3,1]"),
                      inputs="%x: f32[N,3,4]").replace("[N,T,3]", "[N,3,3]"),
    "active": net("%0 = MatMul(%x, %w) {activation=relu} : f32[N,T,3]", "%9 = Add(%0, %t) : f32[N,T,3]"),
    "computed weights scaled": net(PRODUCT, "%9 = Mul(%0, %t) : f32[N,T,3]", constants=("t : f32[3]",),
                                   inputs="%x: f32[N,T,4], %w: f32[4,3]"),
    "widened": net("%0 = MatMul(%x, %w) : f32[3]", "%9 = Add(%0, %s) : f32[1,3]", inputs="%x: f32[4]"),
    "divided by": net(PRODUCT, "%9 = Div(%t, %0) : f32[N,T,3]"),
    "of integers": net(PRODUCT.replace("f32", "i32"), "%9 = Add(%0, %t) : i32[N,T,3]", inputs="%x: i32[N,T,4]",
                       constants=("w : i32[4,3]", "t : i32[3]")),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text: str) -> None:
    check_stays(fold_linear, text)
