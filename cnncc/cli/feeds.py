"""From `--input [NAME=]FILE` to the arrays a session is fed with."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..feeds import check_feed
from ..ir import TensorType
from .pictures import PICTURE_SUFFIXES, PictureOptions, read_pictures

__all__ = ["random_feeds", "read_array", "read_constants", "read_feeds"]

Array = np.ndarray[Any, Any]


def read_feeds(given: Sequence[str], inputs: Mapping[str, TensorType],
               options: PictureOptions | None = None) -> dict[str, Array]:
    """The arrays for `inputs` (name -> type) that the options `--input` name.

    A file without a name belongs to the only input; several pictures without a name make a batch; an .npz file
    without a name holds one array an input, by name.
    Raises InputError for a wrong name, a missing input, an unreadable file, and a type or shape that does not fit.
    """
    files: dict[str, list[Path]] = {}
    feeds: dict[str, Array] = {}
    for text in given:
        name, path = _split(text, inputs)
        if name is None and path.suffix.lower() == ".npz":
            feeds |= _named(path, inputs)
        elif name is None and len(inputs) != 1:
            raise InputError(f"the model has {len(inputs)} inputs ({', '.join(inputs)}); say which one '{path}' is "
                             f"for: --input {next(iter(inputs), 'NAME')}={path}")
        else:
            files.setdefault(name or next(iter(inputs)), []).append(path)
    for name, paths in files.items():
        feeds[name] = _read(name, paths, inputs[name], options or PictureOptions())
    missing = [name for name in inputs if name not in feeds]
    if missing:
        name = missing[0]
        raise InputError(f"nothing was given for the input '{name}' ({inputs[name]}); add --input {name}=FILE")
    return {name: check_feed(name, feeds[name], type_) for name, type_ in inputs.items()}


def read_constants(given: Sequence[str] | None) -> dict[str, Array | list[float]]:
    """The contents that the options `--constant NAME=VALUE` fix inputs to: `shape=2,3` or `table=x.npy`."""
    found: dict[str, Array | list[float]] = {}
    for text in given or ():
        name, _, value = text.rpartition("=")
        if name and value.lower().endswith(".npy"):
            found[name] = read_array(Path(value))[""]
            continue
        try:
            found[name] = [float(part) if "." in part else int(part) for part in value.split(",")]
        except ValueError:
            name = ""
        if not name:
            raise InputError(f"'{text}' is not a constant; write --constant NAME=2,3 or --constant NAME=FILE.npy")
    return found


def _split(text: str, inputs: Mapping[str, TensorType]) -> tuple[str | None, Path]:
    """NAME=FILE in two, where NAME is an input's; both may hold '='."""
    for name in inputs:
        if text.startswith(f"{name}="):
            return name, Path(text[len(name) + 1:])
    before, equals, _ = text.partition("=")
    if equals and not Path(text).exists():
        raise _unknown(before, inputs)
    return None, Path(text)


def _unknown(name: str, inputs: Mapping[str, TensorType]) -> InputError:
    close = difflib.get_close_matches(name, inputs, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(inputs)}"
    return InputError(f"the model has no input '{name}'; {hint}")


def _read(name: str, paths: Sequence[Path], type_: TensorType, options: PictureOptions) -> Array:
    if all(path.suffix.lower() in PICTURE_SUFFIXES for path in paths):
        return read_pictures(paths, name, type_, options)
    if len(paths) > 1:
        raise InputError(f"{len(paths)} files were given for the input '{name}'; only pictures make a batch")
    path = paths[0]
    arrays = read_array(path)
    if len(arrays) > 1 and name not in arrays:
        raise InputError(f"'{path}' holds the arrays {', '.join(arrays)}, but none named '{name}'")
    return arrays[name] if name in arrays else next(iter(arrays.values()))


def _named(path: Path, inputs: Mapping[str, TensorType]) -> dict[str, Array]:
    arrays = read_array(path)
    if len(inputs) == 1 and len(arrays) == 1:
        return dict(zip(inputs, arrays.values(), strict=True))
    for name in arrays:
        if name not in inputs:
            raise _unknown(name, inputs)
    return arrays


def read_array(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file by name, or the one of an .npy file under the name ''."""
    if path.suffix.lower() not in (".npy", ".npz"):
        raise InputError(f"'{path}' is neither an .npy or .npz file nor a picture ({', '.join(PICTURE_SUFFIXES)})")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        with loaded:
            arrays = {name: loaded[name] for name in loaded.files}
    except FileNotFoundError:
        raise InputError(f"there is no file '{path}'") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"'{path}' cannot be read as {path.suffix.lower()[1:]}: {error}") from None
    if not arrays:
        raise InputError(f"'{path}' holds no array")
    return arrays


def random_feeds(inputs: Mapping[str, TensorType], sizes: Mapping[str, int]) -> dict[str, Array]:
    """Seeded arrays for all inputs: normal numbers, integers of 0 and 1; symbolic sizes not in `sizes` are 1."""
    random = np.random.default_rng(0)
    feeds = {}
    for name, type_ in inputs.items():
        shape = type_.bind(dict.fromkeys(type_.symbols, 1) | dict(sizes)).static_shape
        values = random.standard_normal(shape) if type_.dtype.is_float else random.integers(0, 2, shape)
        feeds[name] = values.astype(type_.dtype.numpy)
    return feeds
