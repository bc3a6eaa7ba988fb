"""Files that are no models, or not ones that can be read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from cnncc.errors import CnnccError, ModelError
from cnncc.frontends import load_graph
from cnncc.frontends.onnx import import_model
from cnncc.ir import verify

from .models import model_of

RELU = "net (float[2] x) => (float[2] y) { y = Relu(x) }"


def refused(path: Path | str) -> str:
    with pytest.raises(ModelError) as info:
        import_model(path)
    return str(info.value)


def test_a_path_bytes_and_a_model_are_read(tmp_path: Path) -> None:
    model = model_of(RELU)
    path = tmp_path / "relu.onnx"
    onnx.save(model, path)
    for source in (path, str(path), path.read_bytes(), model):
        assert [n.op.op_type for n in import_model(source).nodes] == ["Relu"]
        assert len(load_graph(source)) == 1


@pytest.mark.parametrize(("content", "said"), [
    (b"", "is empty"),
    (b"<!DOCTYPE html>\n<html>not found</html>", "it is text, beginning '<!DOCTYPE html>"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
    (b"PK\x03\x04\x00\x00", "torch.onnx.export"),
    (b"\x1c\x00\x00\x00TFL3\x00\x00", "tf2onnx"),
    (b"\x1f\x8b\x08\x00", "decompress"),
    (bytes(range(200)), "not a whole protobuf message"),
    (b"\x08\x08", "it has no graph"),
], ids=["empty", "html", "lfs", "zip", "tflite", "gzip", "noise", "version-only"])
def test_other_files(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    message = refused(path)
    assert said in message and str(path) in message


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    model = model_of(RELU)
    whole = model.SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refused(path)


def test_names_that_are_not_text() -> None:
    """Every name of one letter is damaged in turn."""
    model = model_of("n (float[Q] x) => (float[Q] y) { y = Clip(x, w) }", w=np.zeros((), np.float32))
    whole = model.SerializeToString()
    for old, new in ((b"n", b"\xff"), (b"x", b"\xff"), (b"y", b"\xff"), (b"w", b"\xff"), (b"Q", b"\xff"),
                     (b"Clip", b"Cl\xffp")):
        assert old in whole
        with pytest.raises(ModelError, match="not valid UTF-8"):
            import_model(whole.replace(old, new))


def test_damaged_bytes_never_escape_as_other_errors() -> None:
    """Random changes of a small model: it is imported, or refused by one of cnncc's errors."""
    whole = model_of("""net (float[N,3,8,8] x) => (float[N,4,4,4] y) {
        c = Conv<pads = [1,1,1,1]> (x, w) r = Relu(c) s = Shape(r) p = MaxPool<kernel_shape = [2,2], strides = [2,2]>(r)
        y = Reshape(p, t) }""", w=np.zeros((4, 3, 3, 3), np.float32), t=np.array([-1, 4, 4, 4])).SerializeToString()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(1500):
        data = np.frombuffer(whole, np.uint8).copy()
        where = rng.integers(0, len(data), rng.integers(1, 4))
        data[where] = rng.integers(0, 256, len(where))
        try:
            verify(import_model(data.tobytes()))
        except CnnccError:
            refused += 1
    assert refused > 500


def test_missing_directory_and_unreadable(tmp_path: Path) -> None:
    assert "there is no file" in refused(tmp_path / "absent.onnx")
    assert "is a directory" in refused(tmp_path)
    assert "cannot be read" in refused("nul\0byte.onnx")
    locked = tmp_path / "locked.onnx"
    locked.write_bytes(b"\x08")
    locked.chmod(0)
    if os.access(locked, os.R_OK):
        pytest.skip("this user may read any file")
    assert "cannot be read" in refused(locked)


def test_other_arguments() -> None:
    with pytest.raises(ModelError, match="not int"):
        import_model(7)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"must end in \.onnx"):
        load_graph("weights.pt")


def test_versions() -> None:
    def changed(**fields: int) -> onnx.ModelProto:
        model = model_of(RELU)
        if "opset" in fields:
            model.opset_import[0].version = fields["opset"]
        model.ir_version = fields.get("ir", 8)
        return model

    newest = onnx.defs.onnx_opset_version()
    assert len(import_model(changed(opset=newest))) == 1
    for model, said in ((changed(opset=newest + 1), f"opset {newest + 1}"), (changed(opset=0), "opset 0"),
                        (changed(ir=onnx.IR_VERSION + 1), f"IR version {onnx.IR_VERSION + 1}")):
        with pytest.raises(ModelError, match=said):
            import_model(model)
    twice = model_of(RELU)
    twice.opset_import.append(onnx.helper.make_opsetid("ai.onnx", 7))
    with pytest.raises(ModelError, match="two opsets"):
        import_model(twice)
    none = model_of(RELU)
    del none.opset_import[:]
    with pytest.raises(ModelError, match="names no opset"):
        import_model(none)
