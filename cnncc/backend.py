"""ONNX's Backend API, by which onnx's own tests and anybody's code drive cnncc:

    outputs = cnncc.backend.prepare(model).run([image])

The module is itself a backend, as `onnx.backend.base` has it. Importing it loads onnx, which `import cnncc` does not.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from .compiler import compile
from .errors import CnnccError, InputError, UnsupportedError
from .session import InferenceSession

__all__ = ["CnnccBackend", "CnnccBackendRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]

Array = np.ndarray[Any, Any]

MAX_SESSIONS = 16  # contents of inputs that decide shapes, for which sessions are kept
_COMPILE_OPTIONS = frozenset(inspect.signature(compile).parameters) - {"model"}
_OF_THE_TEST_RUNNER = {"rtol", "atol"}  # it hands its tolerances to everybody


class CnnccBackendRep(BackendRep):
    """A model made ready to run.

    A model in which an input's contents decide a shape (the target of a Reshape, the k of a TopK) is compiled for the
    contents that a run gives, once for each; inputs of no more than one dimension may be of that kind.

    Attributes:
        inputs: the names of the inputs that a run takes, in order.
        deciding: those of them whose contents the model is compiled for.
    """

    def __init__(self, model: onnx.ModelProto, threads: int | None, options: Mapping[str, Any]) -> None:
        self._model, self._threads, self._options = model, threads, dict(options)
        stored = {t.name for t in model.graph.initializer} | set(options.get("constants") or {})
        inputs = [v for v in model.graph.input if v.name not in stored]
        self.inputs = [v.name for v in inputs]
        self._outputs = [v.name for v in model.graph.output]
        self.deciding: list[str] = []
        self._sessions: dict[tuple[Any, ...], InferenceSession] = {}
        try:
            self._session({})
        except UnsupportedError:
            self.deciding = [v.name for v in inputs if v.type.tensor_type.HasField("shape")
                              and len(v.type.tensor_type.shape.dim) <= 1]
            if not self.deciding:
                raise

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Array, ...]:
        """The outputs, as a tuple that is also indexed by their names.

        Args:
            inputs: an array for every input of the model that has no initialiser, in order or by name; a single array
                will do for a single input.
        """
        feeds = self._named(inputs)
        session = self._session({name: np.asarray(feeds.pop(name)) for name in self.deciding})
        return namedtupledict("Outputs", self._outputs)(*session.run(None, feeds))

    def _named(self, inputs: Any) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            given = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
            if len(given) != len(self.inputs):
                raise InputError(f"{len(given)} arrays were given, but the model has {len(self.inputs)} inputs: "
                                 f"{', '.join(self.inputs)}")
            feeds = dict(zip(self.inputs, given, strict=True))
        missing = [name for name in self.deciding if name not in feeds]
        if missing:
            raise InputError(f"no array was given for the input '{missing[0]}': add it to the inputs")
        return feeds

    def _session(self, contents: Mapping[str, Array]) -> InferenceSession:
        """The session for these contents of the inputs that decide shapes."""
        key = tuple((array.dtype.str, array.shape, array.tobytes()) for array in contents.values())
        if key not in self._sessions:
            options = self._options | {"constants": {**(self._options.get("constants") or {}), **contents}}
            self._sessions[key] = InferenceSession(compile(self._model, **options), threads=self._threads)
            if len(self._sessions) > MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
        return self._sessions[key]


class CnnccBackend(Backend):
    """cnncc as a backend of onnx."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", *, threads: int | None = None,
                **kwargs: Any) -> CnnccBackendRep:
        """Compiles a model.

        Args:
            device: "CPU".
            threads: as for InferenceSession.
            kwargs: the options of `cnncc.compile`.

        Raises:
            UnsupportedError: the model uses things cnncc does not support; where inputs may decide shapes, `run` does.
        """
        if not cls.supports_device(device):
            raise InputError(f"there is no device '{device}': cnncc runs on the CPU")
        options = {name: value for name, value in kwargs.items() if name not in _OF_THE_TEST_RUNNER}
        for name in options:
            if name not in _COMPILE_OPTIONS:
                raise InputError(f"there is no option '{name}'; those of cnncc.compile are "
                                 f"{', '.join(sorted(_COMPILE_OPTIONS))}")
        return CnnccBackendRep(model, threads, options)

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether `prepare` accepts the model."""
        try:
            cls.prepare(model, device, **kwargs)
        except CnnccError:
            return False
        return True

    @classmethod
    def run_node(cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU",
                 outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None, *,
                 opset_version: int | None = None, **kwargs: Any) -> tuple[Array, ...]:
        """The outputs of one node.

        Args:
            inputs: an array for each of the node's inputs that has a name.
            outputs_info: element type and shape of each output; they follow from the inputs, and are not needed.
            opset_version: of the node's domain; by default the newest that onnx knows.
        """
        names = list(dict.fromkeys(name for name in node.input if name))
        arrays = [np.asarray(x) for x in ([inputs] if isinstance(inputs, np.ndarray) else inputs)]
        if len(names) != len(arrays):
            raise InputError(f"{len(arrays)} arrays were given, but the node {node.op_type} has {len(names)} inputs: "
                             f"{', '.join(names)}")
        types = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
                 for name, x in zip(names, arrays, strict=True)]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        version = opset_version or (1 if node.domain not in ("", "ai.onnx") else onnx.defs.onnx_opset_version())
        model = helper.make_model(helper.make_graph([node], node.op_type, types, results),
                                  opset_imports=[helper.make_opsetid(node.domain, version)])
        return cls.prepare(model, device, **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether models run on `device`, spelled as onnx does: "CPU", "CUDA:1"."""
        return device.partition(":")[0] == "CPU"


is_compatible = CnnccBackend.is_compatible
prepare = CnnccBackend.prepare
run_model = CnnccBackend.run_model
run_node = CnnccBackend.run_node
supports_device = CnnccBackend.supports_device
