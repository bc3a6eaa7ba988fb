"""Reading and writing files for the verbs: errors in one sentence, and no file half-written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError

__all__ = ["check_writable", "replacing"]


def check_writable(path: Path) -> None:
    """Raises InputError unless a file can be written at `path`: called before long work starts."""
    target = Path(os.path.realpath(path))
    folder = target.parent
    if target.is_dir():
        raise InputError(f"cannot write '{path}': it is a folder; name a file")
    if target.exists() and not target.is_file():
        raise InputError(f"cannot write '{path}': it is not a file but a device or the like")
    if not folder.exists():
        raise InputError(f"cannot write '{path}': the folder '{folder}' does not exist; make it first")
    if not folder.is_dir():
        raise InputError(f"cannot write '{path}': '{folder}' is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write '{path}': you may not write to the folder '{folder}'")


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write what `path` shall hold; it takes the place of `path` once the block ends without an error."""
    check_writable(path)
    target = os.path.realpath(path)  # a link stays, what it points to is replaced
    try:
        handle, name = tempfile.mkstemp(dir=os.path.dirname(target), prefix=f".{path.name}.", suffix=".tmp")
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
