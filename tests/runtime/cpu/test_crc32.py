"""The kernel that sums plan files gives zlib's sums, and reads nothing beyond the data."""

import zlib

import numpy as np
import pytest

from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernels import crc32
from tests.runtime.cpu.guard import Guarded

pytestmark = pytest.mark.skipif(not crc32.is_possible(), reason="the CPU has no carry-less product")
KEY = (crc32.KERNEL.name, ())


@pytest.mark.parametrize("at_start", [False, True])
def test_sums_are_those_of_zlib(at_start: bool) -> None:
    native.publish(KEY)
    sum_of = crc32.crc32_at_hand()
    assert sum_of is not zlib.crc32
    rng = np.random.default_rng(0)
    for size in (0, 1, 63, 64, 65, 127, 128, 129, 191, 192, 1000, 4096, 70_001):
        data = Guarded(rng.bytes(size), at_start)
        data.lock()
        for before in (0, 1, 0xDEADBEEF, 0xFFFFFFFF):
            assert sum_of(data.data.data, before) == zlib.crc32(data.data.data, before), (size, before)


def test_every_flipped_bit_changes_the_sum() -> None:
    native.publish(KEY)
    sum_of, data = crc32.crc32_at_hand(), np.random.default_rng(0).integers(0, 256, 200, np.uint8)
    right = sum_of(data.data, 0)
    for bit in range(8 * data.size):
        data[bit // 8] ^= 1 << bit % 8
        assert sum_of(data.data, 0) != right
        data[bit // 8] ^= 1 << bit % 8


def test_zlib_sums_where_the_kernel_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "is_cached", lambda *key: False)
    assert crc32.crc32_at_hand() is zlib.crc32
    monkeypatch.undo()
    monkeypatch.setattr(native, "has_features", lambda *names: False)
    assert crc32.crc32_at_hand() is zlib.crc32
