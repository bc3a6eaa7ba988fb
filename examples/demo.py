"""What `make demo` runs: LeNet-5 reads handwritten digits, then nine published networks meet ONNX Runtime.

    python examples/demo.py                      # all of it
    python examples/demo.py resnet50 shufflenet  # some networks
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from networks import NETWORKS, load
from rich.console import Console
from rich.table import Table
from timing import median_ms

import cnncc
from cnncc.cli.console import Reporter
from cnncc.verification import compare_arrays

sys.path.insert(0, str(Path(__file__).parent / "lenet"))
import digits

TOLERANCE = 1e-4
COLUMNS = ("network", "nodes", "steps", "arena MB", "bound MB", "error", "top-1", "cnncc ms", "ORT ms", "speed-up")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"some of {', '.join(NETWORKS)}")
    parser.add_argument("--threads", type=int, help="by default all CPUs this process may use")
    options = parser.parse_args()
    unknown = [name for name in options.networks if name not in NETWORKS]
    if unknown:
        parser.error(f"there is no network '{unknown[0]}'; there are {', '.join(NETWORKS)}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    agreed = show_digits(options.threads)
    rows = [measure(name, options.threads) for name in options.networks or NETWORKS]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        table.add_row(*(str(row[column]) for column in COLUMNS))
    console.print(table)
    print(f"\nBatch 1, float32, {rows[0]['threads']} threads, medians. nodes: of the ONNX graph; steps: what runs "
          "after folding and fusing;\nbound: no arena can be smaller; error: the largest difference from ONNX Runtime "
          "over the largest output.")
    agreed &= show_cuda()
    if not agreed or not all(row["agrees"] for row in rows):
        sys.exit(f"error: a network differs from ONNX Runtime by more than {TOLERANCE:g} or in its top-1 class")


def show_digits(threads: int | None) -> bool:
    """LeNet-5 on the digits that training never saw, in both runtimes; whether the two agree."""
    images, labels = digits.load()
    x = digits.enlarge(images)
    session = cnncc.InferenceSession(cnncc.compile(digits.MODEL), threads=threads)
    [scores] = session.run(None, {"image": x})
    [expected] = reference(digits.MODEL, session.threads).run(None, {"image": x})
    guesses = scores.argmax(axis=1)
    print("LeNet-5, trained by examples/lenet/train.py, reads digits that training never saw:\n")
    show = np.linspace(0, len(images) - 1, 6).astype(int)
    for lines in zip(*(digits.as_text(images[i]) for i in show), strict=True):
        print("   ".join(lines))
    print("   ".join(f"-> {guesses[i]} ({'right' if guesses[i] == labels[i] else 'wrong'})".ljust(16) for i in show))
    for name, found in (("cnncc", guesses), ("ONNX Runtime", expected.argmax(axis=1))):
        print(f"\n{name}: {np.mean(found == labels):.2%} of {len(labels)} digits right", end="")
    difference = compare_arrays("scores", scores, expected)
    print(f"\nlargest difference over largest score: {difference.error:.1e}\n")
    return difference.error <= TOLERANCE and difference.top1 == 1


def show_cuda() -> bool:
    """The state of the CUDA target on this machine, as it is; whether LeNet-5 agrees there, where it can run."""
    from cnncc.runtime.cuda.driver import missing

    plan, reason = cnncc.compile(digits.MODEL, target="cuda"), missing()
    kernels = sum(step.kernel not in ("alias", "known") for step in plan.steps)
    print(f"\nCUDA: LeNet-5 compiles into {kernels} steps with kernels, {len(plan.fallbacks)} on the CPU. ", end="")
    if reason is not None:
        print(f"They cannot run here: {reason}.\nThe target is tested in a simulator (make test); its speed on a "
              "GPU has not been measured.")
        return True
    from cnncc.runtime.cuda.device import device

    x = digits.enlarge(digits.load()[0])
    plans = plan, cnncc.compile(digits.MODEL)
    [found], [expected] = (cnncc.InferenceSession(p).run(None, {"image": x}) for p in plans)
    difference = compare_arrays("scores", found, expected)
    print(f"They run on {device().name}: largest difference from the CPU {difference.error:.1e}.\nmake bench-cuda "
          "measures their speed.")
    return difference.error <= TOLERANCE


def measure(name: str, threads: int | None) -> dict[str, Any]:
    """One row of the table: the network compiled, run, compared and timed."""
    model = load(name)
    with Reporter() as reporter:
        plan = cnncc.compile(model, on_event=lambda stage, done, total: reporter.event(
            f"{NETWORKS[name].title}: {stage}", done, total))
        session = cnncc.InferenceSession(plan, threads=threads)
    other = reference(model.SerializeToString(), session.threads)
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224), np.float32)
    feeds = {plan.inputs[0].name: x}
    [found], [expected] = session.run(None, feeds), other.run(None, feeds)
    difference = compare_arrays(plan.outputs[0].name, found, expected)
    times = median_ms({"cnncc": lambda: session.run(None, feeds), "ort": lambda: other.run(None, feeds)})
    assert plan.arena is not None
    if plan.fallbacks:
        kinds = ", ".join(dict.fromkeys(step.op.op_type for step in plan.fallbacks))
        print(f"note: {NETWORKS[name].title}: {len(plan.fallbacks)} steps have no native kernel yet and run on NumPy "
              f"references ({kinds})")
    return {"network": NETWORKS[name].title, "nodes": len(model.graph.node),
            "steps": sum(step.kernel not in ("alias", "known") for step in plan.steps),
            "arena MB": f"{plan.arena.size / 1e6:.2f}", "bound MB": f"{plan.arena.lower_bound / 1e6:.2f}",
            "error": f"{difference.error:.1e}", "top-1": "same" if difference.top1 == 1 else "differs",
            "cnncc ms": f"{times['cnncc']:.2f}", "ORT ms": f"{times['ort']:.2f}",
            "speed-up": f"{times['ort'] / times['cnncc']:.2f}x", "threads": session.threads,
            "agrees": difference.error <= TOLERANCE and difference.top1 == 1}


def reference(model: Path | bytes, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options,
                                providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
