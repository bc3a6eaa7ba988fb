"""What `make sass` runs: CUDA kernels compiled to machine code, and what each takes of a multiprocessor.

    python benchmarks/cuda_code.py                     # all of them; a table in Markdown
    python benchmarks/cuda_code.py conv_direct gemm    # some kernels
    python benchmarks/cuda_code.py --results NAME      # also writes benchmarks/results/NAME.md and NAME.json

Kernels are those that NETWORKS launch, at batch 1 and 32, and cases of the operators' tests: every kernel there is, at
the tiles and blocks that a GPU would run. No GPU is needed: they are compiled by NVIDIA's compiler and assembler, from
pip packages, and kept in the kernel cache, so that what is cut off goes on where it was. The exit code is 1 if a kernel
spills registers, or if a loop of a tiled product has less than 80 % FFMAs or reads shared memory otherwise than by 128
bits; on tensor cores, if it has more than 13 instructions for each HMMA.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import cnncc
from cnncc import zoo
from cnncc.runtime.cpu.binding import bind
from cnncc.runtime.cuda.codegen import Key, compile_image
from cnncc.runtime.cuda.devices import DEVICES, occupancy
from cnncc.runtime.cuda.kernel import Stage
from cnncc.runtime.cuda.kernels.table import KERNELS
from cnncc.runtime.cuda.lowering import Refusal
from cnncc.runtime.cuda.machine_code import MULTIPLY, MachineCode, read_machine_code

NETWORKS = ("lenet5", "vgg16", "resnet50", "mobilenet_v2", "densenet121", "unet", "dcgan_generator", "c3d", "vit_b16")
BATCHES = (1, 32)
TILED = ("conv_direct", "gemm")  # kernels whose inner loop is looked at
SHAPING = ("form", "bm", "bn", "bk", "tensor", "a_form", "a_width", "b_form", "b_width")  # the parameters of its loop
LEAST_SHARE = 0.8   # of FFMAs in it
MOST_FOR_EACH = 13  # instructions for each HMMA
ACCURACIES = ("default", "tf32")
RESULTS = Path(__file__).parent / "results"
PICTURE = 16  # of sizes that a network leaves open: U-Net takes pictures of 16 times as many pixels along an axis


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kernels", nargs="*", help="some of cnncc/runtime/cuda/kernels/table.py")
    parser.add_argument("--results", metavar="NAME", help="write benchmarks/results/NAME.md and NAME.json")
    parser.add_argument("--variants", type=int, default=2, metavar="N", help="of an untiled kernel, at most (2)")
    options = parser.parse_args()
    unknown = set(options.kernels) - set(KERNELS)
    if unknown:
        parser.error(f"there is no kernel '{min(unknown)}'; there are {', '.join(KERNELS)}")
    stages = collect(set(options.kernels or KERNELS), options.variants)
    missing = set(options.kernels or KERNELS) - {name for name, _ in stages}
    rows = []
    for number, key in enumerate(sorted(stages), 1):
        for device in DEVICES:
            rows.append(measure(key, stages[key], device))
        print(f"{number}/{len(stages)} {key[0]}", file=sys.stderr, flush=True)
    text = markdown(rows)
    print(text)
    if options.results:
        (RESULTS / f"{options.results}.md").write_text(text + "\n", encoding="utf-8")
        (RESULTS / f"{options.results}.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    problems = [f"{row['kernel']} for {row['device']}: {problem}" for row in rows for problem in row["problems"]]
    problems += [f"{name}: nothing launches it" for name in sorted(missing)]
    if problems:
        sys.exit("\n".join(problems))


def collect(wanted: set[str], variants: int) -> dict[Key, Stage]:
    """A launch of each kernel to compile. Of tiled ones, each form and tile once: how sums are stored is no matter."""
    found: dict[Any, Stage] = {}
    for stage in itertools.chain(launched_by_networks(), launched_by_cases()):
        name, params = stage.key
        if name in wanted and name in TILED:
            found.setdefault((name, tuple((k, v) for k, v in params if k in SHAPING)), stage)
        elif name in wanted and sum(key[0] == name for key in found) < variants:
            found.setdefault(stage.key, stage)
    return {stage.key: stage for stage in found.values()}


def launched_by_networks() -> Iterator[Stage]:
    for name in NETWORKS:
        sizes = dict.fromkeys(zoo.find(name).sizes, PICTURE)
        for accuracy in ACCURACIES:
            plan = cnncc.compile(zoo.load(name), shapes=sizes, target="cuda", fallback="cpu", accuracy=accuracy)
            for batch in BATCHES:
                for step in bind(plan, {"N": batch}).steps:
                    yield from step.launch.stages if step.launch is not None else ()


def launched_by_cases() -> Iterator[Stage]:
    from tests.runtime.cuda.lowered import launch_of
    from tests.runtime.cuda.test_cases import CONSTANTS, trials

    for trial in trials():
        case, dtype = trial.values
        found = launch_of(case.op, case.arrays(dtype), CONSTANTS.get(case.op.op_type, case.constants), case.outputs)
        if not isinstance(found, Refusal):
            yield from found[0].stages


def measure(key: Key, stage: Stage, device: str) -> dict[str, Any]:
    """A row of the table."""
    gpu = DEVICES[device]
    code = read_machine_code(compile_image(key, gpu.capability)[0], gpu.capability)
    threads = stage.block[0] * stage.block[1] * stage.block[2]
    shared = code.shared + stage.shared
    blocks = occupancy(gpu, threads, code.registers, shared)
    loop = code.busiest_loop() if key[0] in TILED else None
    target = f"sm_{gpu.capability[0]}{gpu.capability[1]}"
    return {"kernel": key[0], "params": dict(key[1]), "device": device, "target": target,
            "threads": threads, "registers": code.registers, "shared": shared, "stack": code.stack,
            "spills": code.spills, "blocks": blocks,
            "occupancy": round(blocks * -(-threads // 32) * 32 / gpu.threads, 3),
            "instructions": len(code.instructions), "loop": None if loop is None else dict(loop.most_common()),
            "share": None if loop is None else round(sum(loop[name] for name in MULTIPLY) / loop.total(), 3),
            "problems": problems_of(key, code)}


def problems_of(key: Key, code: MachineCode) -> list[str]:
    """What must not be."""
    found = []
    if code.spills or code.stack:
        found.append(f"{code.spills} accesses of local memory, a stack of {code.stack} bytes")
    if key[0] in TILED:
        loop = code.busiest_loop()
        if dict(key[1])["tensor"]:
            if loop.total() > MOST_FOR_EACH * loop[MULTIPLY[1]]:
                found.append(f"the inner loop has {loop[MULTIPLY[1]]} HMMAs among {loop.total()} instructions")
            return found
        if loop["FFMA"] < LEAST_SHARE * loop.total():
            found.append(f"the inner loop has {loop['FFMA']} FFMAs among {loop.total()} instructions")
        if not loop["LDS.128"] or loop["LDS"]:
            found.append("the inner loop reads shared memory otherwise than by 128 bits")
    return found


def markdown(rows: list[dict[str, Any]]) -> str:
    """One line a kernel and device."""
    lines = ["| kernel | parameters | target | threads | registers | shared bytes | spills | blocks | occupancy | "
             "instructions | inner loop: FFMA or HMMA | LDS.128 |", "|---|---|---|" + "--:|" * 9]
    for row in rows:
        params = " ".join(f"{k}={v}" for k, v in row["params"].items())
        loop = row["loop"] or {}
        products = sum(loop.get(name, 0) for name in MULTIPLY)
        share = "" if row["share"] is None else f"{products} of {sum(loop.values())}: {row['share']:.1%}"
        lines.append(f"| {row['kernel']} | {params} | {row['target']} | {row['threads']} | {row['registers']} | "
                     f"{row['shared']} | {row['spills']} | {row['blocks']} | {row['occupancy']:.0%} | "
                     f"{row['instructions']} | {share} | {loop.get('LDS.128', '')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
