"""Running one kernel launch through the real executor, and float64 references."""

import numpy as np

from cnncc.runtime.cpu.conv_shape import ConvShape
from cnncc.runtime.cpu.kernel import Launch, ceil_div
from tests.runtime.cpu.guard import Guarded, run_guarded

UNIT = 2.0**-24


def run(launch: Launch, operands: dict[str, np.ndarray], threads: int = 1) -> None:
    """Execute a launch over arrays, laid against guard pages at their starts and then at their ends."""
    results = []
    for at_start in (True, False):
        placed = {id(array): Guarded(array, at_start) for array in operands.values()}
        run_guarded(launch, {name: placed[id(array)] for name, array in operands.items()}, threads, at_start)
        results.append({name: placed[id(operands[name])].data for name in launch.writes})
    for name, data in results[0].items():
        assert np.array_equal(data, results[1][name]), f"'{name}' depends on where it lies"
        operands[name].reshape(-1).view(np.uint8)[:] = data


def to_blocked(x: np.ndarray, lanes: int, surplus: float = np.nan) -> np.ndarray:
    """[N, C, *spatial] as [N, C/c, *spatial, c]; surplus lanes hold ``surplus`` (in integers, 90), which must never
    matter."""
    n, c, *spatial = x.shape
    blocks = ceil_div(c, lanes)
    real = x.dtype.kind == "f"
    padded = np.full((n, blocks * lanes, *spatial), surplus if real else 90, np.float32 if real else x.dtype)
    padded[:, :c] = x
    return np.ascontiguousarray(np.moveaxis(padded.reshape(n, blocks, lanes, *spatial), 2, -1))


def from_blocked(y: np.ndarray, channels: int) -> np.ndarray:
    n, blocks, *spatial, lanes = y.shape
    return np.moveaxis(y, -1, 2).reshape(n, blocks * lanes, *spatial)[:, :channels]


def lift(values, fill: int) -> tuple[int, int, int]:
    """A spatial tuple with the rank lifted to 3."""
    return (fill,) * (3 - len(values)) + tuple(values)


def conv_reference(x, w, stride, dilation, pad, out_size, groups):
    """float64 convolution (3 spatial dimensions) and the same with absolute values: (y, sum of |x| |w|)."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    n, channels = x.shape[:2]
    reach = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in zip(out_size, stride, w.shape[2:], dilation, strict=True)]
    padded = np.zeros((n, channels, *(max(r, p + i) for r, p, i in zip(reach, pad, x.shape[2:], strict=True))))
    padded[:, :, pad[0] : pad[0] + x.shape[2], pad[1] : pad[1] + x.shape[3], pad[2] : pad[2] + x.shape[4]] = x
    per_in, per_out = channels // groups, w.shape[0] // groups
    y = np.zeros((n, w.shape[0], *out_size))
    size = np.zeros_like(y)
    for tap in np.ndindex(*w.shape[2:]):
        window = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s) for t, d, o, s in zip(tap, dilation, out_size, stride, strict=True)
        )
        part = padded[(slice(None), slice(None), *window)]
        for g in range(groups):
            xs = part[:, g * per_in : (g + 1) * per_in]
            ws = w[(slice(g * per_out, (g + 1) * per_out), slice(None), *tap)]
            y[:, g * per_out : (g + 1) * per_out] += np.einsum("ncdhw,oc->nodhw", xs, ws)
            size[:, g * per_out : (g + 1) * per_out] += np.einsum("ncdhw,oc->nodhw", abs(xs), abs(ws))
    return y, size


def random_groups(rng, inner: int, outer: int, rank: int, most: int = 23, last=None) -> ConvShape:
    """A convolution of up to ``most`` groups of ``inner`` input and ``outer`` output channels; ``last``, where given,
    is the kernel, the stride and the dilation of the last axis."""
    kernel = tuple(int(k) for k in rng.integers(1, 6 if rank < 3 else 3, rank))
    stride = tuple(int(s) for s in rng.integers(1, 4, rank))
    dilation = tuple(int(d) for d in rng.choice([1, 1, 2], rank))
    if last is not None:
        kernel, stride, dilation = ((*a[:-1], b) for a, b in zip((kernel, stride, dilation), last, strict=True))
    pad = tuple(int(rng.integers(0, k + 1)) for k in kernel)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(int(max(1, rng.integers(1, 20), r - 2 * p)) for r, p in zip(reach, pad, strict=True))
    out = tuple((i + 2 * p - r) // s + 1 for i, p, r, s in zip(size, pad, reach, stride, strict=True))
    groups = int(rng.integers(1, most + 1))
    return ConvShape(
        int(rng.integers(1, 3)), groups * inner, groups * outer, lift(size, 1), lift(out, 1), lift(kernel, 1),
        lift(stride, 1), lift(dilation, 1), lift(pad, 0), groups,
    )  # fmt: skip
