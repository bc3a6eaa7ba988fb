"""The pass manager: order, groups, records, dumps, verification."""

from __future__ import annotations

import numpy as np
import pytest

from cnncc.errors import GraphError, InputError
from cnncc.ir import Graph, format_graph
from cnncc.passes import PASSES, PassRecord, run_passes
from cnncc.passes.manager import MAX_ROUNDS

from .harness import parse

CHAIN = """
graph @net(%x: f32[2,4]) {
  %0 = Relu(%x) : f32[2,4]
  %1 = Identity(%0) : f32[2,4]
  %2 = Sigmoid(%0) : f32[2,4]
  return %1
}
"""


def remove_last_unread(graph: Graph) -> bool:
    """Removes one node a run, so that it takes several."""
    for node in reversed(graph.nodes):
        if not node.output.uses and not graph.is_output(node.output):
            graph.remove_node(node)
            return True
    return False


def test_records_tell_what_each_pass_did():
    seen: list[PassRecord] = []
    records = run_passes(parse(CHAIN), [PASSES["eliminate_identities"], PASSES["fuse_pad"],
                                        PASSES["eliminate_dead_nodes"]], on_pass=seen.append)
    assert [(r.name, r.changed, r.nodes_before, r.nodes_after) for r in records] == [
        ("eliminate_identities", True, 3, 2), ("fuse_pad", False, 2, 2), ("eliminate_dead_nodes", True, 2, 1)]
    assert all(r.seconds >= 0 for r in records) and seen == records


def test_group_runs_until_a_whole_round_changes_nothing():
    graph = parse("graph @net(%x: f32[4]) {\n  %0 = Relu(%x) : f32[4]\n  %1 = Relu(%0) : f32[4]\n"
                  "  %2 = Relu(%1) : f32[4]\n  return %x\n}")
    records = run_passes(graph, [(remove_last_unread, PASSES["fuse_pad"])])
    assert [r.changed for r in records] == [True, False] * 3 + [False, False]
    assert len(graph) == 0


def test_group_is_bounded():
    def never_content(graph: Graph) -> bool:
        return True

    assert len(run_passes(parse(CHAIN), [(never_content,)])) == MAX_ROUNDS


def test_dump_holds_the_input_and_the_text_after_each_change(tmp_path):
    graph = parse(CHAIN)
    before = format_graph(graph)
    run_passes(graph, [PASSES["fuse_pad"], PASSES["eliminate_identities"], PASSES["eliminate_dead_nodes"]],
               dump=tmp_path / "deep" / "dump")
    files = {p.name: p.read_text() for p in (tmp_path / "deep" / "dump").iterdir()}
    assert sorted(files) == ["00_input.txt", "02_eliminate_identities.txt", "03_eliminate_dead_nodes.txt"]
    assert files["00_input.txt"] == before and files["03_eliminate_dead_nodes.txt"] == format_graph(graph)


def test_dump_into_a_file_is_refused_with_a_remedy(tmp_path):
    path = tmp_path / "taken"
    path.write_text("")
    with pytest.raises(InputError, match=r"cannot be written .* give a directory"):
        run_passes(parse(CHAIN), [], dump=path)


def test_verification_names_the_pass_that_broke_the_graph():
    def break_constant(graph: Graph) -> bool:
        graph.outputs = [graph.add_constant(np.zeros(3, np.float32), "c")]
        graph.outputs[0].constant = np.zeros(4, np.float32)
        return True

    with pytest.raises(GraphError, match=r"after the pass break_constant: .*constant"):
        run_passes(parse(CHAIN), [break_constant], verify=True)
    run_passes(parse(CHAIN), [break_constant])


def test_names_of_passes_are_their_functions():
    assert all(name == one.__name__ and one.__module__ == f"cnncc.passes.{name}" for name, one in PASSES.items())
    assert list(PASSES) == sorted(PASSES)


def test_every_pass_says_in_one_line_what_it_does():
    for one in PASSES.values():
        first, _, rest = (one.__doc__ or "").partition("\n")
        assert first.endswith((".", ":")) and rest.startswith("\n") and "%" in rest, one.__name__
