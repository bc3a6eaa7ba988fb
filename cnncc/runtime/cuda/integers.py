"""Integer arithmetic of kernels. Numba widens int32 to int64 and divides as Python does; a GPU does both slowly."""

from __future__ import annotations

from cnncc.runtime.cuda.language import SIMULATED

__all__ = ["divide", "within"]

if SIMULATED:

    def divide(a, b):
        """Quotient and remainder of int32 numbers, a not negative and b positive."""
        return divmod(a, b)

    def within(a, b):
        """Whether 0 <= a < b, for int32 numbers, b not negative."""
        return 0 <= a < b

else:
    from numba.cuda import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.typing import signature

    @intrinsic
    def divide(typingctx, a, b):
        def codegen(context, builder, sig, args):
            quotient = builder.udiv(*args)
            rest = builder.sub(args[0], builder.mul(quotient, args[1]))
            return context.make_tuple(builder, sig.return_type, [quotient, rest])

        return signature(types.UniTuple(types.int32, 2), types.int32, types.int32), codegen

    @intrinsic
    def within(typingctx, a, b):
        def codegen(context, builder, sig, args):
            return builder.icmp_unsigned("<", *args)

        return signature(types.boolean, types.int32, types.int32), codegen
