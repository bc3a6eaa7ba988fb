"""A network's text or file to its Graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError, ModelError
from ...ir import Dim, Graph, TensorType, symbol
from . import syntax
from .expander import expand
from .lines import MAX_TEXT
from .parser import parse
from .source import Diagnostic, LanguageError, Source, Span, did_you_mean
from .weights import Absent, Given, Seeded, Weights, load_weights

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["build_network", "fix_inputs", "list_networks", "read_network", "read_source"]


def build_network(text: str, name: str | None = None, *, weights: str | Path | Mapping[str, Any] | None = None,
                  seed: int | None = 0, parameters: Mapping[str, Any] | None = None, origin: str = "<text>") -> Graph:
    """The graph of a network that is written in the language.

    Args:
        text: the networks and blocks.
        name: which network, where the text has several; by default the first.
        weights: a .safetensors or .npz file, or arrays by name.
        seed: without weights, draws them (He and Xavier; the same ones for the same seed and names); None gives zeros
            that take no memory, for shapes and counts.
        parameters: values for the network's own parameters.
        origin: what errors call the text.

    Raises:
        LanguageError: with every error of the text.
        ModelError: the weights do not fit; it lists all that are missing, left over or of another shape.
    """
    return _build(Source(text, origin), name, weights, seed, parameters or {})


def read_network(path: str | Path, name: str | None = None, **options: Any) -> Graph:
    """The graph of a network in a .cnn file; the options are those of `build_network`."""
    return build_network(read_source(path).text, name, origin=str(path), **options)


def read_source(path: str | Path) -> Source:
    """The text of a .cnn file. Raises ModelError where it cannot be read."""
    try:
        if Path(path).stat().st_size > 4 * MAX_TEXT:
            raise ModelError(f"'{path}' is larger than any network's text")
        return Source(Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n"), str(path))
    except UnicodeDecodeError as error:
        raise ModelError(f"'{path}' is not text: its byte {error.start} is not UTF-8") from None
    except OSError as error:
        raise ModelError(f"cannot read '{path}': {error.strerror}") from None


def fix_inputs(graph: Graph, shapes: Mapping[str, Sequence[int | str | Dim]],
               constants: Mapping[str, npt.ArrayLike]) -> Graph:
    """Gives inputs of the graph other shapes, or contents that are then fixed, in place."""
    inputs = {v.name: v for v in graph.inputs}
    for name in [*shapes, *constants]:
        if name not in inputs:
            raise InputError(f"the network has no input '{name}'{did_you_mean(name, inputs)}; it has "
                             f"{', '.join(inputs) or 'none'}")
    for name, shape in shapes.items():
        dims = tuple(symbol(d) if isinstance(d, str) else d for d in shape)
        if len(dims) != inputs[name].type.rank:
            raise InputError(f"the input '{name}' is {inputs[name].type}: it cannot have {len(dims)} dimensions")
        inputs[name].type = TensorType(inputs[name].type.dtype, dims)
    for name, content in constants.items():
        value = inputs[name]
        array = np.asarray(content, value.type.dtype.numpy)
        graph.inputs.remove(value)
        graph.replace_uses(value, graph.add_constant(array, f"{name}.fixed"))
    if shapes or constants:
        graph.reinfer()
    return graph


def list_networks(text: str, origin: str = "<text>") -> list[str]:
    """The names of a text's networks, in order."""
    return [line.name.text for line in parse(Source(text, origin)) if isinstance(line, syntax.Network)]


def _build(source: Source, name: str | None, weights: str | Path | Mapping[str, Any] | None, seed: int | None,
           parameters: Mapping[str, Any]) -> Graph:
    tree = parse(source)
    chosen = _choose(source, tree, name)
    given: Weights = Absent() if seed is None else Seeded(seed)
    if isinstance(weights, Mapping):
        given = Given({n: np.asarray(a) for n, a in weights.items()})
    elif weights is not None:
        given = Given(load_weights(weights), f"the weights of '{weights}'")
    graph = expand(source, tree, chosen, given, parameters)
    if isinstance(given, Given):
        given.check()
    return graph


def _choose(source: Source, tree: Sequence[syntax.Line], name: str | None) -> syntax.Network:
    networks = [line for line in tree if isinstance(line, syntax.Network)]
    names = [n.name.text for n in networks]
    for at, network in enumerate(networks):
        if network.name.text in names[:at]:
            raise LanguageError([Diagnostic(source, network.name.span,
                                            f"there are two networks named '{network.name.text}'")])
    if not networks:
        raise LanguageError([Diagnostic(source, Span(0, 0), "there is no network in the text",
                                        ("a network begins with a line 'network NAME:'",))])
    if name is None:
        return networks[0]
    if name not in names:
        raise InputError(f"{source.name} has no network '{name}'{did_you_mean(name, names)}; it has {', '.join(names)}")
    return networks[names.index(name)]
