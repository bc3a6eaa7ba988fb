"""What `make bench` runs: cnncc against ONNX Runtime, OpenVINO and ncnn on the networks of the table below.

    python benchmarks/networks.py                                 # all networks, batch 1, at 1 and 2 threads
    python benchmarks/networks.py --batch 1 8 32 --startup        # also larger batches, start-up and memory
    python benchmarks/networks.py --networks resnet50 --threads 2 --engines cnncc onnxruntime
    python benchmarks/networks.py --quick                         # seconds a network: for a look, not for the record

Each engine runs in a process of its own, pinned to the same CPUs, with the same threads, weights and inputs in single
precision; the engines take turns, and their outputs must agree before anything is timed. The table, with the machine it
was measured on, goes to benchmarks/results/ as Markdown and JSON; --quick writes only where --output says so.
The peers come with `pip install cnncc[bench]`.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnncc.benchmark.compare import OURS, Case, Effort, compare
from cnncc.benchmark.machine import describe_machine
from cnncc.benchmark.prepare import prepare, random_inputs
from cnncc.benchmark.report import Table, comparison_table, left_out_lines, write_results
from cnncc.benchmark.startup import CompileTimes, Startup, compile_times, measure_startup, startup_table
from cnncc.benchmark.worker import ENGINES, installed_version
from cnncc.cli.console import Reporter, print_line, print_table
from cnncc.errors import CnnccError

HERE = Path(__file__).parent
CACHE = HERE / ".cache"
GEOMETRIC_MEAN = 1.4
QUICK = Effort(seconds=0.5, rounds=3)


@dataclass(frozen=True)
class Network:
    """`source`: an ONNX or .cnn file, or the name of a network of the zoo; `floor`: the ratio to the fastest peer that
    is to be reached at batch 1."""

    title: str
    source: str
    shape: tuple[int, ...]
    floor: float | None = None


PICTURE = (3, 224, 224)
NETWORKS = {
    "lenet5": Network("LeNet-5", "../examples/lenet/lenet5.onnx", (1, 32, 32), 2.0),
    "alexnet": Network("AlexNet", "alexnet", PICTURE, 1.0),
    "vgg16": Network("VGG-16", "vgg16", PICTURE, 1.25),
    "resnet18": Network("ResNet-18", "resnet18", PICTURE, 1.5),
    "resnet50": Network("ResNet-50", "resnet50", PICTURE, 1.25),
    "googlenet": Network("GoogLeNet", "googlenet", PICTURE, 1.3),
    "densenet121": Network("DenseNet-121", "densenet121", PICTURE, 1.2),
    "mobilenet_v2": Network("MobileNetV2", "mobilenet_v2", PICTURE, 1.1),
    "efficientnet_b0": Network("EfficientNet-B0", "efficientnet_b0", PICTURE, 1.15),
    "squeezenet": Network("SqueezeNet 1.1", "squeezenet", PICTURE, 1.3),
    "resnext50": Network("ResNeXt-50", "resnext50", PICTURE, 1.2),
    "odd": Network("97x131, 33 channels", "odd.cnn", (33, 97, 131)),
}
STARTUP = ("lenet5", "resnet50", "vgg16")  # what --startup measures of those that are chosen
COMPILED = "resnet50"


def main() -> None:
    options = parse()
    try:
        run(options)
    except CnnccError as error:
        sys.exit(f"error: {error}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK",
                        help=f"some of {', '.join(NETWORKS)}")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="ENGINE",
                        help=f"some of {', '.join(ENGINES)}")
    parser.add_argument("--threads", type=int, nargs="+", help="by default 1 and 2, as far as there are CPUs")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--seconds", type=float, default=Effort.seconds, help="time for each engine and line")
    parser.add_argument("--rounds", type=int, default=Effort.rounds, help="turns that this time is taken in")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.seconds:g} s in {QUICK.rounds} turns")
    parser.add_argument("--tune", action="store_true", help="compile with --tune, for each number of threads")
    parser.add_argument("--startup", action="store_true",
                        help=f"also time to a first result, to load ({', '.join(STARTUP)}) and to compile, and memory")
    parser.add_argument("--output", type=Path, help=f"folder for the results; by default {HERE.name}/results")
    parser.add_argument("--name", help="of the files in it; by default the date")
    options = parser.parse_args()
    if OURS not in options.engines:
        parser.error(f"--engines must name {OURS}: the others are compared with it")
    return options


def run(options: argparse.Namespace) -> None:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = options.threads or [1, 2][:cpus]
    effort = QUICK if options.quick else Effort(options.seconds, options.rounds)
    missing = [f"{e} is not installed: pip install cnncc[bench]" for e in options.engines if not installed_version(e)]
    engines = [e for e in options.engines if installed_version(e)]
    for line in missing:
        print(f"warning: {line}", file=sys.stderr)
    with Reporter() as reporter, tempfile.TemporaryDirectory(prefix="cnncc-bench-") as folder:
        comparisons = []
        for name, batch in itertools.product(options.networks, options.batch):
            for count, case in each_case(name, batch, engines, threads, options.tune, Path(folder), reporter):
                comparisons.append(compare(case, engines, count, effort, reporter.event))
        started, compiled, notes = start_up(options, engines, max(threads), Path(folder), reporter)
    floors = {n.title: n.floor for n in NETWORKS.values() if n.floor is not None} | {"geometric mean": GEOMETRIC_MEAN}
    tables = {"Time of one run": comparison_table(comparisons, engines, floors)}
    if started:
        tables["Starting"] = startup_table(started)
    notes = [*missing, *left_out_lines(comparisons), *notes]
    machine = describe_machine(options.engines)
    show(tables, notes)
    if not options.quick or options.output:
        data = {"comparisons": [c.as_json() for c in comparisons], "startup": [s.as_json() for s in started],
                "compile": [c.as_json() for c in compiled], "floors": floors, "notes": notes}
        for path in write_results(options.output or HERE / "results", options.name or machine["date"], machine, tables,
                                  notes, data):
            print(f"wrote {path}", file=sys.stderr)


def each_case(name: str, batch: int, engines: Sequence[str], threads: Sequence[int], tune: bool, folder: Path,
              reporter: Reporter) -> list[tuple[int, Case]]:
    """The case for each number of threads: one for all, unless plans are tuned for their threads."""
    reporter.event(f"{NETWORKS[name].title}: preparing it", 0, 1)
    inputs = random_inputs([(batch, *NETWORKS[name].shape)])
    title, onnx = NETWORKS[name].title, onnx_file(name)
    if not tune:
        case = prepare(title, onnx, folder, engines, inputs)
        return [(count, case) for count in threads]
    cases = []
    for count in threads:
        (folder / str(count)).mkdir(exist_ok=True)
        cases.append((count, prepare(title, onnx, folder / str(count), engines, inputs, tune=True, threads=count)))
    return cases


def onnx_file(name: str) -> Path:
    """The network as an ONNX file with a symbolic batch and seeded weights, written once for each text of it."""
    source = NETWORKS[name].source
    if source.endswith(".onnx"):
        return HERE / source
    from cnncc import network, zoo
    from cnncc.frontends.onnx import export_model

    text = HERE / source if source.endswith(".cnn") else zoo.find(source).path
    digest = hashlib.sha256(text.read_bytes()).hexdigest()[:12]
    target = CACHE / f"{name}-{digest}.onnx"
    if not target.exists():
        CACHE.mkdir(exist_ok=True)
        for old in CACHE.glob(f"{name}-*.onnx"):
            old.unlink()
        graph = network(text, None if source.endswith(".cnn") else source, seed=0)
        temporary = target.with_suffix(".tmp")
        temporary.write_bytes(export_model(graph).SerializeToString())
        temporary.replace(target)
    return target


def start_up(options: argparse.Namespace, engines: Sequence[str], threads: int, folder: Path, reporter: Reporter,
             ) -> tuple[list[Startup], list[CompileTimes], list[str]]:
    """The figures of --startup, and what is to be said of them."""
    found: list[Startup] = []
    compiled: list[CompileTimes] = []
    notes: list[str] = []
    for name in options.networks if options.startup else ():
        if name in STARTUP:
            [(_, case)] = each_case(name, 1, engines, [threads], options.tune, folder, reporter)
            mine, left_out = measure_startup(case, engines, threads, 2 if options.quick else 7, reporter.event)
            found += mine
            notes += [f"starting: {e} was left out of {case.name}: {reason}" for e, reason in left_out.items()]
        if name == COMPILED:
            took = compile_times(NETWORKS[name].title, onnx_file(name), {"N": 1})
            compiled.append(took)
            notes.append(f"cnncc compile of {took.network}: {took.cold:.1f} s with an empty kernel cache, "
                         f"{took.warm:.2f} s with a full one")
    return found, compiled, notes


def show(tables: dict[str, Table], notes: Sequence[str]) -> None:
    for title, table in tables.items():
        print_table(table.columns, table.rows, title=title, right=table.right)
        print_line()
    for note in notes:
        print_line(note)


if __name__ == "__main__":
    main()
