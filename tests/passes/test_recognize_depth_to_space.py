from __future__ import annotations

import pytest

from cnncc.passes.recognize_depth_to_space import recognize_depth_to_space

from .harness import check_rewrite, check_stays


def net(shape: str, split: str, perm: str, back: str, *, sizes: tuple[str, str, str], more: str = "") -> str:
    """Reshape to `split`, Transpose, Reshape to `back`; `sizes` are the three shapes that this gives."""
    count = split.count(",") + 1
    return f"""graph @net(%x: f32[{shape}]) {{
  %split = const [{split}] : i64[{count}]
  %back = const [{back}] : i64[{back.count(",") + 1}]
  %0 = Reshape(%x, %split) : f32[{sizes[0]}]
  %1 = Transpose(%0) {{perm=[{perm}]}} : f32[{sizes[1]}]
  %2 = Reshape(%1, %back) : f32[{sizes[2]}]
  return %2{more}
}}"""


def after(shape: str, op: str, mode: str, to: str, block: int = 2) -> str:
    text = "" if mode == "DCR" else f', mode="{mode}"'
    return (f"graph @net(%x: f32[{shape}]) {{\n  %2 = {op}(%x) {{blocksize={block}{text}}} : f32[{to}]\n"
            "  return %2\n}")


UP, DOWN = "2,12,3,5", "2,3,6,10"
FIRES = {
    "DepthToSpace DCR": (
        net(UP, "2,2,2,3,3,5", "0,3,4,1,5,2", DOWN, sizes=("2,2,2,3,3,5", "2,3,3,2,5,2", DOWN)),
        after(UP, "DepthToSpace", "DCR", DOWN)),
    "DepthToSpace CRD": (
        net(UP, "2,3,2,2,3,5", "0,1,4,2,5,3", DOWN, sizes=("2,3,2,2,3,5", "2,3,3,2,5,2", DOWN)),
        after(UP, "DepthToSpace", "CRD", DOWN)),
    "SpaceToDepth DCR": (
        net(DOWN, "2,3,3,2,5,2", "0,3,5,1,2,4", UP, sizes=("2,3,3,2,5,2", "2,2,2,3,3,5", UP)),
        after(DOWN, "SpaceToDepth", "DCR", UP)),
    "SpaceToDepth CRD": (
        net(DOWN, "2,3,3,2,5,2", "0,1,3,5,2,4", UP, sizes=("2,3,3,2,5,2", "2,3,2,2,3,5", UP)),
        after(DOWN, "SpaceToDepth", "CRD", UP)),
    "no axis for one picture": (
        net("1,18,3,5", "2,3,3,3,5", "0,3,1,4,2", "1,2,9,15", sizes=("2,3,3,3,5", "2,3,3,5,3", "1,2,9,15")),
        after("1,18,3,5", "DepthToSpace", "CRD", "1,2,9,15", 3)),
    "batch and channels in one": (
        net(DOWN, "6,3,2,5,2", "0,2,4,1,3", UP, sizes=("6,3,2,5,2", "6,2,2,3,5", UP)),
        after(DOWN, "SpaceToDepth", "CRD", UP)),
    "unknown width": (
        net("N,12,3,W", "0,3,2,2,3,-1", "0,1,4,2,5,3", "0,0,6,-1",
            sizes=("N,3,2,2,3,W", "N,3,3,2,W,2", "N,3,6,2*W")),
        after("N,12,3,W", "DepthToSpace", "CRD", "N,3,6,2*W")),
    "unknown size to depth": (
        net("N,3,6,2*W", "0,0,3,2,-1,2", "0,3,5,1,2,4", "0,12,3,-1",
            sizes=("N,3,3,2,W,2", "N,2,2,3,3,W", "N,12,3,W")),
        after("N,3,6,2*W", "SpaceToDepth", "DCR", "N,12,3,W")),
}


@pytest.mark.parametrize(("text", "wanted"), FIRES.values(), ids=FIRES)
def test_fires(text: str, wanted: str) -> None:
    check_rewrite(recognize_depth_to_space, text, wanted)


def test_sizes_that_are_computed_are_needed_no_more() -> None:
    check_rewrite(recognize_depth_to_space, """graph @net(%x: f32[N,8,H,W]) {
  %s = Shape(%x) : i64[4]
  %i = const [0,2,3] : i64[3]
  %n = Gather(%s, %i) : i64[3]
  %n0, %n1, %n2 = Split(%n) {num_outputs=3} : i64[1], i64[1], i64[1]
  %c = const [2] : i64[1]
  %to = Concat(%n0, %c, %c, %c, %n1, %n2) {axis=0} : i64[6]
  %h = Mul(%n1, %c) : i64[1]
  %w = Mul(%n2, %c) : i64[1]
  %back = Concat(%n0, %c, %h, %w) {axis=0} : i64[4]
  %0 = Reshape(%x, %to) : f32[N,2,2,2,H,W]
  %1 = Transpose(%0) {perm=[0,1,4,2,5,3]} : f32[N,2,H,2,W,2]
  %2 = Reshape(%1, %back) : f32[N,2,2*H,2*W]
  return %2
}""", after("N,8,H,W", "DepthToSpace", "CRD", "N,2,2*H,2*W"))


STAYS = {
    "rows and columns changed": net(UP, "2,3,2,2,3,5", "0,1,4,3,5,2", DOWN,
                                    sizes=("2,3,2,2,3,5", "2,3,3,2,5,2", DOWN)),
    "channel shuffle": net("2,12,3,5", "2,3,4,3,5", "0,2,1,3,4", "2,12,3,5",
                           sizes=("2,3,4,3,5", "2,4,3,3,5", "2,12,3,5")),
    "blocks that are not square": net("2,12,4,5", "2,3,4,1,4,5", "0,1,4,2,5,3", "2,3,16,5",
                                      sizes=("2,3,4,1,4,5", "2,3,4,4,5,1", "2,3,16,5")),
    "another shape behind": net(UP, "2,3,2,2,3,5", "0,1,4,2,5,3", "2,3,60,1",
                                sizes=("2,3,2,2,3,5", "2,3,3,2,5,2", "2,3,60,1")),
    "read in between": net(UP, "2,3,2,2,3,5", "0,1,4,2,5,3", DOWN, sizes=("2,3,2,2,3,5", "2,3,3,2,5,2", DOWN),
                           more=", %1"),
    "windows of a transformer": net(DOWN, "2,3,3,2,5,2", "0,2,4,3,5,1", "30,4,3",
                                    sizes=("2,3,3,2,5,2", "2,3,5,2,2,3", "30,4,3")),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text: str) -> None:
    check_stays(recognize_depth_to_space, text)
