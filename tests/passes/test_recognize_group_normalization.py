from __future__ import annotations

import pytest

from cnncc.passes.recognize_group_normalization import recognize_group_normalization

from .harness import check_rewrite, check_stays

HEAD = """graph @net(%x: f32[N,6,H,4]) {
  %to = const [0,2,-1] : i64[3]
  %back = const [0,6,-1,4] : i64[4]
  %s = const @s : f32[2]
  %b = const @b : f32[2]
  %g = const @g : f32[6,1,1]
  %t = const @t : f32[1,6,1,1]
  %0 = Reshape(%x, %to) : f32[N,2,12*H]
  %1 = InstanceNormalization(%0, %s, %b) {epsilon=0.001} : f32[N,2,12*H]
  %2 = Reshape(%1, %back) : f32[N,6,H,4]"""


def after(name: str, rest: str = "") -> str:
    return f"""graph @net(%x: f32[N,6,H,4]) {{
  %{name}.scale = const @{name}.scale : f32[6]
  %{name}.bias = const @{name}.bias : f32[6]
  %{name} = GroupNormalization(%x, %{name}.scale, %{name}.bias) {{num_groups=2, epsilon=0.001}} : f32[N,6,H,4]{rest}
}}"""


@pytest.mark.parametrize(("statements", "last"), [
    ("%3 = Mul(%2, %g) : f32[N,6,H,4]\n  %4 = Add(%t, %3) : f32[N,6,H,4]", "4"),
    ("%3 = Mul(%g, %2) : f32[N,6,H,4]", "3"),
    ("%3 = Add(%2, %t) : f32[N,6,H,4]", "3"),
    ("", "2"),
])
def test_fires(statements: str, last: str) -> None:
    check_rewrite(recognize_group_normalization, f"{HEAD}\n  {statements}\n  return %{last}\n}}",
                  after(last, f"\n  return %{last}"), tolerance=1e-6)


STAYS = {
    "read in between": f"{HEAD}\n  return %1, %2\n}}",
    "another shape after": HEAD.replace("[0,6,-1,4] :", "[0,12,-1,2] :").replace(
        "%2 = Reshape(%1, %back) : f32[N,6,H,4]", "%2 = Reshape(%1, %back) : f32[N,12,H,2]") + "\n  return %2\n}",
    "groups of another axis": HEAD.replace("[0,2,-1]", "[2,2,-1]").replace("f32[N,2,12*H]", "f32[2,2,6*H*N]")
    .replace("[0,6,-1,4]", "[-1,6,7,4]").replace("N,6,H,4", "N,6,7,4").replace("6*H*N", "42*N") + "\n  return %2\n}",
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_stays(text: str) -> None:
    check_stays(recognize_group_normalization, text)
