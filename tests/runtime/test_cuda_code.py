"""Machine code of tiled kernels, compiled for GPUs that need not be there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cnncc.errors import InputError
from cnncc.runtime.cpu import kernel_cache
from cnncc.runtime.cuda import codegen, machine_code
from cnncc.runtime.cuda.kernel import make_params
from cnncc.runtime.cuda.kernels import conv_direct, conv_sum, gemm

PLAIN = {"tensor": 0, "bk": 16, "split": 0, "residual": 0, "activation": "clip"}
TILED = {
    "channels": (conv_direct.KERNEL, {"form": "channels", "bm": 128, "bn": 128, "wide": 1}),
    "taps": (conv_direct.KERNEL, {"form": "taps", "bm": 64, "bn": 64, "wide": 0}),
    "runs and lines": (gemm.KERNEL, {"a_form": "runs", "a_width": 4, "b_form": "lines", "b_width": 4, "bm": 64,
                                     "bn": 128, "wide": 1, "add": 1}),
}


@pytest.fixture(autouse=True)
def tools() -> None:
    """Skips where NVIDIA's compiler or its readers of machine code are not installed."""
    pytest.importorskip("cuda.bindings", reason="numba-cuda with NVIDIA's compiler is not installed")
    try:
        machine_code.find_tool("cuobjdump"), machine_code.find_tool("nvdisasm")
    except InputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", TILED)
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
def test_inner_loop(name: str, capability: tuple[int, int]) -> None:
    """Four fifths of it are FFMAs, shared memory is read by 128 bits, and nothing is spilled."""
    kernel, params = TILED[name]
    image, _ = codegen.compile_image((kernel.name, make_params(**PLAIN, **params)), capability)
    code = machine_code.read_machine_code(image, capability)
    loop = code.busiest_loop()
    assert loop["FFMA"] == 1024
    assert loop["FFMA"] >= 0.8 * loop.total()
    assert loop["LDS.128"] == 64
    assert not loop["LDS"]
    assert (code.spills, code.stack) == (0, 0)
    assert code.registers <= 168  # at least 3 warps for each scheduler


@pytest.mark.parametrize("name", TILED)
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
def test_inner_loop_on_tensor_cores(name: str, capability: tuple[int, int]) -> None:
    """An HMMA takes 8 cycles at least, in which a warp issues what else there is; nothing is spilled."""
    kernel, params = TILED[name]
    chosen = {**PLAIN, **params, "tensor": 1, "bm": 128, "bn": 128}
    image, _ = codegen.compile_image((kernel.name, make_params(**chosen)), capability)
    code = machine_code.read_machine_code(image, capability)
    loop = code.busiest_loop()
    assert loop["HMMA.1688.F32.TF32"] == 64 and not loop["FFMA"]
    assert loop.total() <= 8 * 64
    assert not loop["LDS.128"] and loop["LDS.64"] in (16, 32) and loop["LDS"] == 32
    assert (code.spills, code.stack) == (0, 0)
    assert code.registers <= 256  # two blocks of 128 threads on a multiprocessor


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernel_cache.cache_folder.cache_clear()
    yield
    kernel_cache.cache_folder.cache_clear()


@pytest.mark.usefixtures("empty_cache")
def test_kernels_are_compiled_by_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [(conv_sum.KERNEL.name, make_params(residual=r, activation="clip")) for r in (0, 1)]
    monkeypatch.setattr(codegen, "compile_image", None)  # all is done elsewhere
    told: list[int] = []
    codegen.fill_cache(keys, (8, 0), told.append)
    assert told == [1, 2]
    codegen.fill_cache(keys, (8, 0), told.append)
    assert told == [1, 2]  # they are in the cache


def test_shared_memory_is_aligned_for_accesses_of_128_bits() -> None:
    kernel, params = TILED["taps"]
    text = codegen.compile_ptx(kernel, make_params(**PLAIN, **params), (8, 0))
    arrays = [line for line in text.splitlines() if ".shared" in line and ".b8" in line]
    assert arrays
    assert all(".align 16" in line for line in arrays)
