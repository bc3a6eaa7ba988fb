"""How long a tiled matrix product takes, as far as tiles decide: which tile a layer gets. Estimates only rank tiles."""

from __future__ import annotations

from collections.abc import Sequence

from ...records import record
from .devices import Device, issue_share, occupancy
from .kernel import ceil_div
from .kernels.conv_direct import STEP, Tile
from .sums import blocks_of

__all__ = ["ROWS", "TILES", "Product", "choose_tile", "registers_of", "seconds"]

# (m, n): what keeps 8x8 sums in each of 64 to 256 threads; on tensor cores what 64 or 128 threads can fetch
TILES = ((64, 64), (64, 128), (128, 64), (128, 128))
TENSOR_TILES = ((64, 64), (128, 64), (128, 128))
ROWS = (64, 128)
PARTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
REGISTERS = 160        # of a thread, about (benchmarks/results has the numbers)
MANY_REGISTERS = 240   # with 128 sums in each
FEW_REGISTERS = 128    # where there are 256 threads
L2_SPEED = 2.5         # the second-level cache's bandwidth over that of device memory
LEAST_STEPS = 4        # of a part
PROLOGUE = 1.5e-6      # of a block: its first step comes from memory, its sums go there


@record
class Product:
    """``batch`` products [m, k] x [k, n]; ``moved`` bytes come from or go to device memory, whatever the tile."""

    m: int
    n: int
    k: int
    batch: int = 1
    moved: float = 0.0


def registers_of(m: int, n: int, tensor: bool) -> int:
    """Of a thread of a block for an m x n tile."""
    if tensor:
        return MANY_REGISTERS if n > 64 else REGISTERS
    return FEW_REGISTERS if blocks_of(m, n, tensor) > 1 else REGISTERS


def seconds(device: Device, product: Product, tile: Tile) -> float:
    """Of the kernels that compute it, the sum of parts included."""
    blocks = ceil_div(product.m, tile.m) * ceil_div(product.n, tile.n) * product.batch * tile.parts
    if not blocks:  # nothing to compute
        return 0.0
    steps = ceil_div(ceil_div(product.k, tile.k), tile.parts)
    shared = 4 * max(2 * tile.k * (tile.m + tile.n), tile.m // 2 * tile.n)
    resident = max(1, occupancy(device, tile.threads, registers_of(tile.m, tile.n, tile.tensor), shared))
    on_one = ceil_div(blocks, device.multiprocessors)  # blocks that the busiest multiprocessor has to do
    full, rest = divmod(on_one, resident)
    block = steps * tile.k * tile.m * tile.n / device.multiply_adds(tile.tensor)
    warps = tile.threads / 32
    compute = full * resident * block / issue_share(resident * warps)
    compute += rest * block / issue_share(rest * warps) if rest else 0.0
    loaded = 4.0 * blocks * steps * tile.k * (tile.m + tile.n) / (L2_SPEED * device.bandwidth)
    memory = product.moved / device.bandwidth
    spread = min(1.0, blocks * tile.threads / (device.multiprocessors * 256))  # few threads cannot ask for all of it
    time = max(compute, loaded, memory / spread) + PROLOGUE * ceil_div(on_one, resident)
    if tile.parts > 1:
        sums = 4.0 * product.m * product.n * product.batch
        time += device.launch + PROLOGUE + (2 * tile.parts + 1) * sums / (L2_SPEED * device.bandwidth)
    return time


def choose_tile(device: Device, product: Product, rows: Sequence[int] = ROWS, splits: bool = True,
                step: int = STEP, tensor: bool = False) -> Tile:
    """The tile of the least time among those of so many rows; on tensor cores, where it may and the device has them."""
    tensor = tensor and device.tf32 > 0
    steps = ceil_div(product.k, step)
    parts = [p for p in PARTS if p == 1 or (splits and steps >= LEAST_STEPS * p)]
    allowed = [m for m in rows if m == min(rows) or product.m > m // 2]
    candidates = [Tile(m, n, step, p, tensor) for m, n in (TENSOR_TILES if tensor else TILES) if m in allowed
                  for p in parts]
    return min(candidates, key=lambda tile: (seconds(device, product, tile), -tile.m * tile.n))


def moved_bytes(*sizes: int) -> float:
    return 4.0 * sum(sizes)
