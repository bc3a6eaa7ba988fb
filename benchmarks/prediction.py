"""Writes results/cuda-predicted.md: what ResNet-50 and VGG-16 would take on GPUs, by the model of `cnncc profile
--target cuda --predict`. Predictions, not measurements; no GPU is needed.

    python benchmarks/prediction.py
"""

from __future__ import annotations

from pathlib import Path

import cnncc
from cnncc import zoo
from cnncc.benchmark.report import Table, markdown
from cnncc.runtime.cuda.devices import DEVICES
from cnncc.runtime.cuda.prediction import Prediction, predict

RESULT = Path(__file__).parent / "results" / "cuda-predicted.md"
NETWORKS = ("resnet50", "vgg16")
BATCHES = (1, 32)
ACCURACIES = ("default", "tf32")
HEAD = """\
# PREDICTED times on GPUs

**Predictions by a roofline model, not measurements**: nothing here was run on a GPU. Inputs and outputs on the device,
bytes as if all came from device memory once. The accuracy `default` is float32 without tensor cores, `tf32` allows
them. Written by `python benchmarks/prediction.py`; docs/cuda.md says how the model works.
"""
COLUMNS = ("kernel", "operator", "shapes", "GFLOP", "MB", "blocks", "waves", "limit", "us (predicted)")


def main() -> None:
    found = [(predict(cnncc.compile(zoo.load(name), shapes={"N": batch}, target="cuda", device=key, accuracy=accuracy,
                                    warm=False), device), batch, accuracy)
             for name in NETWORKS for key, device in DEVICES.items() for batch in BATCHES for accuracy in ACCURACIES]
    rows = [(p.name, p.device, str(batch), accuracy, f"{p.seconds * 1e3:.3f}", f"{p.flops / p.seconds * 1e-12:.1f}",
             str(len(p.layers))) for p, batch, accuracy in found]
    head = Table(("network", "device", "batch", "accuracy", "ms a run (predicted)",
                  "TFLOP/s of the operators (predicted)", "steps"), tuple(rows),
                 ("batch", "ms a run (predicted)", "TFLOP/s of the operators (predicted)", "steps"))
    parts = [HEAD, markdown(head), *(layers(p, accuracy) for p, batch, accuracy in found if batch == 1)]
    RESULT.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts), encoding="utf-8")
    print(f"wrote {RESULT}")


def layers(prediction: Prediction, accuracy: str) -> str:
    """A section of the file: the layers of one network on one device, at batch 1."""
    rows = tuple((x.kernel, x.op_type, x.shapes, f"{x.flops * 1e-9:.3f}", f"{x.bytes * 1e-6:.2f}", str(x.blocks),
                  f"{x.waves:.2f}", x.limit, f"{x.seconds * 1e6:.1f}") for x in prediction.layers)
    table = markdown(Table(COLUMNS, rows, ("GFLOP", "MB", "blocks", "waves", "us (predicted)")))
    return f"## Predicted: {prediction.name} on {prediction.device}, batch 1, accuracy {accuracy}\n\n{table}"


if __name__ == "__main__":
    main()
