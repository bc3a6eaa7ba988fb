from __future__ import annotations

import pytest

from cnncc.passes.fuse_attention import fuse_attention
from cnncc.passes.join_attention_heads import join_attention_heads

from .harness import check_rewrite, check_stays

TOLERANCE = 1e-6
HEAD = "graph @net(%q: f32[N,2,L,4], %k: f32[N,2,M,4], %v: f32[N,2,M,5], %mask: f32[N,1,1,M]) {\n  "
TURNED = "%t = Transpose(%k) {perm=[0,1,3,2]} : f32[N,2,4,M]"
REST = "%p = Softmax(%m) : f32[N,2,L,M]\n  %y = MatMul(%p, %v) : f32[N,2,L,5]"


def net(*statements: str, result: str = "%y", head: str = HEAD) -> str:
    return head + "\n  ".join([*statements, f"return {result}\n}}"])


@pytest.mark.parametrize("scaling", [
    ("%s = MatMul(%q, %t) : f32[N,2,L,M]", "%c = const 2.0 : f32[]", "%d = Div(%s, %c) : f32[N,2,L,M]"),
    ("%s = MatMul(%q, %t) : f32[N,2,L,M]", "%c = const 0.5 : f32[]", "%d = Mul(%c, %s) : f32[N,2,L,M]"),
    ("%c = const [0.5] : f32[1]", "%a = Mul(%q, %c) : f32[N,2,L,4]", "%d = MatMul(%a, %t) : f32[N,2,L,M]"),
])
def test_scaled_and_masked(scaling: tuple[str, ...]) -> None:
    check_rewrite(fuse_attention, net(TURNED, *scaling, "%m = Add(%d, %mask) : f32[N,2,L,M]", REST),
                  net("%y = Attention(%q, %k, %v, %mask) {scale=0.5} : f32[N,2,L,5]"), tolerance=TOLERANCE)


def test_both_factors_scaled_before_and_after_the_transpose() -> None:
    check_rewrite(
        fuse_attention,
        net("%c = const 0.5 : f32[]", "%a = Mul(%q, %c) : f32[N,2,L,4]", "%b = Mul(%k, %c) : f32[N,2,M,4]",
            TURNED.replace("%k", "%b"), "%u = Mul(%t, %c) : f32[N,2,4,M]", "%m = MatMul(%a, %u) : f32[N,2,L,M]", REST),
        net("%y = Attention(%q, %k, %v) {scale=0.125} : f32[N,2,L,5]"), tolerance=TOLERANCE)


def test_keys_that_come_turned_are_turned_back() -> None:
    head = HEAD.replace("%k: f32[N,2,M,4]", "%k: f32[N,2,4,M]")
    check_rewrite(fuse_attention, net("%m = MatMul(%q, %k) : f32[N,2,L,M]", REST, head=head),
                  net("%y.keys = Transpose(%k) {perm=[0,1,3,2]} : f32[N,2,M,4]",
                      "%y = Attention(%q, %y.keys, %v) {scale=1.0} : f32[N,2,L,5]", head=head), tolerance=TOLERANCE)


def test_three_dimensions_with_the_mask_in_four() -> None:
    before = net(
        "%z = const [0] : i64[1]", "%never = const -inf : f32[]",
        "%a = Transpose(%q) {perm=[1,0,2]} : f32[2,L,4]", "%t = Transpose(%k) {perm=[1,2,0]} : f32[2,4,M]",
        "%w = Transpose(%v) {perm=[1,0,2]} : f32[2,M,5]", "%s = MatMul(%a, %t) : f32[2,L,M]",
        "%r = Unsqueeze(%s, %z) : f32[1,2,L,M]", "%m = Where(%no, %never, %r) : f32[1,2,L,M]",
        "%u = Squeeze(%m, %z) : f32[2,L,M]", "%p = Softmax(%u) : f32[2,L,M]", "%o = MatMul(%p, %w) : f32[2,L,5]",
        "%y = Transpose(%o) {perm=[1,0,2]} : f32[L,2,5]", head=THREE)
    check_rewrite(fuse_attention, before, AFTER, tolerance=TOLERANCE)


THREE = "graph @net(%q: f32[L,2,4], %k: f32[M,2,4], %v: f32[M,2,5], %no: bool[1,1,1,M]) {\n  "
AFTER = THREE + """%a.heads.shape = const [1,-1,2,4] : i64[4]
  %a.heads = Reshape(%q, %a.heads.shape) : f32[1,L,2,4]
  %a.turned = Transpose(%a.heads) {perm=[0,2,1,3]} : f32[1,2,L,4]
  %o.keys.heads.shape = const [1,-1,2,4] : i64[4]
  %o.keys.heads = Reshape(%k, %o.keys.heads.shape) : f32[1,M,2,4]
  %o.keys.turned = Transpose(%o.keys.heads) {perm=[0,2,1,3]} : f32[1,2,M,4]
  %w.heads.shape = const [1,-1,2,5] : i64[4]
  %w.heads = Reshape(%v, %w.heads.shape) : f32[1,M,2,5]
  %w.turned = Transpose(%w.heads) {perm=[0,2,1,3]} : f32[1,2,M,5]
  %o.never = const -inf : f32[]
  %o.allowed = const 0.0 : f32[]
  %o.mask = Where(%no, %o.never, %o.allowed) : f32[1,1,1,M]
  %o.heads = Attention(%a.turned, %o.keys.turned, %w.turned, %o.mask) {scale=1.0} : f32[1,2,L,5]
  %o.heads.turned = Transpose(%o.heads) {perm=[0,2,1,3]} : f32[1,L,2,5]
  %y.shape = const [-1,2,5] : i64[3]
  %y = Reshape(%o.heads.turned, %y.shape) : f32[L,2,5]
  return %y
}"""

PRODUCT = "%m = MatMul(%q, %t) : f32[N,2,L,M]"
STAYS = {
    "weights are read": net(TURNED, PRODUCT, REST, result="%p, %y"),
    "scores are read": net(TURNED, PRODUCT, REST, result="%m, %y"),
    "another axis": net(TURNED, PRODUCT, REST.replace("Softmax(%m)", "Softmax(%m) {axis=2}")),
    "scaled after the mask": net(TURNED, PRODUCT.replace("%m", "%s"), "%a = Add(%s, %mask) : f32[N,2,L,M]",
                                 "%c = const 0.5 : f32[]", "%m = Mul(%a, %c) : f32[N,2,L,M]", REST),
    "a negative scale": net(TURNED, PRODUCT.replace("%m", "%s"), "%c = const -0.5 : f32[]",
                            "%m = Mul(%s, %c) : f32[N,2,L,M]", REST),
    "replaced by an ordinary number": net(
        TURNED, PRODUCT.replace("%m", "%s"), "%b = Cast(%mask) {to=bool} : bool[N,1,1,M]", "%c = const -2.0 : f32[]",
        "%m = Where(%b, %c, %s) : f32[N,2,L,M]", REST),
    "constant keys": net("%w = const @w : f32[4,3]", "%m = MatMul(%q, %w) : f32[N,2,L,3]",
                         "%p = Softmax(%m) : f32[N,2,L,3]", "%y = MatMul(%p, %u) : f32[N,2,L,5]",
                         head=HEAD.replace("%v: f32[N,2,M,5]", "%u: f32[N,2,3,5]")),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text: str) -> None:
    check_stays(fuse_attention, text)


SIDES = "graph @net(%a: f32[N,L,2,4], %b: f32[N,M,1,4], %c: f32[N,M,1,5]) {\n  "
FRONT = ("%q = Transpose(%a) {perm=[0,2,1,3]} : f32[N,2,L,4]", "%k = Transpose(%b) {perm=[0,2,1,3]} : f32[N,1,M,4]",
         "%v = Transpose(%c) {perm=[0,2,1,3]} : f32[N,1,M,5]")


def test_heads_side_by_side() -> None:
    check_rewrite(join_attention_heads, net(
        *FRONT, "%h = Attention(%q, %k, %v) {is_causal=true} : f32[N,2,L,5] @heads",
        "%y = Transpose(%h) {perm=[0,2,1,3]} : f32[N,L,2,5]", head=SIDES), net(
        "%a.joined.shape = const [0,0,8] : i64[3]", "%a.joined = Reshape(%a, %a.joined.shape) : f32[N,L,8]",
        "%b.joined.shape = const [0,0,4] : i64[3]", "%b.joined = Reshape(%b, %b.joined.shape) : f32[N,M,4]",
        "%c.joined.shape = const [0,0,5] : i64[3]", "%c.joined = Reshape(%c, %c.joined.shape) : f32[N,M,5]",
        "%heads = Attention(%a.joined, %b.joined, %c.joined) {is_causal=true, kv_num_heads=1, q_num_heads=2} "
        ": f32[N,L,10]", "%y.shape = const [0,0,2,5] : i64[4]", "%y = Reshape(%heads, %y.shape) : f32[N,L,2,5]",
        head=SIDES))


def test_stacked_queries_keys_and_values() -> None:
    head = "graph @net(%a: f32[N,L,3,2,4]) {\n  "
    parts = [f"%{n} = const {i} : i64[]\n  %{n}1 = Gather(%s, %{n}) : f32[N,2,L,4]" for i, n in enumerate("qkv")]
    after = []
    for i, n in enumerate("qkv"):
        after += [f"%{n}1.number = const {i} : i64[]",
                  f"%{n}1.rows = Gather(%a, %{n}1.number) {{axis=2}} : f32[N,L,2,4]"]
    joined = []
    for n in "qkv":
        joined += [f"%{n}1.rows.joined.shape = const [0,0,8] : i64[3]",
                   f"%{n}1.rows.joined = Reshape(%{n}1.rows, %{n}1.rows.joined.shape) : f32[N,L,8]"]
    check_rewrite(join_attention_heads, net(
        "%s = Transpose(%a) {perm=[2,0,3,1,4]} : f32[3,N,2,L,4]", *parts,
        "%h = Attention(%q1, %k1, %v1) : f32[N,2,L,4] @heads", "%y = Transpose(%h) {perm=[0,2,1,3]} : f32[N,L,2,4]",
        head=head), net(
        *after, *joined,
        "%heads = Attention(%q1.rows.joined, %k1.rows.joined, %v1.rows.joined) {kv_num_heads=2, q_num_heads=2} "
        ": f32[N,L,8]", "%y.shape = const [0,0,2,4] : i64[4]", "%y = Reshape(%heads, %y.shape) : f32[N,L,2,4]",
        head=head))


@pytest.mark.parametrize("text", [
    net(*FRONT, "%h = Attention(%q, %k, %v) : f32[N,2,L,5]", "%y = Transpose(%h) {perm=[0,2,1,3]} : f32[N,L,2,5]",
        head=SIDES, result="%h, %y"),
    net(*FRONT[:2], "%h = Attention(%q, %k, %v) : f32[N,2,L,5]", "%y = Transpose(%h) {perm=[0,2,1,3]} : f32[N,L,2,5]",
        head=SIDES.replace("%c: f32[N,M,1,5]", "%v: f32[N,1,M,5]")),
], ids=["read by others", "values are another's"])
def test_heads_stay(text: str) -> None:
    check_stays(join_attention_heads, text)
