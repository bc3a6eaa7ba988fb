"""The kernel cache: found again without numba, rebuilt when damaged, refused when others could write to it."""

import ctypes
import os
import struct
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest

from cnncc.runtime.cpu import codegen, image
from cnncc.runtime.cpu.kernel import Kernel, make_params
from cnncc.runtime.cpu.kernels import conv_depthwise

KEY = ("executor_run", ())
SCRIPT = """
import sys, warnings
warnings.simplefilter("error" if {strict} else "ignore")
from cnncc.runtime.cpu import kernel_cache, native
address = native.get_kernel("executor_run", ())
assert address
print("numba" in sys.modules, kernel_cache.cache_info().entries)
"""


def fresh(folder, strict: bool = True) -> list[str]:
    """What a new process prints: was numba imported, how many entries are in the cache."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    script = SCRIPT.format(strict=strict)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_second_process_compiles_nothing(tmp_path) -> None:
    assert fresh(tmp_path) == ["True", "1"]
    assert fresh(tmp_path) == ["False", "1"]
    assert (tmp_path / "cnncc").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", [b"", b"x" * 2000, None])
def test_damaged_entry_is_rebuilt(tmp_path, damage) -> None:
    fresh(tmp_path)
    [entry] = (tmp_path / "cnncc").glob("*.kernel")
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    assert fresh(tmp_path) == ["True", "1"]
    assert fresh(tmp_path) == ["False", "1"]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
def test_folder_of_others_is_not_used(tmp_path) -> None:
    folder = tmp_path / "cnncc"
    folder.mkdir()
    folder.chmod(0o777)
    assert fresh(tmp_path, strict=False) == ["True", "0"]
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    assert fresh(tmp_path, strict=False) == ["True", "0"]
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ELF objects")
@pytest.mark.parametrize("activation", ["clip", "gelu"])
def test_objects_refer_to_nothing_outside(activation: str) -> None:
    params = make_params(lanes=16, rows=8, activation=activation, taps=3, stride=1)
    assert undefined_symbols(codegen.compile_object(conv_depthwise.KERNEL, params, "f")) == []


def undefined_symbols(elf: bytes) -> list[str]:
    """Names in the symbol table of a 64-bit ELF object that it does not define itself."""
    sections_at, count = struct.unpack_from("<Q", elf, 40)[0], struct.unpack_from("<H", elf, 60)[0]
    headers = [struct.unpack_from("<IIQQQQIIQQ", elf, sections_at + 64 * i) for i in range(count)]
    out = []
    for _, kind, _, _, offset, size, link, *_ in headers:
        if kind == 2:  # SHT_SYMTAB
            names = headers[link][4]
            for at in range(offset + 24, offset + size, 24):  # the first symbol is null
                name, _, _, section = struct.unpack_from("<IBBH", elf, at)
                if section == 0:
                    out.append(elf[names + name : elf.index(b"\0", names + name)].decode())
    return [name for name in out if name != "_GLOBAL_OFFSET_TABLE_"]


def test_several_processes_fill_the_cache(tmp_path) -> None:
    script = (
        "from cnncc.runtime.cpu import native\n"
        "keys = [('executor_run', ()), ('executor_work', ())] * 2\n"
        "from cnncc.runtime.cpu import compile_pool\n"
        "compile_pool.KERNELS_PER_WORKER = 1\n"
        "seen = []\n"
        "addresses = native.warm(keys, lambda done, total, key: seen.append((done, total)), workers=2)\n"
        "import sys\n"
        "print(seen == [(1, 2), (2, 2)], all(addresses), 'numba' in sys.modules)\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "False"]


@pytest.mark.skipif(not image._is_possible(), reason="images are for Linux on x86-64")
def test_an_image_computes_what_its_object_does() -> None:
    kernel = Kernel("table", ("y",), (), build_table)
    data = codegen.compile_object(kernel, (), "f")
    block = image.from_object(data, "f")
    assert block is not None and image.is_image(block) and not image.is_image(data)
    assert image.from_object(data, "another") is None
    for address in (image.load(block), codegen.load_object(data, "f")):
        y, words = np.zeros(4, np.float32), np.zeros(1, np.int64)
        words[0] = y.ctypes.data
        ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 3)(address)(words.ctypes.data, 0, 4)
        assert y.tolist() == [1.5, 2.5, 3.5, 4.5]


@pytest.mark.skipif(not image._is_possible(), reason="images are for Linux on x86-64")
@pytest.mark.parametrize("text", ["@outside = external global i32", "@outside = global i32 1"],
                         ids=["what is elsewhere", "what can be written"])
def test_code_that_needs_more_than_itself_is_no_image(text: str) -> None:
    module = llvm.parse_assembly(f"{text}\ndefine i32 @f() {{\n  %x = load i32, ptr @outside\n  ret i32 %x\n}}")
    assert image.from_object(codegen._machine().emit_object(module), "f") is None


@pytest.mark.parametrize("safe", [False, True])
def test_a_kernel_that_can_raise_is_refused(safe: bool) -> None:
    """An index of a tuple raises unless it is known to be inside."""

    def build():
        from cnncc.runtime.cpu.memory_access import load_words, store_i64

        def pick(args, begin, end):
            words = load_words(args, 4)
            store_i64(words[0], words[begin % 4 if safe else begin])

        return pick

    kernel = Kernel("pick", ("y",), (), build)
    if safe:
        assert codegen.compile_object(kernel, (), "f")
    else:
        with pytest.raises(RuntimeError, match="something in it can raise"):
            codegen.compile_object(kernel, (), "f")


def build_table():
    """Constants in a section of their own: task t stores t + 1.5."""
    from cnncc.runtime.cpu.memory_access import load_i64, store_f32

    def table(args, begin, end):
        for task in range(begin, end):
            store_f32(load_i64(args) + 4 * task, task + 1.5)

    return table
