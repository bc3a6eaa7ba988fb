"""Writing a file so that whoever reads it, whatever happens meanwhile, finds all of the old contents or of the new."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["TEMPORARY", "end_of_links", "replacing"]

TEMPORARY = ".cnncc-*.tmp"  # what a process that is killed while it writes may leave beside the file


@contextlib.contextmanager
def replacing(target: str | Path, *, durable: bool = True, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new file that takes the place of `target` once the block ends without an error, and is removed after one.

    Args:
        target: the path of a file, or of none yet; a link would be replaced, not followed.
        durable: the contents reach the disk before the name does, and both before this returns, so that a loss of power
            leaves the old file or the new one, too.
        mode: permissions, less those that the process's umask withholds.

    Raises OSError where the file cannot be made, written or named.
    """
    target = Path(target)
    temporary = target.parent / TEMPORARY.replace("*", os.urandom(8).hex())
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with open(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable and hasattr(os, "O_DIRECTORY"):
        _sync_folder(target.parent)


def end_of_links(path: str | Path) -> Path:
    """What `path` leads to, be it there or not: links are followed. Raises OSError where that cannot be told."""
    try:
        return Path(os.path.realpath(path, strict=True))
    except (FileNotFoundError, NotADirectoryError):
        return Path(os.path.realpath(path))


def _sync_folder(folder: Path) -> None:
    """The name, too, must reach the disk; file systems that refuse to sync a folder have no way to do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
