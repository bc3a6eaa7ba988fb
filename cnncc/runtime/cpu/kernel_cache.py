"""The folder of compiled kernels: one file an entry, checked by hash, published by rename.

It holds native code and is trusted, therefore it must be ours alone.
"""

import contextlib
import errno
import os
import stat
import time
import warnings
from functools import cache
from pathlib import Path

from cnncc.environment import cache_base
from cnncc.errors import InputError
from cnncc.records import record
from cnncc.replacing import TEMPORARY, replacing

try:
    from _blake2 import blake2b  # what hashlib has, without OpenSSL, which takes 4 ms to load
except ImportError:
    from hashlib import blake2b

_MAGIC = b"cnncc-kernel-4\n"
_LARGEST = 1 << 26  # bytes of a file of the cache
_STALE = 3600.0  # seconds after which a file that is being written has no writer any more
_SUFFIX = ".kernel"


@record
class CacheInfo:
    """``path`` is None while kernels are compiled in memory only."""

    path: Path | None
    entries: int
    bytes: int


@cache
def cache_folder() -> Path | None:
    """The cache folder, created on first use; None, after one warning, if there is none or it cannot be trusted."""
    base = cache_base()
    if base is None:
        _warn("there is no kernel cache: neither XDG_CACHE_HOME nor HOME names a folder. Kernels are compiled in "
              "memory.")
        return None
    path = base / "cnncc"
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = _distrust(path)
    except OSError as error:
        reason = error.strerror or str(error)
    if reason is None:
        return path
    _warn(f"kernel cache {path} is not used: {reason}. Kernels are compiled in memory.")
    return None


def _distrust(path: Path) -> str | None:
    """Why native code in this folder must not be run."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return "it is a link"
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    above = path.parent.stat().st_mode
    if above & stat.S_IWOTH and not above & stat.S_ISVTX:
        return "others may put another folder in its place"
    return _foreign(found)


def _foreign(found: os.stat_result) -> str | None:
    """Why what lies there may come from others."""
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            return "it belongs to another user"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "others may write to it"
    return None


def can_write() -> bool:
    """Whether there is a folder and entries may be added to it."""
    folder = cache_folder()
    return folder is not None and os.access(folder, os.W_OK | os.X_OK)


def read_entry(name: str) -> bytes | None:
    """The contents of a file of the cache; None where there is none, or it is damaged or another's."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        data = read_file(folder / name, ours=True)
    except OSError:
        return None
    head = len(_MAGIC) + 32
    code = data[head:]
    return code if data[:head] == _MAGIC + _digest(name, code) else None


def read_file(path: Path, ours: bool) -> bytes:
    """The contents of a file, of which others cannot have written any where it must be ``ours``; nothing of what is no
    such file. Never waits, as reading a pipe would."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb", buffering=0) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST or (ours and _foreign(found)):
            return b""
        return file.readall()


def write_entry(name: str, code: bytes) -> None:
    """Publish by rename: readers see a whole entry or none. Where it cannot be written, one warning says so."""
    folder = cache_folder()
    if folder is None:
        return
    _remove_stale(folder)
    try:
        with replacing(folder / name, durable=False, mode=0o600) as file:
            file.write(_MAGIC + _digest(name, code) + code)
    except OSError as error:
        if error.errno != errno.ENOENT:  # another process has emptied the folder
            _warn_unwritable(f"kernel cache {folder} cannot be written: {error.strerror or error}. Kernels that are "
                             "not in it are compiled in memory.")


def digest(*parts: bytes) -> bytes:
    """256 bits that stand for these bytes and where they are parted."""
    found = blake2b(digest_size=32)
    for part in parts:
        found.update(len(part).to_bytes(8, "little") + part)
    return found.digest()


def _digest(name: str, code: bytes) -> bytes:
    """Of an entry under its name, so that one kernel's code is not taken for another's."""
    return digest(name.encode(), code)


@cache
def _remove_stale(folder: Path) -> None:
    """Removes, once a process, what writers that were killed have left."""
    oldest = time.time() - _STALE
    with contextlib.suppress(OSError):  # another process may remove them now
        for file in folder.glob(TEMPORARY):
            if file.lstat().st_mtime < oldest:
                file.unlink()


@cache
def _warn_unwritable(text: str) -> None:
    _warn(text)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def cache_info() -> CacheInfo:
    """Where the kernel cache is and how many kernels it holds."""
    folder = cache_folder()
    sizes = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder) if folder else ():
            if entry.name.endswith(_SUFFIX):
                with contextlib.suppress(FileNotFoundError):  # another process may remove it now
                    sizes.append(entry.stat(follow_symlinks=False).st_size)
    return CacheInfo(folder, len(sizes), sum(sizes))


def clear_cache() -> int:
    """Remove every entry, those of older versions too; the number of kernels removed. Loaded kernels stay loaded."""
    folder = cache_folder()
    if folder is None:
        return 0
    try:
        kernels = [*folder.glob("*" + _SUFFIX), *folder.glob("*.o")]
        for file in (*kernels, *folder.glob("*.entry"), *folder.glob("*.tmp")):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"the kernel cache {folder} cannot be emptied: {error.strerror or error}") from None
    return len(kernels)
