"""What GPUs can do by their makers' data sheets: for the cost model that picks tiles, and for predictions."""

from __future__ import annotations

from ...errors import InputError
from ...records import record

__all__ = ["DEFAULT", "DEVICES", "Device", "issue_share", "model_of", "occupancy"]


@record
class Device:
    """`cores` are FP32 lanes of a multiprocessor (one FMA a cycle each), `clock` the boost clock in Hz, `bandwidth` of
    device memory in bytes a second, `l2` its cache in bytes; per multiprocessor: `shared` bytes, `registers` of 32
    bits, `threads` and `blocks` at most. `tf32` is what its tensor cores do without sparsity, in FLOPs a second, `mma`
    the share of that for instructions of a single warp. `launch` is the time between two dependent kernels of a
    captured graph, in seconds, an assumption rather than a data sheet's."""

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    cores: int
    clock: float
    bandwidth: float
    l2: int
    shared: int
    registers: int = 65536
    threads: int = 2048
    blocks: int = 32
    tf32: float = 0.0
    mma: float = 1.0
    launch: float = 1.5e-6

    @property
    def flops(self) -> float:
        """Of FP32 FMAs, a second."""
        return 2.0 * self.multiprocessors * self.cores * self.clock

    def multiply_adds(self, tensor: bool) -> float:
        """Of one multiprocessor, a second: FMAs, or those of its tensor cores."""
        return self.tf32 * self.mma / 2 / self.multiprocessors if tensor else self.cores * self.clock


# NVIDIA H100 SXM5 80 GB, A100 SXM4 40 GB (their architecture white papers, and for TF32 their data sheets: 989 TFLOP/s
# with sparsity, twice what they do without, and 156). Only instructions of four warps (wgmma) use Hopper's tensor cores
# fully, but they need shared memory laid out for them; how much those of one warp reach is an assumption.
DEVICES = {
    "h100": Device("NVIDIA H100 SXM5", (9, 0), 132, 128, 1.98e9, 3.35e12, 50 << 20, 228 << 10,
                   tf32=494.5e12, mma=0.6),
    "a100": Device("NVIDIA A100 SXM4 40GB", (8, 0), 108, 64, 1.41e9, 1.555e12, 40 << 20, 164 << 10,
                   tf32=156e12),
}
DEFAULT = DEVICES["h100"]  # what tiles are chosen for where no device is at hand


# Of a multiprocessor's FMAs, what so many resident warps reach: with few, nothing hides latencies. An assumption.
_ISSUE = ((4, 0.45), (8, 0.7), (12, 0.82), (16, 0.88), (32, 0.92))


def issue_share(warps: float) -> float:
    """The share of a multiprocessor's FMAs that so many resident warps issue."""
    before = (0.0, 0.0)
    for most, share in _ISSUE:
        if warps <= most:
            return before[1] + (share - before[1]) * (warps - before[0]) / (most - before[0])
        before = most, share
    return before[1]


def model_of(name: str | None) -> Device:
    """The device of this name; without one that at hand, or else DEFAULT."""
    if name is not None:
        if name not in DEVICES:
            raise InputError(f"there is no device '{name}': it is one of {', '.join(DEVICES)}")
        return DEVICES[name]
    from .driver import missing

    if missing() is not None:
        return DEFAULT
    from .device import device

    return device().model()


def occupancy(device: Device, threads: int, registers: int, shared: int) -> int:
    """How many blocks of so many threads, registers a thread and bytes of shared memory a multiprocessor holds at once.

    Registers are given to a warp in units of 256, shared memory to a block in units of 1024 bytes, of which the system
    takes 1024 itself (CUDA's occupancy calculator).
    """
    warps = -(-threads // 32)
    by_registers = device.registers // (warps * -(-registers * 32 // 256) * 256) if registers else device.blocks
    by_shared = device.shared // (-(-shared // 1024) * 1024 + 1024)
    return min(device.blocks, device.threads // (warps * 32), by_registers, by_shared)
