"""Reading and writing files for the verbs: errors in one sentence, and no file half-written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError
from ..replacing import end_of_links
from ..replacing import replacing as replacing_file

__all__ = ["check_writable", "replacing"]


def check_writable(path: Path) -> None:
    """Raises InputError unless a file can be written at `path`: called before long work starts."""
    target = end_of_links(path)
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
    """A file to write what `path` shall hold; it takes the place of `path` once the block ends without an error. Raises
    InputError where it cannot be written."""
    try:
        check_writable(path)
        with replacing_file(end_of_links(path)) as file:  # a link stays, what it points to is replaced
            yield file
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror or error}") from None
