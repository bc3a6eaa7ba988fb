"""Element types and tensor types."""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Mapping

import numpy as np

from ..errors import GraphError
from ..records import record
from .dims import Dim, DimLike, evaluate_dim, parse_dim, symbols_of

__all__ = ["MAX_RANK", "DType", "TensorType", "check_extent", "parse_type"]


class DType(enum.Enum):
    """Element types. The value is the name used in IR text; `onnx` is ONNX's TensorProto.DataType number."""

    F16 = "f16"
    F32 = "f32"
    F64 = "f64"
    I8 = "i8"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    BOOL = "bool"

    @property
    def numpy(self) -> np.dtype:
        """The NumPy dtype, in native byte order."""
        return _NUMPY[self]

    @property
    def onnx(self) -> int:
        return _ONNX[self]

    @property
    def itemsize(self) -> int:
        """Bytes an element."""
        return _NUMPY[self].itemsize

    @property
    def is_float(self) -> bool:
        return self in (DType.F16, DType.F32, DType.F64)

    @property
    def is_integer(self) -> bool:
        return not self.is_float and self is not DType.BOOL

    @property
    def ort_name(self) -> str:
        """The name onnxruntime gives a tensor of this type, as in `tensor(float)`."""
        return f"tensor({_ORT[self]})"

    @staticmethod
    def of(dtype: np.dtype | type) -> DType:
        """The DType of a NumPy dtype; raises GraphError for one that cnncc has not."""
        found = _FROM_NUMPY.get(np.dtype(dtype).newbyteorder("="))
        if found is None:
            raise GraphError(f"the element type {np.dtype(dtype)} is not supported")
        return found

    @staticmethod
    def from_onnx(number: int) -> DType | None:
        """The DType of ONNX's TensorProto.DataType number, or None."""
        return _FROM_ONNX.get(number)


_NUMPY = {t: np.dtype(n) for t, n in {
    DType.F16: "float16", DType.F32: "float32", DType.F64: "float64", DType.I8: "int8", DType.I16: "int16",
    DType.I32: "int32", DType.I64: "int64", DType.U8: "uint8", DType.U16: "uint16", DType.U32: "uint32",
    DType.U64: "uint64", DType.BOOL: "bool"}.items()}
# Numbers of onnx.TensorProto.DataType.
_ONNX = {DType.F32: 1, DType.U8: 2, DType.I8: 3, DType.U16: 4, DType.I16: 5, DType.I32: 6, DType.I64: 7, DType.BOOL: 9,
         DType.F16: 10, DType.F64: 11, DType.U32: 12, DType.U64: 13}
_ORT = {DType.F16: "float16", DType.F32: "float", DType.F64: "double", DType.BOOL: "bool"} | {
    t: _NUMPY[t].name for t in DType if t not in (DType.F16, DType.F32, DType.F64, DType.BOOL)}
_FROM_NUMPY = {n: t for t, n in _NUMPY.items()}
_FROM_ONNX = {n: t for t, n in _ONNX.items()}
_FROM_NAME = {t.value: t for t in DType}


MAX_RANK = 8
MAX_BYTES = 2**47  # of a tensor: what a process can address


@record
class TensorType:
    """An element type and a shape of known rank; each dimension is an int >= 0 or a symbolic Dim."""

    dtype: DType
    shape: tuple[DimLike, ...]

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_static(self) -> bool:
        return Dim not in map(type, self.shape)  # asked often: a generator takes three times as long

    @property
    def size(self) -> DimLike:
        """The number of elements."""
        total: DimLike = 1
        for d in self.shape:
            total = total * d
        return total

    @property
    def static_shape(self) -> tuple[int, ...]:
        """The shape as ints; raises GraphError while a dimension is symbolic."""
        if not self.is_static:
            raise GraphError(f"the shape of {self} is not known yet")
        return self.shape  # type: ignore[return-value]  # all are ints

    @property
    def nbytes(self) -> int:
        """Bytes of a dense tensor of this type, which must be static."""
        return math.prod(self.static_shape) * self.dtype.itemsize

    @property
    def symbols(self) -> set[str]:
        return {s for d in self.shape for s in symbols_of(d)}

    def bind(self, bindings: Mapping[str, int]) -> TensorType:
        """This type with symbols replaced by their sizes."""
        return self if self.is_static else TensorType(
            self.dtype, tuple(evaluate_dim(d, bindings) for d in self.shape))

    def __str__(self) -> str:
        return f"{self.dtype.value}[{','.join(str(d).replace(' ', '') for d in self.shape)}]"


def check_extent(type_: TensorType) -> None:
    """Raises GraphError where no tensor of this type can be: of too many axes, or larger than memory is ever."""
    if type_.rank > MAX_RANK:
        raise GraphError(f"a tensor of {type_.rank} axes: there may be {MAX_RANK}")
    elements = math.prod(d for d in type_.shape if isinstance(d, int) and d)
    if elements * type_.dtype.itemsize > MAX_BYTES:
        raise GraphError(f"a tensor of more than 2^{MAX_BYTES.bit_length() - 1} bytes")


@functools.lru_cache(1024)  # the same few come again and again
def parse_type(text: str) -> TensorType:
    """The type written as `text`, such as `f32[N,3,224,224]`."""
    name, bracket, rest = text.strip().partition("[")
    dtype = _FROM_NAME.get(name)
    if not bracket or not rest.endswith("]") or dtype is None:
        raise GraphError(f"'{text}' is not a tensor type: write it as f32[N,3,224,224]")
    dims = rest[:-1].split(",") if rest[:-1].strip() else []
    shape = tuple(parse_dim(d) for d in dims)
    if any(isinstance(d, int) and d < 0 for d in shape):
        raise GraphError(f"'{text}' is not a tensor type: a dimension is at least 0")
    return TensorType(dtype, shape)
