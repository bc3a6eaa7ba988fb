"""`cnncc profile --target cuda --predict`: what a network would take on GPUs that need not be at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .console import Reporter, print_json, print_line, print_table

if TYPE_CHECKING:
    from ..runtime.cuda.prediction import Layer, Prediction

__all__ = ["predict_network"]

WARNING = "PREDICTION by a roofline model, not a measurement: "


def predict_network(path: Path, sizes: Mapping[str, Any], devices: Sequence[str], slowest: int, as_json: bool,
                    reporter: Reporter) -> None:
    """Compiles the model for each device, or takes the plan as it is, and prints what it would take there."""
    from ..compiler import compile
    from ..plan import Plan
    from ..runtime.cuda.devices import DEVICES
    from ..runtime.cuda.prediction import predict

    found = []
    for name in devices or list(DEVICES):
        if name not in DEVICES:
            raise InputError(f"there is no device '{name}': it is one of {', '.join(DEVICES)}")
        if path.suffix in (".onnx", ".cnn"):
            plan = compile(path, shapes=sizes, target="cuda", fallback="cpu", device=name, warm=False,
                           on_event=reporter.event)
        else:
            plan = Plan.load(path)
        if plan.target != "cuda":
            raise InputError("the plan was compiled for the CPU: give the model, or compile it with --target cuda")
        missing = [s for s in plan.symbols if s not in sizes]
        if missing:
            raise InputError(f"a prediction needs all sizes: add --shape {missing[0]}=1")
        found.append(predict(plan, DEVICES[name], {s: sizes[s] for s in plan.symbols}))
    if as_json:
        print_json([p.as_json() for p in found])
        return
    for prediction in found:
        _print(prediction, slowest)


def _print(prediction: Prediction, slowest: int) -> None:
    seconds = prediction.seconds
    print_line(f"{WARNING}{prediction.name} on {prediction.device}: {seconds * 1e3:.3f} ms a run, "
               f"{prediction.flops / seconds * 1e-12:.1f} TFLOP/s, {len(prediction.layers)} steps")
    print_line("bytes as if all came from device memory once; inputs and outputs on the device; FLOPs with the surplus "
               "of tiles")
    outside = sum(x.kernel in ("reference", "body") for x in prediction.layers)
    if outside:
        print_line(f"{outside} steps run on the CPU: their copies count, their own time does not")
    print_line()
    layers = sorted(prediction.layers, key=lambda x: -x.seconds)[:slowest] if slowest else prediction.layers
    columns = ("kernel", "operator", "shapes", "GFLOP", "MB", "blocks", "waves", "limit", "us (predicted)", "name")
    print_table(columns, [_row(layer) for layer in layers],
                right=("GFLOP", "MB", "blocks", "waves", "us (predicted)"))
    print_line()
    limits = {limit: sum(x.seconds for x in prediction.layers if x.limit == limit) / seconds
              for limit in ("compute", "memory", "gaps", "CPU")}
    print_line("limited by " + ", ".join(f"{limit} {share:.0%}" for limit, share in limits.items() if share))
    print_line()


def _row(x: Layer) -> tuple[str, ...]:
    return (x.kernel, x.op_type, x.shapes, f"{x.flops * 1e-9:.3f}", f"{x.bytes * 1e-6:.2f}", str(x.blocks),
            f"{x.waves:.2f}", x.limit, f"{x.seconds * 1e6:.1f}", x.name)
