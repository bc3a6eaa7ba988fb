"""The verifier: each rule violated once, behind the graph's back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cnncc.errors import GraphError
from cnncc.ir import Graph, Use, Value, parse_graph, parse_type, verify
from cnncc.ops import OPS

TEXT = """\
graph @net(%x: f32[N,2]) {
  %a = Relu(%x) : f32[N,2]
  %c = const 2.0 : f32[]
  %b = Add(%a, %c) : f32[N,2]
  return %b as "y"
}
"""


@pytest.fixture
def graph() -> Graph:
    graph = parse_graph(TEXT, OPS)
    verify(graph)
    return graph


def read_before_it_is_computed(graph: Graph) -> None:
    graph.set_input(graph.nodes[0], 0, graph.value("b"))


def read_of_another_graph(graph: Graph) -> None:
    graph.set_input(graph.nodes[0], 0, Graph().add_input("z", parse_type("f32[N,2]")))


def two_of_one_name(graph: Graph) -> None:
    graph.value("a").name = "b"


def missing_use(graph: Graph) -> None:
    graph.value("a").uses.clear()


def surplus_use(graph: Graph) -> None:
    graph.value("x").uses[Use(graph.nodes[1], 0)] = None


def use_beyond_the_inputs(graph: Graph) -> None:
    graph.value("x").uses[Use(graph.nodes[1], 7)] = None


def use_by_a_removed_node(graph: Graph) -> None:
    other = parse_graph(TEXT, OPS)
    graph.value("x").uses[Use(other.nodes[0], 0)] = None


def wrong_producer(graph: Graph) -> None:
    graph.value("a").producer = graph.nodes[1]


def wrong_index(graph: Graph) -> None:
    graph.value("a").index = 1


def wrong_type(graph: Graph) -> None:
    graph.value("b").type = parse_type("f32[N,3]")


def operands_that_do_not_fit(graph: Graph) -> None:
    graph.value("c").type = parse_type("f64[]")
    graph.value("c").constant = np.array(2.0)


def missing_operand(graph: Graph) -> None:
    graph.set_input(graph.nodes[1], 1, None)


def contents_of_another_type(graph: Graph) -> None:
    graph.value("c").constant = np.array([2.0])


def foreign_output(graph: Graph) -> None:
    graph.outputs = [Value("z", parse_type("f32[2]"))]


def unnamed_output(graph: Graph) -> None:
    graph.output_names = []


@pytest.mark.parametrize(("damage", "message"), [
    (read_before_it_is_computed, "Relu 'a' reads %b: f32[N,2] before it is computed"),
    (read_of_another_graph, "Relu 'a' reads %z: f32[N,2] before it is computed"),
    (two_of_one_name, "two values are named 'b'"),
    (missing_use, "Add 'b' reads %a: f32[N,2], which does not list that use"),
    (surplus_use, "%x: f32[N,2] lists a use by Add 'b' that does not read it"),
    (use_beyond_the_inputs, "%x: f32[N,2] lists a use by Add 'b' that does not read it"),
    (use_by_a_removed_node, "%x: f32[N,2] lists a use by Relu 'a' that does not read it"),
    (wrong_producer, "%a: f32[N,2] does not know Relu 'a' as its producer"),
    (wrong_index, "%a: f32[N,2] does not know Relu 'a' as its producer"),
    (wrong_type, "%b: f32[N,3] should be of type f32[N,2]"),
    (operands_that_do_not_fit, "Add 'b': Add: "),
    (missing_operand, "Add 'b': Add lacks its input B"),
    (contents_of_another_type, "the constant %c: f32[] holds float64[1]"),
    (foreign_output, "the output %z: f32[2] is not computed by the graph"),
    (unnamed_output, "there are 1 outputs, but 0 names for them"),
])
def test_each_rule(graph: Graph, damage: Callable[[Graph], None], message: str) -> None:
    damage(graph)
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert str(caught.value).startswith("the graph 'net' is not valid: ")
    assert message in str(caught.value)


def test_all_that_is_wrong_is_listed(graph: Graph) -> None:
    wrong_type(graph)
    missing_use(graph)
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert "should be of type" in str(caught.value) and "does not list that use" in str(caught.value)


def test_inputs_constants_and_repeats_are_outputs_too(graph: Graph) -> None:
    b = graph.value("b")
    graph.set_outputs([graph.value("x"), graph.value("c"), b, b], ["1", "2", "3", "4"])
    verify(graph)
