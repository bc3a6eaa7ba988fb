"""Between plain [N, C, S] and blocked [N, C/c, S, c], of 4-byte or 1-byte elements: tiles of c x c elements transposed
in registers."""

from cnncc.runtime.cpu.kernel import Kernel, Launch, ceil_div, make_params

TO_BLOCKED, TO_PLAIN = "to_blocked", "to_plain"
OPERANDS = ("x", "y")
DIMS = ("channels", "blocks", "pixels", "chunk", "chunks")
TASK_PIXELS = 512  # of one block of channels


def launch_reorder(shape: tuple[int, ...], source: str, target: str, lanes: int, item: int = 4) -> Launch:
    """The step that moves a tensor [N, C, *spatial] from one layout ("plain" or "blocked") to the other; its elements
    have ``item`` bytes.

    To blocked, the surplus lanes of the last block repeat the last channel.
    """
    if {source, target} != {"plain", "blocked"} or len(shape) < 2 or item not in (1, 4):
        raise ValueError(f"there is no reordering of a tensor {list(shape)} from {source} to {target}")
    images, channels, pixels = shape[0], shape[1], 1
    for size in shape[2:]:
        pixels *= size
    blocks = ceil_div(channels, lanes)
    chunks = ceil_div(pixels, TASK_PIXELS)
    plain, blocked = item * images * channels * pixels, item * images * blocks * pixels * lanes
    direction = TO_BLOCKED if target == "blocked" else TO_PLAIN
    read, written = (plain, blocked) if direction == TO_BLOCKED else (blocked, plain)
    return Launch(
        KERNEL, make_params(direction=direction, lanes=lanes, item=item),
        (channels, blocks, pixels, TASK_PIXELS, chunks),
        tasks=images * blocks * chunks if channels else 0, reads={"x": (0, read)}, writes={"y": (0, written)},
    )  # fmt: skip


def build(direction: str, lanes: int, item: int):
    from cnncc.runtime.cpu.memory_access import load_i64
    from cnncc.runtime.cpu.transpose import transpose_bytes, transpose_tile

    transpose = transpose_tile if item == 4 else transpose_bytes
    to_blocked = direction == TO_BLOCKED
    width = item * lanes

    def reorder(args, begin, end):
        x, y = load_i64(args), load_i64(args + 8)
        channels, blocks, pixels = load_i64(args + 16), load_i64(args + 24), load_i64(args + 32)
        chunk, chunks = load_i64(args + 40), load_i64(args + 48)
        plain_step = item * pixels
        for task in range(begin, end):
            piece = task % chunks
            block = task // chunks % blocks
            image = task // chunks // blocks
            first = block * lanes
            valid = min(lanes, channels - first)
            plain = (image * channels + first) * plain_step
            blocked = (image * blocks + block) * pixels * width
            stop = min(pixels, (piece + 1) * chunk)
            for p in range(piece * chunk, stop, lanes):
                count = min(lanes, stop - p)
                here, there = plain + item * p, blocked + width * p
                if to_blocked:
                    transpose(x + here, plain_step, valid, count, y + there, width, lanes, lanes)
                else:
                    transpose(x + there, width, count, valid, y + here, plain_step, count, lanes)

    return reorder


KERNEL = Kernel("reorder", OPERANDS, DIMS, build)
