"""Conversions of float16 for CPUs that have no instruction for them: what LLVM then calls, in integer arithmetic.

By the names of compiler-rt. To float32: the bits scaled by 2^112, which is exact and right for subnormals. To float16,
rounded to nearest even: below 2^-14, adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
"""

CONVERSIONS = """
define float @__extendhfsf2(half %x) {
  %bits = bitcast half %x to i16
  %wide = zext i16 %bits to i32
  %sign = and i32 %wide, 32768
  %top = shl i32 %sign, 16
  %size = and i32 %wide, 32767
  %moved = shl i32 %size, 13
  %small = bitcast i32 %moved to float
  %scaled = fmul float %small, 0x46F0000000000000
  %finite = bitcast float %scaled to i32
  %special = or i32 %moved, 2139095040
  %isspecial = icmp uge i32 %size, 31744
  %found = select i1 %isspecial, i32 %special, i32 %finite
  %signed = or i32 %found, %top
  %y = bitcast i32 %signed to float
  ret float %y
}

define half @__truncsfhf2(float %x) {
  %bits = bitcast float %x to i32
  %size = and i32 %bits, 2147483647
  %high = lshr i32 %bits, 16
  %sign = and i32 %high, 32768
  %odd0 = lshr i32 %size, 13
  %odd = and i32 %odd0, 1
  %biased = sub i32 %size, 939524096
  %up0 = add i32 %biased, 4095
  %up = add i32 %up0, %odd
  %normal = lshr i32 %up, 13
  %value = bitcast i32 %size to float
  %sum = fadd float %value, 0.5
  %low0 = bitcast float %sum to i32
  %low = sub i32 %low0, 1056964608
  %issmall = icmp ult i32 %size, 947912704
  %finite = select i1 %issmall, i32 %low, i32 %normal
  %islarge = icmp uge i32 %size, 1199566848
  %bounded = select i1 %islarge, i32 31744, i32 %finite
  %payload0 = and i32 %odd0, 1023
  %payload = or i32 %payload0, 32256
  %isnan = icmp ugt i32 %size, 2139095040
  %found = select i1 %isnan, i32 %payload, i32 %bounded
  %signed = or i32 %found, %sign
  %narrow = trunc i32 %signed to i16
  %y = bitcast i16 %narrow to half
  ret half %y
}
"""
