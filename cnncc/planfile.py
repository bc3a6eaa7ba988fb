"""Plan files: a fixed prelude, a JSON header, aligned weights. docs/plan-format.md describes them for a reader.

Damage is told from error. Bytes that were altered, cut or appended give PlanCorrupt, whichever bit it is: the prelude,
the header and the weights have a CRC-32 each, and what lies between them must be zero. Bytes that are as they were
written but contradict themselves give PlanInvalid. CRC-32 is quick (2.5 GB/s in zlib, 10 in a kernel of ours, where
SHA-256 does 1.7 with and 0.5 without its own instructions) and finds every error of up to 32 bits in a row; it is no
protection from an attacker, and none is needed: what a plan says is checked, not trusted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import stat
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .crc import join_crc32
from .environment import memory_limit
from .errors import InputError, PlanCorrupt, PlanError, PlanInvalid, PlanVersionError
from .ir import DType
from .parallel import in_parallel, usable_cpus
from .plan import Plan
from .plan_checks import check_plan
from .planheader import Header, Weight, format_header, parse_header, parse_json
from .replacing import end_of_links, replacing

__all__ = ["VERSION", "parse_plan", "plan_bytes", "read_plan", "write_plan"]

Array = np.ndarray[Any, Any]
Read = Callable[[Array, int, int], None]  # fills these bytes of a block from the same place in the file
_seeking = threading.Lock()  # where reading needs a position of the file

MAGIC = b"CNNCCPLN"
VERSION = 1
FEATURES = 0  # bits of the features this version knows; a plan sets those a reader must have
ALIGNMENT = 64
MAX_HEADER = 1 << 28  # bytes: that of a million steps
CHUNK = 1 << 20  # bytes summed while they are in the cache
LARGE = 1 << 24  # bytes of a file from which on it is worth having a kernel sum them
PARTS = 64  # into which the weights are cut for threads, at most
HALF_BYTES = 1 << 12  # of a float32 weight that is stored as float16 where that changes nothing
# magic, version, features, lengths of header, offset and length of weights, length of the file, CRC-32 of header and of
# weights, a word that is zero; the CRC-32 of these 60 bytes follows. Later versions keep this layout.
PRELUDE = struct.Struct("<8sIIQQQQIII")
PRELUDE_SIZE = PRELUDE.size + 4


def plan_bytes(plan: Plan) -> bytes:
    """The file of this plan, as bytes. Raises PlanInvalid if the plan contradicts itself."""
    stream = io.BytesIO()
    check_plan(plan)
    _write(plan, stream)
    return stream.getvalue()


def write_plan(plan: Plan, path: Path) -> None:
    """Writes the plan to `path`, which holds the old contents until all of the new ones are on the disk.

    Raises PlanInvalid if the plan contradicts itself, and InputError if the file cannot be written; then nothing is
    left behind.
    """
    check_plan(plan)
    try:
        target = end_of_links(path)
        if target.exists() and not target.is_file():
            raise InputError(f"cannot write the plan to '{path}': it exists and is not a file")
        with replacing(target) as stream:
            _write(plan, stream)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write the plan to '{path}': {getattr(error, 'strerror', None) or error}") from None


def read_plan(path: Path) -> Plan:
    """The plan in the file `path`, checked down to its operators; its weights are read-only.

    Raises InputError if the file cannot be read, PlanCorrupt if it is damaged or no plan, PlanVersionError if it needs
    a newer cnncc, and PlanInvalid if it contradicts itself.
    """
    try:
        with open(path, "rb", buffering=0, opener=_open_at_once) as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"cannot read the plan '{path}': it is not a file")
            return _parse(status.st_size, functools.partial(_read, stream))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the plan '{path}': {getattr(error, 'strerror', None) or error}") from None
    except PlanError as error:
        raise type(error)(f"'{path}': {error}") from None


def parse_plan(data: bytes | memoryview) -> Plan:
    """The plan whose file has these bytes. Raises as `read_plan` does, but for InputError."""
    def read(block: Array, start: int, end: int) -> None:
        block[start:end] = np.frombuffer(data[start:end], np.uint8)

    return _parse(len(data), read)


# Writing.


def _write(plan: Plan, stream: BinaryIO) -> None:
    weights, end = _lay_out(plan)
    header = format_header(Header(plan, weights))
    start = _align(PRELUDE_SIZE + len(header))
    stream.write(bytes(PRELUDE_SIZE) + header + bytes(start - PRELUDE_SIZE - len(header)))
    crc, at, crc32 = 0, 0, _crc32_for(end)
    for array, w in ((p.weights[w.buffer], w) for p, own in zip(plan.walk(), weights, strict=True) for w in own):
        if w.offset < at:  # that of another plan
            continue
        with np.errstate(over="ignore"):
            stored = array.astype(_stored(w.dtype), order="C", copy=False)
        contents = stored.reshape(-1).view(np.uint8)
        for part in (np.zeros(w.offset - at, np.uint8), contents):
            for low in range(0, part.size, CHUNK):
                crc = crc32(part[low:low + CHUNK].data, crc)
                stream.write(part[low:low + CHUNK].data)
        at = w.offset + w.length
    prelude = PRELUDE.pack(MAGIC, VERSION, FEATURES, len(header), start, end, start + end, zlib.crc32(header), crc, 0)
    stream.seek(0)
    stream.write(prelude + struct.pack("<I", zlib.crc32(prelude)))


def _lay_out(plan: Plan) -> tuple[tuple[tuple[Weight, ...], ...], int]:
    """The place of each weight of the plan and of its bodies, one after the other, and where the last one ends. What a
    body shares with a plan before it is stored once."""
    weights: list[tuple[Weight, ...]] = []
    places: dict[int, tuple[DType, int]] = {}
    end = 0
    for piece in plan.walk():
        own = []
        for buffer, array in sorted(piece.weights.items()):
            if piece is plan or not array.nbytes or id(array) not in places:
                dtype = DType.F16 if _fits_half(array) else DType.of(array.dtype)
                places[id(array)] = (dtype, _align(end))
                end = _align(end) + array.size * dtype.itemsize
            dtype, offset = places[id(array)]
            own.append(Weight(buffer, dtype, array.shape, offset, array.size * dtype.itemsize))
        weights.append(tuple(own))
    return tuple(weights), end


def _fits_half(array: Array) -> bool:
    """Whether all numbers of a float32 weight that is worth it are float16 numbers, bit for bit."""
    if array.dtype != np.float32 or array.nbytes < HALF_BYTES:
        return False
    flat = array.reshape(-1)
    return all(_is_half(flat[low:low + CHUNK]) for low in range(0, flat.size, CHUNK))


def _is_half(part: Array) -> bool:
    first = part[:64]
    for numbers in (first, part):
        with np.errstate(over="ignore"):
            again = numbers.astype(np.float16).astype(np.float32)
        if not np.array_equal(again.view(np.uint32), numbers.view(np.uint32)):
            return False
    return True


# Reading.


def _open_at_once(path: str, flags: int) -> int:
    """Opens a file; a FIFO, too, without waiting for whoever writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read(stream: io.FileIO, block: Array, start: int, end: int) -> None:
    """Fills these bytes of the block from the same place in the file. Many threads may read at once."""
    while start < end:
        if hasattr(os, "preadv"):
            count = os.preadv(stream.fileno(), [block[start:end].data], start)
        else:
            with _seeking:
                stream.seek(start)
                count = stream.readinto(block[start:end].data) or 0
        if not count:
            raise PlanCorrupt(f"the plan is cut off: the file ended after {start} of {block.size} bytes while it was "
                              "read")
        start += count


def _parse(size: int, read: Read) -> Plan:
    """The plan in a file of `size` bytes; its weights are read-only views of one copy of the file in memory of our own.
    What is summed and checked is that copy, and it is read but once."""
    try:
        first = np.zeros(min(PRELUDE_SIZE, size), np.uint8)
        read(first, 0, first.size)
        length, start, header_crc, weights_crc = _prelude(first.tobytes(), size, read)
        block = _aligned(size)
        block[:PRELUDE_SIZE] = first
        read(block, PRELUDE_SIZE, start)
        text, padding = block[PRELUDE_SIZE:PRELUDE_SIZE + length], block[PRELUDE_SIZE + length:start]
        if zlib.crc32(text.data) != header_crc or padding.any():
            raise PlanCorrupt("the plan is damaged: its header is not what was written")
        if _read_and_sum(block, start, read) != weights_crc:
            raise PlanCorrupt("the plan is damaged: its weights are not what was written")
        for array in (block, block.base):
            if array is not None:
                array.flags.writeable = False
        header = parse_header(text.tobytes())
        checksum = f"{header_crc:08x}{weights_crc:08x}{size:x}"
        plan = dataclasses.replace(_filled(header, block[start:]), checksum=checksum)
        check_plan(plan)
        return plan
    except (RecursionError, MemoryError) as error:
        raise PlanInvalid(f"the plan is too large or too deeply nested to be read ({type(error).__name__})") from None


def _read_and_sum(block: Array, start: int, read: Read) -> int:
    """Reads the block from `start` on; the CRC-32 of that. A thread sums what it has just read, while it is cached."""
    size, crc32 = max(CHUNK, -(-(block.size - start) // PARTS)), _crc32_for(block.size)

    def part(low: int) -> tuple[int, int]:
        high, crc = min(low + size, block.size), 0
        for at in range(low, high, CHUNK):
            end = min(at + CHUNK, high)
            read(block, at, end)
            crc = crc32(block[at:end].data, crc)
        return crc, high - low

    parts = in_parallel([functools.partial(part, low) for low in range(start, block.size, size)], usable_cpus())
    return functools.reduce(lambda crc, found: join_crc32(crc, *found), parts[1:], parts[0][0] if parts else 0)


def _crc32_for(size: int) -> Callable[[memoryview, int], int]:
    """What sums parts of so many bytes."""
    if size < LARGE:
        return zlib.crc32
    from .runtime.cpu.kernels.crc32 import crc32_at_hand

    return crc32_at_hand()


def _prelude(raw: bytes, total_size: int, read: Read) -> tuple[int, int, int, int]:
    """Length of the header, offset of the weights, CRC-32 of both, from a prelude that is whole and fits the file."""
    if raw[:len(MAGIC)] != MAGIC[:len(raw)] or not raw:
        raise PlanCorrupt(f"this is not a plan: {_looks_like(raw)}")
    if len(raw) < PRELUDE_SIZE:
        raise PlanCorrupt(f"the plan is cut off: the file ends after {len(raw)} bytes")
    _, version, features, length, start, size, total, header_crc, weights_crc, spare = PRELUDE.unpack(raw[:-4])
    if struct.pack("<I", zlib.crc32(raw[:-4])) != raw[-4:]:
        raise PlanCorrupt("the plan is damaged: its first 64 bytes are not what was written")
    if version != VERSION or features & ~FEATURES:
        told = np.zeros(min(PRELUDE_SIZE + length, total_size, CHUNK), np.uint8)
        read(told, PRELUDE_SIZE, told.size)
        raise PlanVersionError(_version_problem(version, features & ~FEATURES, told[PRELUDE_SIZE:].tobytes()))
    if start != _align(PRELUDE_SIZE + length) or total != start + size or spare:
        raise PlanInvalid("the plan's first 64 bytes give places of its header and weights that do not fit together")
    if total_size < total:
        raise PlanCorrupt(f"the plan is cut off: the file has {total_size} of {total} bytes")
    if total_size > total:
        raise PlanCorrupt(f"the plan is damaged: {total_size - total} bytes follow its end")
    if length > MAX_HEADER:
        raise PlanInvalid(f"the plan's header has {length:,} bytes; {MAX_HEADER:,} is the most that is read")
    if total > memory_limit():
        raise PlanInvalid(f"the plan has {total:,} bytes; the limit is {memory_limit():,}: raise it with "
                          "CNNCC_MAX_BYTES")
    return length, start, header_crc, weights_crc


def _version_problem(version: int, features: int, header: bytes) -> str:
    producer = None
    with contextlib.suppress(PlanInvalid):  # a newer header may hold anything
        top = parse_json(header)
        producer = top.get("producer") if isinstance(top, dict) else None
    writer = f" by {producer}" if isinstance(producer, str) else ""
    if version < VERSION:
        return f"the plan was written{writer} in format version {version}, which is no longer read: compile it again"
    needs = f"in format version {version}" if version > VERSION else f"with the features {features:#x}"
    return (f"the plan was written{writer} {needs}, but this cnncc reads version {VERSION} with the features "
            f"{FEATURES:#x}: upgrade cnncc, or compile the model again with this one")


def _filled(header: Header, section: Array) -> Plan:
    """The plan with the contents of its weights, and its bodies with theirs. They must follow one another, each on the
    next aligned byte, up to the end; a weight of a body may also be one that came before."""
    contents, seen, end = [], set[tuple[int, int]](), 0
    for plan, places in zip(header.plan.walk(), header.weights, strict=True):
        weights: dict[int, Array] = {}
        for w in places:
            if plan is header.plan or (w.offset, w.length) not in seen:
                end = _check_place(plan.buffers[w.buffer].name, w, end, section)
                seen.add((w.offset, w.length))
            array = section[w.offset:w.offset + w.length].view(_stored(w.dtype)).reshape(w.shape)
            if w.dtype is DType.BOOL and (section[w.offset:w.offset + w.length] > 1).any():
                raise PlanInvalid(f"the weight '{plan.buffers[w.buffer].name}' is of booleans, but has bytes that are "
                                  "neither 0 nor 1")
            wanted = plan.buffers[w.buffer].type.dtype
            widened = w.dtype is DType.F16 and wanted is DType.F32
            weights[w.buffer] = array.astype(wanted.numpy if widened else w.dtype.numpy, copy=False)
        contents.append(weights)
    if end != section.size:
        raise PlanInvalid(f"the weights end at byte {end}, but their section has {section.size}")
    return _with_weights(header.plan, iter(contents))


def _with_weights(plan: Plan, contents: Iterator[dict[int, Array]]) -> Plan:
    own = next(contents)
    steps = tuple(dataclasses.replace(step, op=dataclasses.replace(step.op, **{
        name: _with_weights(body, contents) for name, body in step.op.bodies.items()})) if step.op.bodies else step
        for step in plan.steps)
    return dataclasses.replace(plan, weights=own, steps=steps)


def _check_place(name: str, w: Weight, end: int, section: Array) -> int:
    """Where the weight ends; `end` is where the one before it does."""
    if w.offset != _align(end) or w.offset + w.length > section.size:
        raise PlanInvalid(f"the weight '{name}' lies at byte {w.offset} of the weights and has {w.length}, but it "
                          f"must begin at {_align(end)} and end by {section.size}")
    if section[end:w.offset].any():
        raise PlanInvalid(f"the bytes before the weight '{name}' are not zero")
    return w.offset + w.length


_LOOKS = (
    (b"\x80", "a Python pickle"), (b"PK\x03\x04", "a zip archive, such as .npz or .pt"),
    (b"\x93NUMPY", "a NumPy array"), (b"\x89PNG", "a PNG image"), (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89HDF", "an HDF5 file"), (b"\x1f\x8b", "a gzip file"),
)


def _looks_like(raw: bytes) -> str:
    """What a file that begins with `raw` seems to be, for the user who took the wrong one."""
    if not raw:
        return "the file is empty"
    # A serialised ONNX ModelProto begins with field 1, ir_version, a small integer.
    if raw[0] == 8 and raw[1:2] < b"\x20":
        return "it looks like an ONNX model, which must be compiled first (cnncc compile)"
    if raw[8:10] == b'{"' and raw[4:8] == bytes(4):
        return "it looks like a safetensors file"
    kind = next((kind for start, kind in _LOOKS if raw.startswith(start)), "")
    if not kind and all(32 <= byte < 127 or byte in b"\t\n\r" for byte in raw):
        kind = "text"
    return f"it looks like {kind}" if kind else "it does not begin as one does"


def _aligned(size: int) -> Array:
    """`size` bytes on an address that is a multiple of ALIGNMENT."""
    owner = np.empty(size + ALIGNMENT, np.uint8)
    first = -owner.ctypes.data % ALIGNMENT
    return owner[first:first + size]


def _align(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _stored(dtype: DType) -> np.dtype[Any]:
    """The dtype in the file: little-endian."""
    return dtype.numpy.newbyteorder("<")
