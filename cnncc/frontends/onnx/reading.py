"""From a path or bytes to a ModelProto that is known to be a model of a version this onnx can describe."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from ...errors import ModelError
from ...records import record
from .limits import MAX_DEPTH, MAX_FILE_BYTES
from .structure import graphs_of

__all__ = ["OPSET_NEWEST", "ReadModel", "check_nesting", "normal_domain", "read_model"]

OPSET_NEWEST: int = onnx.defs.onnx_opset_version()

# How files that are often taken for ONNX begin, and what they are.
_OTHER_FORMATS = (
    (0, b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with 'git lfs pull'"),
    (0, b"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint; export the model with torch.onnx.export"),
    (0, b"\x80\x02", "a Python pickle, perhaps a PyTorch checkpoint; export the model with torch.onnx.export"),
    (0, b"\x89HDF", "an HDF5 file, perhaps a Keras model; convert it with tf2onnx"),
    (4, b"TFL3", "a TensorFlow Lite model; convert it with tf2onnx"),
    (4, b"ORTM", "a model in ONNX Runtime's own format; use the .onnx file it was made from"),
    (0, b"\x1f\x8b", "gzip-compressed; decompress it first"),
)


@record
class ReadModel:
    """A model, what to call its source in errors, the folder where its external data may lie, and how many nodes it
    has, those of bodies and functions included."""

    proto: onnx.ModelProto
    label: str
    folder: Path | None
    nodes: int


def read_model(source: str | Path | bytes | onnx.ModelProto) -> ReadModel:
    """Raises ModelError where there is no such file, it is not ONNX, it is damaged, or it is newer than the installed
    onnx package."""
    folder: Path | None = None
    if isinstance(source, (str, Path)):
        label, path = f"'{source}'", Path(source)
        data = _read_file(path, label)
        folder = path.parent
        model = _parse(data, label)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        label = "the given bytes"
        model = _parse(bytes(source), label)
    elif isinstance(source, onnx.ModelProto):
        label, model = "the given ModelProto", source
    else:
        raise ModelError(f"a model is a path, bytes or an onnx.ModelProto, not {type(source).__name__}")
    _check_versions(model, label)
    nodes = check_nesting(model, label)
    if not all(isinstance(text, str) for text in _texts(model)):
        raise ModelError(f"{label} has names that are not valid UTF-8; export or download it again")
    return ReadModel(model, label, folder, nodes)


def _read_file(path: Path, label: str) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{label} is a directory; give the path of the .onnx file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{label} is not a regular file; save the model to one, or give its bytes")
        if status.st_size > MAX_FILE_BYTES:
            raise ModelError(f"{label} has {status.st_size:,} bytes, but an ONNX file at most {MAX_FILE_BYTES:,}; save "
                             "the model with its weights as external data")
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"there is no file {label}; check the path") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{label} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _parse(data: bytes, label: str) -> onnx.ModelProto:
    if not data:
        raise ModelError(f"{label} is empty; export or download the model again")
    for offset, magic, what in _OTHER_FORMATS:
        if data.startswith(magic, offset):
            raise ModelError(f"{label} is not an ONNX model: it is {what}")
    if _is_text(data[:512]):
        raise ModelError(f"{label} is not an ONNX model: it is text, beginning {data[:40].decode('latin-1')!r}; "
                         "give the binary .onnx file")
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise ModelError(f"{label} is not an ONNX model or is damaged (cut short?): its {len(data):,} bytes are not "
                         "a whole protobuf message; export or download it again") from None
    return model


def _is_text(head: bytes) -> bool:
    """No control characters: a model has some in its first bytes, since field and length bytes are small numbers."""
    return all(byte >= 32 or byte in b"\t\r\n" for byte in head)


def check_nesting(model: onnx.ModelProto, label: str) -> int:
    """The number of nodes, those of bodies and functions included. Raises ModelError where bodies stand too deep
    within bodies: what is done with them later is recursive."""
    return sum(len(nodes) for nodes, _ in _levels(model, label))


def _levels(model: onnx.ModelProto, label: str) -> Iterator[tuple[Sequence[onnx.NodeProto], onnx.GraphProto | None]]:
    """The nodes of each graph and function of the model, and the graph if it is one."""
    pending: list[tuple[Sequence[onnx.NodeProto], onnx.GraphProto | None, int]] = [
        (model.graph.node, model.graph, 0), *((f.node, None, 0) for f in model.functions)]
    while pending:
        nodes, graph, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise ModelError(f"{label} has bodies of If, Loop or Scan that stand more than {MAX_DEPTH} deep within "
                             "each other; export it without them")
        yield nodes, graph
        pending += [(inner.node, inner, depth + 1) for node in nodes for inner in graphs_of(node)]


def _texts(model: onnx.ModelProto) -> Iterator[object]:
    """All names in the model. Protobuf gives bytes, not str, for one that is not UTF-8."""
    yield from (entry.domain for entry in model.opset_import)
    for function in model.functions:
        yield from (function.name, function.domain, function.overload, *function.input, *function.output,
                    *function.attribute)
        yield from (entry.domain for entry in function.opset_import)
        yield from (attribute.name for attribute in function.attribute_proto)
    for nodes, graph in _levels(model, ""):
        for node in nodes:
            yield from (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
            yield from (text for attribute in node.attribute for text in (attribute.name, attribute.ref_attr_name))
        if graph is not None:
            yield from _texts_of(graph)


def _texts_of(graph: onnx.GraphProto) -> Iterator[object]:
    yield graph.name
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)


def _check_versions(model: onnx.ModelProto, label: str) -> None:
    if not model.HasField("graph") or not model.ir_version:
        raise ModelError(f"{label} is not an ONNX model or was cut short: it has no graph; export or download it again")
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(f"{label} has IR version {model.ir_version}, but the installed onnx {onnx.__version__} knows "
                         f"versions up to {onnx.IR_VERSION}; upgrade the onnx package")
    opsets: dict[str, int] = {}
    for entry in model.opset_import:
        domain = normal_domain(entry.domain)
        if opsets.setdefault(domain, entry.version) != entry.version:
            raise ModelError(f"{label} imports two opsets of the domain '{domain or 'ai.onnx'}'; export it again")
    if not opsets:
        raise ModelError(f"{label} names no opset (it has IR version {model.ir_version}), or was cut short; export it "
                         "again with a newer tool")
    opset = opsets.get("", 1)
    if not 1 <= opset <= OPSET_NEWEST:
        raise ModelError(f"{label} uses opset {opset}, but the installed onnx {onnx.__version__} knows opsets 1 to "
                         f"{OPSET_NEWEST}; upgrade the onnx package, or export with an older opset")


def normal_domain(domain: str) -> str:
    """ONNX's own domain has two spellings, '' and 'ai.onnx'; this gives the first."""
    return "" if domain == "ai.onnx" else domain
