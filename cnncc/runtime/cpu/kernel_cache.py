"""The folder of compiled kernels: one file an entry, checked by hash, published by rename.

It holds native code and is trusted, therefore it must be ours alone.
"""

import hashlib
import os
import stat
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_MAGIC = b"cnncc-kernel-2\n"


@dataclass(frozen=True)
class CacheInfo:
    """``path`` is None while kernels are compiled in memory only."""

    path: Path | None
    entries: int
    bytes: int


@cache
def cache_folder() -> Path | None:
    """The cache folder, created on first use; None if it cannot be trusted."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "cnncc"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _distrust(path)
    except OSError as error:
        reason = str(error)
    if reason is None:
        return path
    warnings.warn(f"kernel cache {path} is not used: {reason}. Kernels are compiled in memory.", stacklevel=2)
    return None


def _distrust(path: Path) -> str | None:
    """Why native code in this folder must not be run."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return "it is a link"
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            return "it belongs to another user"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "others may write to it"
    return None


def read_entry(name: str) -> bytes | None:
    """The contents of a file of the cache; None where there is none, or it is damaged."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        data = (folder / name).read_bytes()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    code = data[head:]
    if not data.startswith(_MAGIC) or hashlib.sha256(code).digest() != data[len(_MAGIC) : head]:
        return None
    return code


def write_entry(name: str, code: bytes) -> None:
    """Publish by rename: readers see a whole entry or none. A full or read-only disk is no error."""
    folder = cache_folder()
    if folder is None:
        return
    import tempfile

    try:
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(code).digest() + code)
            os.replace(temporary, folder / name)
        except OSError:
            os.unlink(temporary)
    except OSError:
        return


def cache_info() -> CacheInfo:
    """Where the kernel cache is and how many kernels it holds."""
    folder = cache_folder()
    files = list(folder.glob("*.o")) if folder else []
    return CacheInfo(folder, len(files), sum(f.stat().st_size for f in files))


def clear_cache() -> int:
    """Remove every entry; the number of kernels removed. Loaded kernels stay loaded."""
    folder = cache_folder()
    files = [*folder.glob("*.o"), *folder.glob("*.entry"), *folder.glob("*.tmp")] if folder else []
    for file in files:
        file.unlink(missing_ok=True)
    return sum(file.suffix == ".o" for file in files)
