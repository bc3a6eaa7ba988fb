"""What lies in the kernel cache's folder, or in its place, and must not be trusted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from cnncc.errors import InputError
from cnncc.runtime.cpu import image, kernel_cache, native
from cnncc.runtime.cpu.kernel_cache import cache_folder, cache_info, clear_cache, read_entry, write_entry

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
NAME, CODE = "k.kernel", b"code of a kernel"


@pytest.fixture(autouse=True)
def _anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The cache is in tmp_path, and nothing is known of it yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    functions = (cache_folder, kernel_cache._remove_stale, kernel_cache._warn_unwritable)
    for function in functions:
        function.cache_clear()
    yield
    for function in functions:
        function.cache_clear()


def use() -> list[str]:
    """Writes and reads twice; the warnings given."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for _ in range(2):
            write_entry(NAME, CODE)
            read_entry(NAME)
    return [str(w.message) for w in found]


# -- the folder ------------------------------------------------------------------------------------------------------


def link(folder: Path) -> None:
    folder.with_name("elsewhere").mkdir(mode=0o700)
    folder.symlink_to("elsewhere")


def shared(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o770)


def replaceable(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    folder.parent.chmod(0o777)


@pytest.mark.parametrize(("make", "reason"), [
    (link, "it is a link"), (lambda f: f.symlink_to("nowhere"), "File exists"), (shared, "others may write to it"),
    (lambda f: f.write_bytes(b""), "File exists"), (replaceable, "others may put another folder in its place"),
], ids=["link", "dangling link", "writable by others", "file", "replaceable by others"])
def test_a_folder_that_is_not_ours_alone_is_not_used(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    make(tmp_path / "cnncc")
    before = sorted(tmp_path.rglob("*"))
    [warning] = use()
    assert warning == f"kernel cache {tmp_path / 'cnncc'} is not used: {reason}. Kernels are compiled in memory."
    assert cache_info().path is None and read_entry(NAME) is None and not kernel_cache.can_write()
    assert sorted(tmp_path.rglob("*")) == before and clear_cache() == 0


def test_the_folder_of_another_user_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert use() == [] and read_entry(NAME) == CODE
    cache_folder.cache_clear()
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    [warning] = use()
    assert "it belongs to another user" in warning and read_entry(NAME) is None


@pytest.mark.parametrize("home", [None, "", "relative"])
@pytest.mark.parametrize("base", [None, "", "relative"])
def test_without_a_home_kernels_stay_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, home: str | None,
                                               base: str | None) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in (("HOME", home), ("XDG_CACHE_HOME", base)):
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    [warning] = use()
    assert warning == ("there is no kernel cache: neither XDG_CACHE_HOME nor HOME names a folder. Kernels are compiled "
                       "in memory.")
    assert cache_info() == kernel_cache.CacheInfo(None, 0, 0) and not list(tmp_path.iterdir())


READ_ONLY = """
import os, sys, tempfile, warnings
from pathlib import Path
from cnncc.runtime.cpu import compile_pool, kernel_cache
from cnncc.errors import InputError
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
with tempfile.TemporaryDirectory() as base:
    kernel_cache.cache_base = lambda: Path(base)
    kernel_cache.write_entry("k.kernel", b"code")
    Path(base, "cnncc").chmod(0o500)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        for name in ("k.kernel", "l.kernel", "m.kernel"):
            kernel_cache.write_entry(name, b"other")
        try:
            kernel_cache.clear_cache()
        except InputError as error:
            print(error)
    print(*[w.message for w in found], kernel_cache.read_entry("k.kernel"), kernel_cache.can_write(),
          kernel_cache.cache_info().entries, sep="\\n")
    Path(base, "cnncc").chmod(0o700)
"""


def test_a_read_only_folder_is_read_and_never_written() -> None:
    done = subprocess.run([sys.executable, "-c", READ_ONLY], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    emptied, warning, *rest = done.stdout.splitlines()
    assert emptied.endswith("cannot be emptied: Permission denied")
    assert warning.endswith("cannot be written: Permission denied. Kernels that are not in it are compiled in memory.")
    assert rest == ["b'code'", "False", "1"]


# -- its entries -----------------------------------------------------------------------------------------------------


def entry(tmp_path: Path) -> Path:
    assert use() == []
    return tmp_path / "cnncc" / NAME


def hole(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def socket_at(path: Path) -> None:
    path.unlink()
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{here}/{path.name}")  # as the path may be too long for one
    os.close(here)


def another(path: Path) -> None:
    write_entry("other.kernel", b"code of another kernel")
    path.write_bytes(path.with_name("other.kernel").read_bytes())


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda p: p.write_bytes(b""),
    "cut": lambda p: p.write_bytes(p.read_bytes()[:-1]),
    "longer": lambda p: p.write_bytes(p.read_bytes() + b"\0"),
    "of an older version": lambda p: p.write_bytes(b"cnncc-kernel-2\n" + p.read_bytes()[15:]),
    "a terabyte": hole,
    "of another kernel": another,
    "a link": linked,
    "a pipe": piped,
    "a socket": socket_at,
    "written by others": lambda p: p.chmod(0o622),
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc")
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_none_and_is_replaced(tmp_path: Path, damage: str) -> None:
    path = entry(tmp_path)
    DAMAGE[damage](path)
    assert read_entry(NAME) is None
    write_entry(NAME, CODE)
    assert read_entry(NAME) == CODE


def test_every_flipped_bit_of_an_entry_is_found(tmp_path: Path) -> None:
    path = entry(tmp_path)
    whole = path.read_bytes()
    for at in range(8 * len(whole)):
        path.write_bytes(whole[:at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1:])
        assert read_entry(NAME) is None


def test_what_killed_writers_left_is_removed_after_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "cnncc"
    folder.mkdir(mode=0o700)
    old, young = folder / ".cnncc-0123456789abcdef.tmp", folder / ".cnncc-fedcba9876543210.tmp"
    for path, age in ((old, 7200), (young, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    write_entry(NAME, CODE)
    assert sorted(p.name for p in folder.iterdir()) == [young.name, NAME]
    assert clear_cache() == 1 and not list(folder.iterdir())


@pytest.mark.skipif(not image._is_possible(), reason="images are for Linux on x86-64")
def test_an_entry_that_changes_once_it_is_loaded_harms_nothing(tmp_path: Path) -> None:
    """Code runs from memory that no file backs: no SIGBUS when the file is cut, no other code when it is written."""
    code = b"\x48\x8d\x04\x37\xc3".ljust(4096, b"\xcc")  # lea rax, [rdi + rsi]; ret
    write_entry(NAME, (image._MAGIC + bytes(8)).ljust(image._START, b"\0") + code)
    path = tmp_path / "cnncc" / NAME
    found = read_entry(NAME)
    assert found is not None
    import ctypes

    add = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(image.load(found))
    assert add(30, 12) == 42
    path.write_bytes(path.read_bytes()[:-4000])
    assert add(30, 12) == 42
    os.truncate(path, 0)
    assert add(30, 12) == 42


def test_kernels_are_named_by_the_text_they_are_made_of() -> None:
    assert native._file(("executor_run", ())) != native._file(("executor_work", ()))
    assert native._file(("executor_run", ())).endswith(".kernel")


def test_a_cache_that_cannot_be_emptied_says_so(tmp_path: Path) -> None:
    entry(tmp_path)
    (tmp_path / "cnncc" / "folder.kernel").mkdir()
    with pytest.raises(InputError, match="cannot be emptied"):
        clear_cache()
