"""Pictures as tensors: the layout follows from the input's shape, the size from its height and width."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..ir import TensorType
from ..records import record

__all__ = ["PICTURE_SUFFIXES", "PictureOptions", "read_pictures"]

Array = np.ndarray[Any, Any]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")


@record
class PictureOptions:
    """How pixels become numbers: (pixel * scale - mean) / std, where a pixel is 0 to 255.

    Attributes:
        mean, std: one number, or one a channel.
        stretch: fit the picture by changing its proportions instead of cutting its longer side.
        bgr: channels in the order blue, green, red.
    """

    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    stretch: bool = False
    bgr: bool = False


@record
class _Layout:
    """Where a tensor keeps its channels, and the sizes it fixes (None: any)."""

    channels: int
    height: int | None
    width: int | None
    channels_last: bool
    batch: int | None
    has_batch: bool


def read_pictures(paths: Sequence[Path], name: str, type_: TensorType, options: PictureOptions) -> Array:
    """The pictures as one array for the input `name` of this type, stacked along its batch axis.

    Raises InputError where a file is not a picture, the input is not one for pictures, or the sizes do not fit.
    """
    layout = _layout(name, type_)
    if len(paths) > 1 and not layout.has_batch:
        raise InputError(f"the input '{name}' of shape {_shape(type_)} takes one picture, not {len(paths)}")
    if layout.batch not in (None, len(paths)):
        raise InputError(f"the input '{name}' of shape {_shape(type_)} takes {layout.batch} pictures at once, "
                         f"not {len(paths)}; repeat --input or compile with a symbolic batch")
    pixels = [_read(path, layout, options) for path in paths]
    for path, picture in zip(paths, pixels, strict=True):
        if picture.shape != pixels[0].shape:
            raise InputError(f"'{path}' and '{paths[0]}' differ in size; pictures of one batch must be of one size")
    batch = np.stack(pixels)  # n h w c
    batch = _normalise(batch, name, type_, options)
    batch = batch if layout.channels_last else batch.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(batch if layout.has_batch else batch[0])


def _layout(name: str, type_: TensorType) -> _Layout:
    shape = tuple(d if isinstance(d, int) else None for d in type_.shape)
    if type_.rank in (3, 4):
        has_batch = type_.rank == 4
        batch, (a, b, c) = (shape[0] if has_batch else None), shape[-3:]
        if a in (1, 3):
            return _Layout(a, b, c, False, batch, has_batch)
        if c in (1, 3):
            return _Layout(c, a, b, True, batch, has_batch)
    raise InputError(f"the input '{name}' of shape {_shape(type_)} is not one for a picture (it has no axis of 1 or "
                     f"3 channels); give it as a .npy or .npz file")


def _read(path: Path, layout: _Layout, options: PictureOptions) -> Array:
    """The pixels, uint8 [h, w, c], of the size the layout fixes."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("L" if layout.channels == 1 else "RGB")
    except FileNotFoundError:
        raise InputError(f"there is no file '{path}'") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"'{path}' cannot be read as a picture: {error}") from None
    size = (layout.width or picture.width, layout.height or picture.height)
    if options.stretch:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    elif size != picture.size:
        picture = ImageOps.fit(picture, size, Image.Resampling.BILINEAR)
    pixels = np.asarray(picture).reshape(size[1], size[0], layout.channels)
    return pixels[:, :, ::-1] if options.bgr else pixels


def _normalise(pixels: Array, name: str, type_: TensorType, options: PictureOptions) -> Array:
    if not type_.dtype.is_float:
        if type_.dtype.value != "u8":
            raise InputError(f"the input '{name}' is {type_.dtype.value}, which a picture is not; give an .npy file")
        if options != PictureOptions(stretch=options.stretch, bgr=options.bgr):
            raise InputError(f"the input '{name}' takes raw bytes; leave out --scale, --mean and --std")
        return pixels
    channels = pixels.shape[-1]
    for option, values in (("--mean", options.mean), ("--std", options.std)):
        if len(values) not in (1, channels):
            raise InputError(f"{option} has {len(values)} numbers, but the input '{name}' has {channels} channels; "
                             f"give one number or {channels}")
    mean, std = (np.array(values, np.float32) for values in (options.mean, options.std))
    scaled = pixels.astype(np.float32) * np.float32(options.scale)
    return np.asarray((scaled - mean) / std, type_.dtype.numpy)


def _shape(type_: TensorType) -> str:
    return str(type_).partition("[")[1] + str(type_).partition("[")[2]
