"""Fourier transforms, and what audio networks put around them. A complex number is a last axis of size 2."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import OpError
from ..ir import DimLike, DType, Op, Operand, TensorType
from ..records import record
from .dtypes import FLOATS, INDICES, check_dtype
from .sizes import known_sizes, resolve_axis, unknown_sizes

__all__ = ["DFT", "STFT", "MelWeightMatrix"]

Array = np.ndarray[Any, Any]


def _parts(op_type: str, name: str, x: Operand) -> int:
    """1 for a real signal, 2 for a complex one."""
    check_dtype(op_type, name, x, FLOATS)
    parts = x.type.shape[-1] if x.type.rank > 1 else 0
    if parts not in (1, 2):
        raise OpError(f"{op_type}: {name} {x.type} must have a last axis of size 1 (real) or 2 (complex)")
    return parts


def _scalar(op_type: str, name: str, operand: Operand) -> DimLike:
    """The contents of an operand of one number, unknown ones included."""
    if operand.type.size != 1:
        raise OpError(f"{op_type}: {name} must be one number, not {operand.type}")
    (number,) = known_sizes(op_type, name, operand)
    if isinstance(number, int) and number < 1:
        raise OpError(f"{op_type}: {name} must be at least 1, not {number}")
    return number


def _complex(x: Array) -> Array:
    """x [..., 1 or 2] as complex numbers [...]; half precision is computed in single."""
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    return np.asarray(wide[..., 0] if x.shape[-1] == 1 else wide[..., 0] + np.complex64(1j) * wide[..., 1])


def _pairs(z: Array, dtype: np.dtype[Any]) -> Array:
    return np.stack([z.real, z.imag], axis=-1).astype(dtype)


@record
class DFT(Op):
    """ONNX DFT-20: the discrete Fourier transform along `axis`, or its inverse, which divides by the length. The signal
    is cut or filled with zeros to `dft_length`.

    `onesided` leaves out what is conjugate to the rest: forward, of a real signal, the output has length // 2 + 1
    places; inverse, the input has, and the output is real and by default twice as long less two.
    """

    since = 20
    operands = ("input", "dft_length?", "axis?")
    results = ("output",)
    shaped_by = ("dft_length", "axis")

    inverse: bool = False
    onesided: bool = False

    def infer(self, x: Operand, length: Operand | None = None, axis: Operand | None = None) -> tuple[TensorType, ...]:
        parts = _parts("DFT", "the input", x)
        if self.onesided and (parts == 1) == self.inverse:
            kind = "a complex" if self.inverse else "a real"
            raise OpError(f"DFT: onesided takes {kind} input, not {x.type}")
        size = None if length is None else _scalar("DFT", "dft_length", length)
        last = 1 if self.onesided and self.inverse else 2
        where = -2
        if axis is not None:
            check_dtype("DFT", "axis", axis, INDICES)
            if axis.value is None:
                return (TensorType(x.type.dtype, (*unknown_sizes("DFT", x.type.rank - 1), last)),)
            where = int(axis.value.ravel()[0])
        at = self._axis(x.type.rank, where)
        shape = list(x.type.shape)
        size = self._length(shape[at]) if size is None else size
        shape[at], shape[-1] = size // 2 + 1 if self.onesided and not self.inverse else size, last
        return (TensorType(x.type.dtype, tuple(shape)),)

    def reference(self, x: Array, length: Array | None = None, axis: Array | None = None) -> tuple[Array, ...]:
        at = self._axis(x.ndim, -2 if axis is None else int(axis.ravel()[0]))
        size = self._length(x.shape[at]) if length is None else int(length.ravel()[0])
        signal = _complex(x)
        if self.onesided and self.inverse:
            return (np.fft.irfft(signal, size, at)[..., None].astype(x.dtype),)
        transform = np.fft.ifft if self.inverse else np.fft.rfft if self.onesided else np.fft.fft
        return (_pairs(transform(signal, size, at), x.dtype),)

    def _axis(self, rank: int, axis: int) -> int:
        at = resolve_axis("DFT", axis, rank)
        if at == rank - 1:
            raise OpError("DFT: axis is the last one, which holds the parts of complex numbers")
        return at

    def _length(self, size: Any) -> Any:
        return 2 * (size - 1) if self.onesided and self.inverse else size


@record
class STFT(Op):
    """ONNX STFT-17: the Fourier transforms of frames of the signal [N, length, 1 or 2], `frame_step` apart, each times
    the window: [N, frames, bins, 2]. `onesided` gives the first frame_length // 2 + 1 bins."""

    since = 17
    operands = ("signal", "frame_step", "window?", "frame_length?")
    results = ("output",)
    shaped_by = ("frame_step", "frame_length")

    onesided: bool = True

    def infer(self, signal: Operand, step: Operand, window: Operand | None = None,
              length: Operand | None = None) -> tuple[TensorType, ...]:
        parts = _parts("STFT", "signal", signal)
        if signal.type.rank != 3:
            raise OpError(f"STFT: signal must have three axes, not {signal.type}")
        if self.onesided and parts == 2:
            raise OpError(f"STFT: onesided takes a real signal, not {signal.type}")
        count, samples, _ = signal.type.shape
        size: DimLike = samples
        if window is not None:
            if window.type.dtype != signal.type.dtype or window.type.rank != 1:
                raise OpError(f"STFT: window must have one axis and the signal's type, not {window.type}")
            (size,) = window.type.shape
        if length is not None:
            wanted = _scalar("STFT", "frame_length", length)
            if isinstance(wanted, int) and isinstance(size, int) and window is not None and wanted != size:
                raise OpError(f"STFT: the window's {size} elements are not the frame_length {wanted}")
            size = wanted if window is None else size
        if isinstance(size, int) and isinstance(samples, int) and size > samples:
            raise OpError(f"STFT: a frame of {size} is longer than the signal {signal.type}")
        frames = (samples - size) // _scalar("STFT", "frame_step", step) + 1
        return (TensorType(signal.type.dtype, (count, frames, size // 2 + 1 if self.onesided else size, 2)),)

    def reference(self, signal: Array, step: Array, window: Array | None = None,
                  length: Array | None = None) -> tuple[Array, ...]:
        size = window.size if window is not None else signal.shape[1] if length is None else int(length.ravel()[0])
        weights = 1 if window is None else window
        starts = range(0, signal.shape[1] - size + 1, int(step.ravel()[0]))
        samples = _complex(signal)
        frames = np.stack([samples[:, start:start + size] * weights for start in starts], axis=1)
        transform = np.fft.rfft if self.onesided else np.fft.fft
        return (_pairs(transform(frames, axis=-1), signal.dtype),)


@record
class MelWeightMatrix(Op):
    """ONNX MelWeightMatrix-17: triangles of height 1, a column each, over the dft_length // 2 + 1 bins of a spectrum.
    Their feet and tops lie at bins that are equally far apart in mel(f) = 2595 log10(1 + f / 700)."""

    since = 17
    operands = ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz")
    results = ("output",)
    shaped_by = ("num_mel_bins", "dft_length")

    output_datatype: DType = DType.F32

    def infer(self, bands: Operand, length: Operand, rate: Operand, low: Operand,
              high: Operand) -> tuple[TensorType, ...]:
        _scalar("MelWeightMatrix", "sample_rate", rate)
        for name, edge in (("lower_edge_hertz", low), ("upper_edge_hertz", high)):
            check_dtype("MelWeightMatrix", name, edge, FLOATS)
        if self.output_datatype is DType.BOOL:
            raise OpError("MelWeightMatrix: output_datatype must be a type of numbers, not bool")
        bins = _scalar("MelWeightMatrix", "dft_length", length) // 2 + 1
        return (TensorType(self.output_datatype, (bins, _scalar("MelWeightMatrix", "num_mel_bins", bands))),)

    def reference(self, bands: Array, length: Array, rate: Array, low: Array, high: Array) -> tuple[Array, ...]:
        count, size = int(bands.ravel()[0]), int(length.ravel()[0])
        first, last = (2595 * np.log10(1 + float(edge.ravel()[0]) / 700) for edge in (low, high))
        mels = first + np.arange(count + 2) * (last - first) / (count + 2)
        hertz = 700 * (10 ** (mels / 2595) - 1)
        bins = np.floor((size + 1) * hertz / int(rate.ravel()[0])).astype(int)
        result = np.zeros((size // 2 + 1, count))
        for band, (left, top, right) in enumerate(zip(bins, bins[1:], bins[2:], strict=False)):
            for j in range(left, top):
                result[j, band] = (j - left) / (top - left)
            for j in range(top, right):
                result[j, band] = (right - j) / (right - top)
            result[top, band] = 1
        return (result.astype(self.output_datatype.numpy),)
