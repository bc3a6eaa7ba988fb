"""What `make models` runs: the published models in the folder CNNCC_MODELS, compared with ONNX Runtime at 1 thread.

    python benchmarks/models.py                          # all of them, a table
    python benchmarks/models.py yunet_n_dynamic          # some
    python benchmarks/models.py --seconds 0              # without timing
    python benchmarks/models.py --output DIR --name NAME # also NAME.md and NAME.json in DIR

Nodes are those of the ONNX graph and of the optimised one. Native steps run on kernels, references on NumPy; `in
references` is the share of a run's time that these take. Times are medians in milliseconds, the runtimes take turns
(examples/timing.py). Errors are the largest difference of any output over the largest element of ONNX Runtime's, on
a random and on a realistic feed. The exit code is 1 if a model does not compile, an error exceeds 1e-4 and what ONNX
Runtime's own runs disagree by, or a model that uses an operator nobody knows is not refused by its name.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

import cnncc
from cnncc.benchmark.machine import describe_machine
from cnncc.benchmark.report import Table, write_results
from cnncc.cli.console import print_line, print_table
from cnncc.errors import CnnccError, UnsupportedError
from cnncc.plan import ALIAS, KNOWN, REFERENCE, REORDER
from cnncc.verification import compare_arrays

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from timing import median_ms

TOLERANCE = 1e-4
SLACK = 4  # times ONNX Runtime's own disagreement
PROFILED_RUNS = 5
COLUMNS = ("model", "nodes", "optimised", "native", "references", "in references", "cnncc ms", "ORT ms", "ratio",
           "random error", "realistic error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="some of those in models.json")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each runtime; 0 for none")
    parser.add_argument("--output", type=Path, help="folder for a table and JSON")
    parser.add_argument("--name", default="models", help="of the files in it")
    options = parser.parse_args()
    if "CNNCC_MODELS" not in os.environ:
        parser.error("the environment variable CNNCC_MODELS must name the folder of the models")
    folder = Path(os.environ["CNNCC_MODELS"])
    known = {entry["name"]: entry for entry in json.loads((folder / "models.json").read_text())}
    unknown = [name for name in options.models if name not in known]
    if unknown:
        parser.error(f"there is no model '{unknown[0]}'; there are {', '.join(known)}")
    rows = []
    for name in options.models or known:
        rows.append(measure(folder, known[name], options.seconds))
        print(f"{name}: {rows[-1].get('problem') or 'done'}", file=sys.stderr)
    table = Table(COLUMNS, tuple(cells(row) for row in rows if "nodes" in row), COLUMNS[1:])
    notes = [f"{row['model']}: {row['problem']}" for row in rows if row.get("problem")]
    print_table(table.columns, table.rows, title="Published models", right=table.right)
    for note in notes:
        print_line(note)
    if options.output:
        for path in write_results(options.output, options.name, describe_machine(["onnxruntime"]),
                                  {"Published models, 1 thread": table}, notes, {"rows": rows}):
            print(f"wrote {path}", file=sys.stderr)
    wrong = [row["model"] for row in rows if not row["passed"]]
    if wrong:
        sys.exit(f"wrong, or not to be compiled: {', '.join(wrong)}")


def measure(folder: Path, entry: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Everything that the table says of a model; `problem` is why something is missing."""
    path = folder / f"{entry['name']}.onnx"
    refused = "ort" not in entry or not entry["ort"].get("outputs_random")
    try:
        plan = cnncc.compile(path)
    except CnnccError as error:
        lacking = {p.partition("(")[2].partition(",")[0] for p in getattr(error, "problems", [])}
        named = isinstance(error, UnsupportedError) and lacking <= {op.rpartition(":")[2] for op in entry["ops"]}
        problem = f"refused: it uses {', '.join(sorted(lacking))}" if lacking else str(error)
        return {"model": entry["name"], "problem": problem, "passed": refused and named}
    session, other = cnncc.InferenceSession(plan, threads=1), _onnxruntime(path)
    feeds = {kind: dict(feeds_of(folder, entry["name"], kind == "realistic")) for kind in ("random", "realistic")}
    names = [o.name for o in other.get_outputs()]
    errors = {kind: _error(names, session.run(names, feed), other.run(names, feed)) for kind, feed in feeds.items()}
    profile = session.profile(feeds["realistic"], runs=PROFILED_RUNS)
    total = sum(s.seconds for s in profile.steps)
    slow = sum(s.seconds for s in profile.steps if s.kernel == REFERENCE)
    times = median_ms({"cnncc": lambda: session.run(None, feeds["realistic"]),
                       "ort": lambda: other.run(None, feeds["realistic"])}, seconds) if seconds else {}
    own = entry["ort"].get("opt_vs_noopt_maxdiff_over_maxabs", 0.0)
    return {
        "model": entry["name"], "nodes": len(onnx.load(path, load_external_data=False).graph.node),
        "optimised": sum(s.kernel not in (KNOWN, REORDER) for s in plan.steps),
        "native": sum(s.kernel not in (KNOWN, ALIAS, REORDER, REFERENCE) for s in plan.steps),
        "references": len(plan.fallbacks), "fallbacks": sorted({s.op.op_type for s in plan.fallbacks}),
        "share": slow / total if total else 0.0, "cnncc_ms": times.get("cnncc"), "ort_ms": times.get("ort"),
        "errors": errors, "own": own, "passed": max(errors.values()) <= max(TOLERANCE, SLACK * own)}


def _onnxruntime(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    return ort.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def _error(names: list[str], found: list[Any], expected: list[Any]) -> float:
    return max(compare_arrays(name, np.asarray(a), b).error for name, a, b in zip(names, found, expected, strict=True))


def feeds_of(folder: Path, name: str, realistic: bool) -> dict[str, Any]:
    spec = importlib.util.spec_from_file_location("make_inputs", folder / "make_inputs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.feeds(name, realistic=realistic))


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.3f}" if value < 1 else f"{value:.2f}"

    mine, theirs = row["cnncc_ms"], row["ort_ms"]
    return (row["model"], str(row["nodes"]), str(row["optimised"]), str(row["native"]), str(row["references"]),
            f"{row['share']:.0%}", number(mine), number(theirs), f"{theirs / mine:.2f}" if mine else "",
            *(f"{row['errors'][kind]:.1e}" for kind in ("random", "realistic")))


if __name__ == "__main__":
    main()
