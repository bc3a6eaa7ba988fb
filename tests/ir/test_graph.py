"""The graph: links between values and nodes stay true through every change, and the order of nodes is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnncc.errors import GraphError, OpError
from cnncc.ir import Graph, Node, Use, Value, format_graph, parse_graph, parse_type, verify
from cnncc.ops import OPS

Relu, Add, Identity = (OPS[name]() for name in ("Relu", "Add", "Identity"))


def chain(length: int = 3) -> Graph:
    """x -> r0 -> r1 -> ..., all of which are f32[N,2]."""
    graph = Graph()
    value = graph.add_input("x", parse_type("f32[N,2]"))
    for i in range(length):
        value = graph.add_node(Relu, [value], outputs=[f"r{i}"]).output
    graph.set_outputs([value], ["y"])
    return graph


def order(graph: Graph) -> list[str]:
    return [node.output.name for node in graph.nodes]


def test_uses() -> None:
    graph = Graph()
    x = graph.add_input("x", parse_type("f32[2]"))
    add = graph.add_node(Add, [x, x])
    relu = graph.add_node(Relu, [x])
    assert list(x.uses) == [Use(add, 0), Use(add, 1), Use(relu, 0)]
    assert x.users == [add, relu]
    assert add.output.producer is add and add.output.index == 0
    assert not add.output.uses


def test_replace_uses_moves_readers_and_outputs() -> None:
    graph = chain(2)
    x, r0, r1 = (graph.value(n) for n in ("x", "r0", "r1"))
    graph.set_outputs([r0, r1, r0], ["a", "b", "c"])
    graph.replace_uses(r0, x)
    assert graph.outputs == [x, r1, x] and graph.output_names == ["a", "b", "c"]
    assert r1.producer is not None and r1.producer.inputs == (x,)
    assert not r0.uses
    assert x.users == [r0.producer, r1.producer]
    graph.replace_uses(x, x)
    verify(graph)


def test_remove_node() -> None:
    graph = chain(2)
    r0, r1 = (graph.value(n).producer for n in ("r0", "r1"))
    assert r0 is not None and r1 is not None
    with pytest.raises(GraphError, match="Relu 'r0' cannot be removed: %r0 is still read"):
        graph.remove_node(r0)
    with pytest.raises(GraphError, match="Relu 'r1' cannot be removed: %r1 is still read"):
        graph.remove_node(r1)
    graph.set_outputs([graph.value("r0")])
    graph.remove_node(r1)
    assert order(graph) == ["r0"] and len(graph) == 1
    assert not graph.value("r0").uses
    verify(graph)


def test_replace_node_keeps_names_uses_and_place() -> None:
    graph = chain(3)
    middle = graph.value("r1").producer
    assert middle is not None
    new = graph.replace_node(middle, Identity, middle.inputs)
    assert order(graph) == ["r0", "r1", "r2"]
    assert graph.value("r1").producer is new and new.name == middle.name
    assert graph.value("r1").users == [graph.value("r2").producer]
    verify(graph)


def test_replace_node_of_an_output() -> None:
    graph = chain(1)
    [node] = graph.nodes
    graph.replace_node(node, Identity, node.inputs, name="new")
    assert graph.outputs == [graph.value("r0")] and graph.output_names == ["y"]
    verify(graph)


def test_nodes_are_inserted_before() -> None:
    graph = chain(2)
    first, second = graph.nodes
    x = graph.value("x")
    graph.add_node(Relu, [x], outputs=["at_start"], before=first)
    graph.add_node(Relu, [x], outputs=["between"], before=second)
    graph.add_node(Relu, [x], outputs=["at_end"])
    assert order(graph) == ["at_start", "r0", "between", "r1", "at_end"]
    verify(graph)


def test_a_graph_may_change_while_its_nodes_are_listed() -> None:
    graph = chain(3)
    for node in graph.nodes:
        assert node.inputs[0] is not None
        graph.replace_uses(node.output, node.inputs[0])
        graph.remove_node(node)
    assert order(graph) == [] and graph.outputs == [graph.value("x")]
    verify(graph)


def test_set_input_to_none_and_back() -> None:
    graph = Graph()
    x = graph.add_input("x", parse_type("f32[2]"))
    low = graph.add_constant(np.array(0, np.float32), "low")
    clip = graph.add_node(OPS["Clip"](), [x, low])
    graph.set_input(clip, 1, None)
    assert clip.inputs == (x, None) and not low.uses and graph.constants == []
    graph.set_input(clip, 1, low)
    assert list(low.uses) == [Use(clip, 1)] and graph.constants == [low]


def test_names_are_made_unique() -> None:
    graph = chain(1)
    x = graph.value("x")
    assert graph.fresh_name("free") == "free"
    assert graph.add_node(Relu, [x], outputs=["r0"]).output.name == "r0_1"
    assert graph.add_node(Relu, [x], outputs=["r0"]).output.name == "r0_2"
    assert graph.add_constant(np.zeros(1), "x").name == "x_1"
    graph.rename(graph.value("r0_2"), "r0")
    assert [v.name for v in graph.values if v.name.startswith("r0")] == ["r0", "r0_1", "r0_3"]
    graph.rename(graph.value("r0_3"), "z")
    assert graph.value("z").name == "z"
    with pytest.raises(GraphError, match="already has a value named 'x'"):
        graph.add_input("x", parse_type("f32[1]"))


def test_outputs_in_use_need_not_be_all() -> None:
    graph = Graph()
    x = graph.add_input("x", parse_type("f32[1,1,4]"))
    pool = OPS["MaxPool"](kernel_shape=(2,))  # type: ignore[call-arg]
    assert len(graph.add_node(pool, [x]).outputs) == 1
    assert [v.name for v in graph.add_node(pool, [x], outputs=["y", "i"]).outputs] == ["y", "i"]
    assert [v.name for v in graph.add_node(pool, [x], name="p", outputs=2).outputs] == ["p", "p.1"]
    with pytest.raises(OpError, match="MaxPool has 2 outputs, but 3 are used"):
        graph.add_node(pool, [x], outputs=3)


def test_a_refused_node_leaves_no_trace() -> None:
    graph = chain(1)
    before = format_graph(graph)
    with pytest.raises(OpError):
        graph.add_node(Add, [graph.value("x"), None])
    with pytest.raises(OpError):
        graph.add_node(OPS["Softmax"](axis=5), [graph.value("x")])  # type: ignore[call-arg]
    assert format_graph(graph) == before
    verify(graph)


def test_unused_constants_are_dropped() -> None:
    graph = Graph()
    used, unused, output = (graph.add_constant(np.zeros(2, np.float32), n) for n in ("used", "unused", "output"))
    graph.add_node(Relu, [used])
    graph.set_outputs([output])
    assert graph.drop_unused_constants()
    assert graph.constants == [used, output] and unused not in graph.values
    assert not graph.drop_unused_constants()


def test_sort_keeps_the_order_where_it_may() -> None:
    graph = Graph()
    x = graph.add_input("x", parse_type("f32[2]"))
    a, b, c, d = (graph.add_node(Relu, [x], outputs=[n]) for n in "abcd")
    graph.set_input(a, 0, c.output)
    with pytest.raises(GraphError, match=r"reads %c: .* before it is computed"):
        verify(graph)
    graph.sort()
    assert order(graph) == ["b", "c", "a", "d"]
    verify(graph)
    graph.sort()
    assert order(graph) == ["b", "c", "a", "d"]
    assert [n.op for n in (a, b, c, d)] == [Relu] * 4


def test_sort_names_a_cycle() -> None:
    graph = chain(3)
    first = graph.nodes[0]
    graph.set_input(first, 0, graph.value("r1"))
    with pytest.raises(GraphError, match="the graph 'net' has a cycle: r0 -> r1"):
        graph.sort()


def test_reinfer_follows_a_changed_input() -> None:
    text = """\
graph @net(%x: f32[N,4]) {
  %a = Relu(%x) : f32[N,4]
  %b = Add(%a, %x) : f32[N,4]
  return %b
}
"""
    graph = parse_graph(text, OPS)
    graph.value("x").type = parse_type("f32[3,4]")
    graph.reinfer()
    verify(graph)
    assert format_graph(graph) == text.replace("[N,4]", "[3,4]")


def test_known_contents_pass_through() -> None:
    graph = Graph()
    two = graph.add_constant(np.array([2, 3]), "two")
    doubled = graph.add_node(OPS["Mul"](), [two, two]).output
    assert doubled.known is not None and doubled.known.tolist() == [4, 9]
    graph.set_input(doubled.producer, 1, graph.add_constant(np.array([5, 5])))  # type: ignore[arg-type]
    graph.reinfer()
    assert doubled.known.tolist() == [10, 15]
    weights = graph.add_constant(np.zeros(4, np.float32))
    assert graph.add_node(Relu, [weights]).output.known is None


def test_to_networkx() -> None:
    graph = chain(2)
    first, second = graph.nodes
    exported = graph.to_networkx()
    assert list(exported.nodes) == [first, second]
    assert exported.nodes[first] == {"op_type": "Relu", "label": "r0"}
    assert exported.edges[first, second] == {"value": "r0"}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(choices=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=25))
def test_any_sequence_of_changes_leaves_a_valid_graph(choices: list[tuple[int, int, int]]) -> None:
    graph = Graph()
    graph.add_input("x", parse_type("f32[2]"))

    def pick(number: int, upto: Node | None = None) -> Value:
        """One of the values computed before the node `upto`."""
        known = list(graph.inputs)
        for node in graph.walk():
            if node is upto:
                break
            known += node.outputs
        return known[number % len(known)]

    for action, i, j in choices:
        nodes = graph.nodes
        target = nodes[i % len(nodes)] if nodes else None
        if action == 0 or target is None:
            graph.add_node(Add, [pick(i, target), pick(j, target)], before=target)
        elif action == 1:
            graph.replace_uses(target.output, pick(j, target))
        elif action == 2:
            graph.replace_node(target, Add, [pick(j, target), pick(i, target)])
        elif action == 3:
            graph.set_input(target, 0, pick(j, target))
        elif not target.output.uses and not graph.is_output(target.output):
            graph.remove_node(target)
        if nodes:
            graph.set_outputs([pick(j)], ["y"])
        verify(graph)
        assert len(graph) == len(graph.nodes)
    graph.sort()
    verify(graph)
    assert format_graph(parse_graph(format_graph(graph), OPS)) == format_graph(graph)
