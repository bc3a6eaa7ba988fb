"""The CRC-32 of zlib, at memory speed: V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ
Instruction", Intel, 2009.

A CRC is a remainder of polynomials over GF(2). A block of 64 bytes and the one after it have the same remainder as a
single block: each 128-bit part of the first, moved up by 512 bits, is reduced to 128 bits again by two carry-less
products (of its halves with x^(512+32) and x^(512-32) modulo the CRC's polynomial), and added to the same part of the
second. What is left in the end are 64 bytes with the remainder of all, which zlib sums.
"""

import ctypes
import zlib
from collections.abc import Callable

import numpy as np

from cnncc.crc import power_of_x
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernel import Kernel

__all__ = ["BLOCK", "KERNEL", "crc32_at_hand", "is_possible"]

BLOCK = 64  # bytes
FAR, NEAR = (2 * power_of_x(8 * BLOCK + shift) for shift in (32, -32))  # bits of low degree first, as all of the CRC


def is_possible() -> bool:
    """Whether this machine can run the kernel."""
    return native.has_features("pclmul")


def crc32_at_hand() -> Callable[[memoryview, int], int]:
    """The sum of bytes that follow others with a given sum: by the kernel if it is compiled, otherwise by zlib."""
    if not is_possible() or not native.is_cached(KERNEL.name, ()):
        return zlib.crc32
    kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(native.get_kernel(KERNEL.name, ()))

    def crc32(data: memoryview, before: int) -> int:
        whole, rest = len(data) // BLOCK * BLOCK, np.empty(BLOCK, np.uint8)
        if not whole:
            return zlib.crc32(data, before)
        start = np.frombuffer(data, np.uint8).ctypes.data
        words = np.array([start, rest.ctypes.data, whole, ~before & 0xFFFFFFFF], np.int64)
        kernel(words.ctypes.data, 0, 1)
        # zlib inverts the register before and after; what the kernel left is to be summed with a register of 0.
        return zlib.crc32(data[whole:], zlib.crc32(rest.data, 0xFFFFFFFF))

    return crc32


def build():
    """Reduces `size` bytes at `data`, a positive multiple of BLOCK, to BLOCK bytes at `result`. `register` is the state
    of the CRC before them."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.core.typing.templates import signature
    from numba.extending import intrinsic

    from cnncc.runtime.cpu.emit import loop
    from cnncc.runtime.cpu.memory_access import load_words
    from cnncc.runtime.cpu.simd import I64, pointer

    part = ir.VectorType(I64, 2)
    byte = ir.IntType(8)

    @intrinsic
    def reduce(typingctx, data, result, size, register):
        def codegen(context, builder, sig, args):
            data, result, size, register = args
            kind = ir.FunctionType(part, [part, part, byte])
            multiply = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.pclmulqdq")
            factors = ir.Constant(part, [I64(FAR), I64(NEAR)])

            def place(start, at, number):
                return pointer(builder, builder.add(builder.add(start, at), I64(16 * number)), part)

            def load(at, number):
                return builder.load(place(data, at, number), align=1)

            def fold(at, parts):
                return [builder.xor(load(at, number), builder.xor(
                    builder.call(multiply, [value, factors, byte(0x00)]),    # the low halves
                    builder.call(multiply, [value, factors, byte(0x11)])))  # the high halves
                    for number, value in enumerate(parts)]

            first = [load(I64(0), number) for number in range(4)]
            low = builder.xor(builder.extract_element(first[0], I64(0)), register)
            first[0] = builder.insert_element(first[0], low, I64(0))
            for number, value in enumerate(loop(builder, I64(BLOCK), size, BLOCK, first, fold)):
                builder.store(value, place(result, I64(0), number), align=1)
            return context.get_dummy_value()

        return signature(types.void, *[types.int64] * 4), codegen

    def crc32(args, begin, end):
        data, result, size, register = load_words(args, 4)
        reduce(data, result, size, register)

    return crc32


KERNEL = Kernel("crc32", ("data", "result"), ("size", "register"), build)
