from __future__ import annotations

import pytest

from cnncc.passes.recognize_space_to_depth import recognize_space_to_depth

from .harness import check_rewrite, check_stays

ROWS = ((0, 0), (0, 1), (1, 0), (1, 1))
COLUMNS = ((0, 0), (1, 0), (0, 1), (1, 1))
MIXED = ((1, 1), (0, 0), (1, 0), (0, 1))
CONV = "%y = Conv(%c, %w) {pads=[1,1,1,1]} : f32[N,4,H,W]"


def sliced(places: tuple[tuple[int, int], ...], size: str = "H,W", block: int = 2, end: str = "2147483647") -> str:
    """One Slice of two axes a place."""
    lines = ["  %a = const [2,3] : i64[2]", f"  %e = const [{end},{end}] : i64[2]",
             f"  %s = const [{block},{block}] : i64[2]"]
    for i, (row, column) in enumerate(places):
        lines.append(f"  %p{i} = const [{row},{column}] : i64[2]")
    lines += [f"  %{i} = Slice(%x, %p{i}, %e, %a, %s) : f32[N,3,{size}]" for i in range(len(places))]
    return "\n".join(lines)


def net(slices: str, last: str = "", *, x: str = "N,3,2*H,2*W", channels: int = 12, size: str = "H,W", axis: int = 1,
        joined: str = "%0, %1, %2, %3", weights: bool = True, more: str = "") -> str:
    text = "  %w = const @w : f32[4,12,3,3]\n" if weights and "%w" in last else ""
    return (f"graph @net(%x: f32[{x}]) {{\n{text}{slices}\n"
            f"  %c = Concat({joined}) {{axis={axis}}} : f32[N,{channels},{size}]\n  {last}\n"
            f"  return {'%y' if last else '%c'}{more}\n}}")


PLAIN = "graph @net(%x: f32[N,3,2*H,2*W]) {\n  %c = SpaceToDepth(%x) {blocksize=2} : f32[N,12,H,W]\n  return %c\n}"


def test_row_by_row() -> None:
    check_rewrite(recognize_space_to_depth, net(sliced(ROWS)), PLAIN)


def test_one_slice_for_each_axis() -> None:
    slices = """  %h = const [2] : i64[1]
  %v = const [-1] : i64[1]
  %e = const [9223372036854775807] : i64[1]
  %s = const [2] : i64[1]
  %z = const [0] : i64[1]
  %o = const [1] : i64[1]
  %r0 = Slice(%x, %z, %e, %h, %s) : f32[N,3,H,2*W]
  %r1 = Slice(%x, %o, %e, %h, %s) : f32[N,3,H,2*W]
  %0 = Slice(%r0, %z, %e, %v, %s) : f32[N,3,H,W]
  %1 = Slice(%r0, %o, %e, %v, %s) : f32[N,3,H,W]
  %2 = Slice(%r1, %z, %e, %v, %s) : f32[N,3,H,W]
  %3 = Slice(%r1, %o, %e, %v, %s) : f32[N,3,H,W]"""
    check_rewrite(recognize_space_to_depth, net(slices), PLAIN)


def test_blocks_of_nine() -> None:
    places = tuple((row, column) for row in range(3) for column in range(3))
    check_rewrite(
        recognize_space_to_depth,
        net(sliced(places, "2,W", 3), x="N,3,6,3*W", channels=27, size="2,W",
            joined=", ".join(f"%{i}" for i in range(9))),
        "graph @net(%x: f32[N,3,6,3*W]) {\n  %c = SpaceToDepth(%x) {blocksize=3} : f32[N,27,2,W]\n  return %c\n}")


@pytest.mark.parametrize("places", [COLUMNS, MIXED], ids=["columns", "mixed"])
def test_weights_follow_another_order(places: tuple[tuple[int, int], ...]) -> None:
    check_rewrite(recognize_space_to_depth, net(sliced(places), CONV), f"""graph @net(%x: f32[N,3,2*H,2*W]) {{
  %w = const @w : f32[4,12,3,3]
  %c = SpaceToDepth(%x) {{blocksize=2}} : f32[N,12,H,W]
  {CONV}
  return %y
}}""", tolerance=1e-14)


def test_column_by_column_without_a_convolution() -> None:
    check_rewrite(recognize_space_to_depth,
                  net(sliced(COLUMNS, "3,4"), x="N,3,6,8", size="3,4"), """graph @net(%x: f32[N,3,6,8]) {
  %c.blocks.shape = const [0,3,3,2,4,2] : i64[6]
  %c.blocks = Reshape(%x, %c.blocks.shape) : f32[N,3,3,2,4,2]
  %c.places = Transpose(%c.blocks) {perm=[0,5,3,1,2,4]} : f32[N,2,2,3,3,4]
  %c.shape = const [0,12,3,4] : i64[4]
  %c = Reshape(%c.places, %c.shape) : f32[N,12,3,4]
  return %c
}""")


GROUPS = "%v = const @v : f32[4,6,3,3]\n  %y = Conv(%c, %v) {group=2, pads=[1,1,1,1]} : f32[N,4,H,W]"
STAYS = {
    "a place twice": net(sliced(((0, 0), (0, 1), (0, 0), (1, 1)))),
    "three places": net(sliced(ROWS[:3]), channels=9, joined="%0, %1, %2"),
    "pixels left out": net(sliced(ROWS, "2,2", end="4"), x="N,3,6,8", size="2,2"),
    "steps of three": net(sliced(ROWS, "2,2", 3), x="N,3,6,6", size="2,2"),
    "side by side": net(sliced(ROWS), channels=3, size="4*H,W", axis=2),
    "unknown sizes in another order": net(sliced(COLUMNS)),
    "weights that are not known": net(sliced(COLUMNS), CONV, weights=False).replace(
        "%x: f32[N,3,2*H,2*W]", "%x: f32[N,3,2*H,2*W], %w: f32[4,12,3,3]"),
    "groups": net(sliced(COLUMNS), GROUPS),
    "seen by the user": net(sliced(COLUMNS), CONV, more=", %c"),
    "other pictures": net(sliced(ROWS).replace("%2 = Slice(%x", "%2 = Slice(%q")).replace(
        "%x: f32[N,3,2*H,2*W]", "%x: f32[N,3,2*H,2*W], %q: f32[N,3,2*H,2*W]"),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text: str) -> None:
    check_stays(recognize_space_to_depth, text)
