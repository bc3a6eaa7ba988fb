"""Weights: raw and typed data, sizes that lie, and data in other files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cnncc.errors import ModelError, UnsupportedError
from cnncc.frontends.onnx import import_model
from cnncc.frontends.onnx.limits import Limits
from cnncc.frontends.onnx.tensors import Source, tensor_array
from cnncc.ir import DType

from .models import model_of, normal


def read(tensor: TensorProto, folder: Path | None = None) -> np.ndarray:
    return tensor_array(tensor, "the initialiser 'w'", Source(folder, Limits.of()))


@pytest.mark.parametrize("dtype", list(DType))
def test_raw_and_typed_data(dtype: DType) -> None:
    array = np.array([[0, 1, 2], [3, 100, 120]]).astype(dtype.numpy)
    raw = numpy_helper.from_array(array)
    typed = helper.make_tensor("w", dtype.onnx, array.shape, array.ravel().tolist())
    assert raw.HasField("raw_data") and not typed.HasField("raw_data")
    for tensor in (raw, typed):
        result = read(tensor)
        assert result.dtype == dtype.numpy
        np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("dtype", [DType.I8, DType.I16, DType.I32, DType.I64, DType.F16, DType.F32])
def test_negative_typed_data(dtype: DType) -> None:
    tensor = helper.make_tensor("w", dtype.onnx, [2], [-1, -128])
    np.testing.assert_array_equal(read(tensor), np.array([-1, -128], dtype.numpy))


def test_scalars_and_empty_tensors() -> None:
    assert read(numpy_helper.from_array(np.array(3.0, np.float32))).shape == ()
    assert read(numpy_helper.from_array(np.zeros((0, 3), np.float32))).shape == (0, 3)


def test_raw_data_is_not_copied() -> None:
    array = read(numpy_helper.from_array(normal(64)))
    assert not array.flags.owndata and not array.flags.writeable


@pytest.mark.parametrize(("tensor", "said"), [
    (TensorProto(data_type=1, dims=[3], raw_data=b"1234"), r"f32\[3\], 12 bytes, but holds 4"),
    (TensorProto(data_type=1, dims=[3], float_data=[1, 2]), r"f32\[3\], 3 elements, but holds 2"),
    (TensorProto(data_type=1, dims=[2]), "2 elements, but holds 0"),
    (TensorProto(data_type=3, dims=[1], int32_data=[300]), "a number that i8 cannot"),
    (TensorProto(data_type=9, dims=[1], int32_data=[2]), "a number that bool cannot"),
    (TensorProto(data_type=1, dims=[-1, -4], raw_data=b"1234" * 4), "negative dimension"),
    (TensorProto(data_type=1, dims=[2**40, 2**40], raw_data=b""), "bytes that a tensor may have"),
    (TensorProto(data_type=1, dims=[2**62, 0], raw_data=b""), "bytes that a tensor may have"),
    (TensorProto(data_type=1, dims=[1] * 70, raw_data=b"1234"), "70 dimensions"),
    (TensorProto(data_type=1, dims=[1] * 9, raw_data=b"1234"), "9 dimensions, but may have at most 8"),
    (TensorProto(data_type=1, dims=[2**63 - 1], raw_data=b"1234"), "bytes that a tensor may have"),
    (TensorProto(data_type=1, dims=[-2**63], raw_data=b"1234"), "negative dimension"),
    (TensorProto(data_type=1, dims=[2**32, 2**32], raw_data=b""), "bytes that a tensor may have"),  # 2^64: no bits left
    (TensorProto(data_type=1, dims=[1], raw_data=b"1234", float_data=[1]), "in float_data and in raw_data"),
    (TensorProto(data_type=1, dims=[1], raw_data=b"1234", int64_data=[1]), "in int64_data and in raw_data"),
    (TensorProto(data_type=7, dims=[1], int64_data=[1], string_data=[b"1"]), "in int64_data and in string_data"),
    (TensorProto(data_type=1, dims=[1], raw_data=b"1234", data_location=TensorProto.EXTERNAL),
     "in raw_data and in external_data"),
])
def test_contents_that_contradict_the_shape(tensor: TensorProto, said: str) -> None:
    with pytest.raises(ModelError, match=rf"the initialiser 'w' .*{said}"):
        read(tensor)


@pytest.mark.parametrize(("number", "name"), [(TensorProto.STRING, "string"), (TensorProto.BFLOAT16, "bfloat16"),
                                              (0, "undefined"), (999, "number 999")])
def test_element_types_that_are_not_supported(number: int, name: str) -> None:
    with pytest.raises(UnsupportedError, match=f"element type {name}"):
        read(TensorProto(data_type=number, dims=[1], raw_data=b"12"))


# -- external data ---------------------------------------------------------------------------------------------------

def external(**entries: object) -> TensorProto:
    """A float32 tensor of 4 elements in another file."""
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model's folder with a file of 8 floats, and the same file outside it."""
    inside = tmp_path / "model"
    (inside / "sub").mkdir(parents=True)
    for path in (inside / "w.bin", inside / "sub" / "w.bin", tmp_path / "secret.bin"):
        path.write_bytes(np.arange(8, dtype="<f4").tobytes())
    return inside


def test_external_data_is_read_at_its_offset(folder: Path) -> None:
    for entries, first in (({"location": "w.bin"}, 0), ({"location": "w.bin", "offset": 16, "length": 16}, 4),
                           ({"location": "sub/w.bin", "offset": 8}, 2), ({"location": "./w.bin"}, 0)):
        np.testing.assert_array_equal(read(external(**entries), folder), np.arange(first, first + 4, dtype=np.float32))


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "sub/../w.bin", "", "..\\secret.bin",
                                      "C:\\secret.bin", "C:secret.bin", "\\secret.bin", "w\0.bin", "link.bin",
                                      "linked/secret.bin", "loop.bin"])
def test_external_data_outside_the_folder(folder: Path, location: str) -> None:
    (folder / "link.bin").symlink_to(folder.parent / "secret.bin")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "loop.bin").symlink_to("loop.bin")
    with pytest.raises(ModelError, match=r"not inside the model's folder|there is no such file"):
        read(external(location=location), folder)


def test_absolute_paths_are_refused_even_inside_the_folder(folder: Path) -> None:
    for path in (folder / "w.bin", folder.parent / "secret.bin"):
        with pytest.raises(ModelError, match="not inside the model's folder"):
            read(external(location=path), folder)


def test_a_link_that_stays_inside_is_followed(folder: Path) -> None:
    (folder / "alias.bin").symlink_to("sub/w.bin")
    assert read(external(location="alias.bin"), folder)[3] == 3


@pytest.mark.parametrize(("entries", "said"), [
    ({"offset": 20}, "which has only 32"),
    ({"offset": 10**18}, "which has only 32"),
    ({"length": 12}, r"f32\[4\], 16 bytes, but its external data has 12"),
    ({"offset": -4}, "offset '-4'.* not a whole number"),
    ({"offset": "1e2"}, "offset '1e2'"),
    ({"length": "9" * 40}, "length '99999999999999999999'"),
    ({"location": "absent.bin"}, "no such file"),
    ({"location": "sub"}, "no such file"),
])
def test_external_data_that_is_not_there(folder: Path, entries: dict[str, object], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read(external(**{"location": "w.bin", **entries}), folder)


def test_files_that_are_not_read(folder: Path) -> None:
    """A hard link, whose other name may be anywhere; a pipe, for which opening would wait; a device by a link."""
    (folder / "hard.bin").hardlink_to(folder.parent / "secret.bin")
    os.mkfifo(folder / "pipe.bin")
    (folder / "zero.bin").symlink_to("/dev/zero")
    for name, said in (("hard.bin", "hard link.*put a copy"), ("pipe.bin", "no such file"), ("zero.bin", "not inside")):
        with pytest.raises(ModelError, match=rf"the initialiser 'w' has its external data .*{name}.*{said}"):
            read(external(location=name), folder)


def test_keys_of_external_data(folder: Path) -> None:
    """What ONNX does not know says nothing; what it knows is said once."""
    tensor = external(location="w.bin", checksum="0", basepath="/etc", prepacked_0="1|2|3")
    assert read(tensor, folder).tolist() == [0, 1, 2, 3]
    tensor.external_data.add(key="location", value="sub/w.bin")
    with pytest.raises(ModelError, match="says twice where its external data is"):
        read(tensor, folder)


def test_a_limit_for_all_weights_together(folder: Path) -> None:
    """Many tensors may lie in the same bytes of a file: they are counted before they are read."""
    source = Source(folder, Limits.of(0, 40))
    for _ in range(2):
        tensor_array(external(location="w.bin"), "'w'", source)
    with pytest.raises(ModelError, match=r"with 'w' the model has more than 40 bytes of weights.*CNNCC_MAX_BYTES"):
        tensor_array(external(location="w.bin"), "'w'", source)


def test_external_data_needs_a_path(folder: Path) -> None:
    model = model_of("net (float[4] x) => (float[4] y) { y = Add(x, w) }", w=np.zeros(4, np.float32))
    model.graph.initializer[0].CopyFrom(external(location="w.bin"))
    onnx.save(model, folder / "net.onnx")
    (weight,) = import_model(folder / "net.onnx").constants
    assert weight.constant is not None and weight.constant.tolist() == [0, 1, 2, 3]
    for source in (model, model.SerializeToString()):
        with pytest.raises(ModelError, match=r"'w' lies in the file 'w\.bin'.*give the path"):
            import_model(source)
