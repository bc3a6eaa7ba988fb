"""A model's own functions: each call is replaced by the function's nodes."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from ...errors import ModelError
from .limits import Limits
from .reading import check_nesting, normal_domain
from .structure import graphs_of

__all__ = ["inline_functions"]

_MAX_CALLS = 64  # calls within calls

_Key = tuple[str, str, str]  # domain, name, overload


def inline_functions(model: onnx.ModelProto, label: str,
                     limits: Limits) -> tuple[list[onnx.NodeProto], dict[str, int]]:
    """The model's nodes, with calls to its own functions replaced by their bodies, and the opset of each domain.

    Raises ModelError where functions are not valid, call themselves, or would make more nodes than `limits` leaves.
    """
    if model.functions:
        import onnx.inliner

        _check_calls(model, limits)
        # Inlining copies what it is given: the weights are left out.
        bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
        bare.graph.CopyFrom(onnx.GraphProto(name=model.graph.name, node=model.graph.node, input=model.graph.input,
                                            output=model.graph.output))
        try:
            model = onnx.inliner.inline_local_functions(bare)
        except (onnx.checker.ValidationError, RuntimeError) as error:
            raise ModelError(f"the functions that the model defines are not valid: {error}; export it again, or "
                             "without functions") from None
        check_nesting(model, label)
    return list(model.graph.node), {normal_domain(entry.domain): entry.version for entry in model.opset_import}


def _check_calls(model: onnx.ModelProto, limits: Limits) -> None:
    """How many nodes all calls make is found without making them: each function once, those it calls before it."""
    functions = {(normal_domain(f.domain), f.name, f.overload): f for f in model.functions}
    if len(functions) != len(model.functions):
        raise ModelError("the model defines two functions of one name; export it again")
    own = {key: _census(f.node, functions) for key, f in functions.items()}
    sizes: dict[_Key, int] = {}
    depths: dict[_Key, int] = {}
    for start in functions:
        path = [(start, iter(own[start][1]))] if start not in sizes else []
        on_path = {start}
        while path:
            key, pending = path[-1]
            called = next((c for c in pending if c not in sizes), None)
            if called is None:
                path.pop()
                on_path.discard(key)
                sizes[key] = own[key][0] + sum(sizes[c] for c in own[key][1])
                depths[key] = 1 + max((depths[c] for c in own[key][1]), default=0)
            elif called in on_path:
                raise ModelError(f"the function '{called[1]}' of the model calls itself; export it without functions")
            else:
                path.append((called, iter(own[called][1])))
                on_path.add(called)
    nodes, calls = _census(model.graph.node, functions)
    if any(depths[c] > _MAX_CALLS for c in calls):
        raise ModelError(f"functions of the model call each other more than {_MAX_CALLS} deep; export it without "
                         "functions")
    if nodes + sum(sizes[c] for c in calls) > limits.nodes:
        raise ModelError(f"the model's functions stand for more than {limits.nodes:,} nodes; export it without "
                         "functions")


def _census(nodes: Iterable[onnx.NodeProto], functions: Iterable[_Key]) -> tuple[int, list[_Key]]:
    """How many nodes there are, with those of bodies, and the functions that they call, one for each call."""
    count, calls = 0, []
    pending = [nodes]
    while pending:
        for node in pending.pop():
            count += 1
            key = (normal_domain(node.domain), node.op_type, node.overload)
            if key in functions:
                calls.append(key)
            pending += [graph.node for graph in graphs_of(node)]
    return count, calls
