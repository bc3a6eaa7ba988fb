"""A graph of cnncc's, folded and fused, as PyTorch runs it: with cuDNN, as a captured CUDA graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnncc.ir import Activation, Graph, Node

__all__ = ["TorchNetwork"]


class TorchNetwork:
    """The graph on a device of PyTorch's, on tensor cores if `tf32`. Raises NotImplementedError for an operator that is
    not among OPERATORS."""

    def __init__(self, graph: Graph, device: str, tf32: bool = False) -> None:
        import torch

        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        self.graph, self.device = graph, device
        self.constants = {v: torch.from_numpy(np.ascontiguousarray(v.constant)).to(device) for v in graph.constants
                          if v.constant is not None}
        unknown = sorted({n.op.op_type for n in graph.walk()} - set(OPERATORS))
        if unknown:
            raise NotImplementedError(f"no PyTorch function is known here for {', '.join(unknown)}")

    def __call__(self, x: Any) -> Any:
        values = {**self.constants, self.graph.inputs[0]: x}
        for node in self.graph.walk():
            operands = [None if v is None else values.get(v, v.known) for v in node.inputs]
            values[node.output] = OPERATORS[node.op.op_type](node, *operands)
        return values[self.graph.outputs[0]]

    def captured(self, x: np.ndarray) -> tuple[Callable[[], None], Callable[[], np.ndarray]]:
        """A run on x, which lies on the device, and its result."""
        import torch

        given, side = torch.from_numpy(x).to(self.device), torch.cuda.Stream()
        with torch.inference_mode():
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    self(given)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = self(given)

        def run() -> None:
            graph.replay()
            torch.cuda.synchronize()

        return run, lambda: result.cpu().numpy()


def _activate(activation: Activation | None, x: Any) -> Any:
    import torch.nn.functional as f

    if activation is None:
        return x
    if activation.kind == "clip":
        return x.clamp(*activation.parameters)
    table = {"relu": f.relu, "sigmoid": lambda x: x.sigmoid(), "silu": f.silu, "tanh": lambda x: x.tanh(),
             "hard_swish": f.hardswish, "gelu": f.gelu}
    return table[activation.kind](x)


def _padded(x: Any, begin: Any, end: Any, value: float = 0.0) -> Any:
    import torch.nn.functional as f

    pads = [p for pair in reversed(list(zip(begin, end, strict=True))) for p in pair]
    return f.pad(x, pads, value=value) if any(pads) else x


def _conv(node: Node, x: Any, w: Any, b: Any = None, r: Any = None) -> Any:
    import torch.nn.functional as f

    g = node.op.windows(tuple(x.shape), tuple(w.shape))  # type: ignore[attr-defined]
    even = tuple(g.begin) == tuple(g.end)
    y = f.conv2d(x if even else _padded(x, g.begin, g.end), w, b, g.strides, g.begin if even else 0, g.dilations,
                 node.op.group)  # type: ignore[attr-defined]
    return _activate(node.op.activation, y if r is None else y + r)  # type: ignore[attr-defined]


def _pool(node: Node, x: Any) -> Any:
    import torch.nn.functional as f

    g = node.op.windows(tuple(x.shape))  # type: ignore[attr-defined]
    if node.op.op_type == "MaxPool":
        reach = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(g.counts, g.strides, g.kernel, g.dilations,
                                                                     strict=True)]
        end = [max(0, r - b - n) for r, b, n in zip(reach, g.begin, x.shape[2:], strict=True)]
        return f.max_pool2d(_padded(x, g.begin, end, -np.inf), g.kernel, g.strides, 0, g.dilations)
    if any(g.begin) or any(g.end):
        return f.avg_pool2d(x, g.kernel, g.strides, g.begin, False, bool(node.op.attributes.get("count_include_pad")))
    return f.avg_pool2d(x, g.kernel, g.strides)


def _gemm(node: Node, a: Any, b: Any, c: Any = None, r: Any = None) -> Any:
    op: Any = node.op
    y = op.alpha * ((a.T if op.transA else a) @ (b.T if op.transB else b))
    y = y if c is None else y + op.beta * c
    return _activate(op.activation, y if r is None else y + r)


def _concat(node: Node, *parts: Any) -> Any:
    import torch

    return torch.cat(parts, node.op.axis)  # type: ignore[attr-defined]


def _lrn(node: Node, x: Any) -> Any:
    import torch.nn.functional as f

    op: Any = node.op
    return f.local_response_norm(x, op.size, op.alpha, op.beta, op.bias)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": _conv, "Gemm": _gemm, "MaxPool": _pool, "AveragePool": _pool, "Concat": _concat, "LRN": _lrn,
    "GlobalAveragePool": lambda node, x: x.mean((2, 3), keepdim=True),
    "Add": lambda node, x, y: x + y, "Mul": lambda node, x, y: x * y,
    "Relu": lambda node, x: x.relu(), "Sigmoid": lambda node, x: x.sigmoid(), "Swish": lambda node, x: x * x.sigmoid(),
    "BatchNormalization": lambda node, x, scale, bias, mean, variance: _activate(
        node.op.activation, _normalized(node, x, scale, bias, mean, variance)),
    "Flatten": lambda node, x: x.flatten(node.op.axis), "Dropout": lambda node, x: x, "Identity": lambda node, x: x,
    "Reshape": lambda node, x, shape: x.reshape([int(n) for n in shape]),
    "Softmax": lambda node, x: x.softmax(node.op.axis),
}


def _normalized(node: Node, x: Any, scale: Any, bias: Any, mean: Any, variance: Any) -> Any:
    import torch.nn.functional as f

    return f.batch_norm(x, mean, variance, scale, bias, False, 0.0, node.op.epsilon)  # type: ignore[attr-defined]
