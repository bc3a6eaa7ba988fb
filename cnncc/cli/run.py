"""`cnncc run`."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import Reporter, print_json, print_line, print_table
from .options import Inputs, Json, Quiet, Threads

if TYPE_CHECKING:
    import numpy as np

    from .pictures import PictureOptions


def run(
        plan: Annotated[Path, typer.Argument(help="A plan made by `cnncc compile`, or an ONNX model.")],
        inputs: Inputs = None,
        output: Annotated[Path | None, typer.Option(
            "--output", "-o", help="Write the outputs: .npz, or .npy for a single one.")] = None,
        top: Annotated[int, typer.Option(min=0, help="Show the K largest scores of each output.")] = 0,
        labels: Annotated[Path | None, typer.Option(help="A text file with the name of a class on each line.")] = None,
        scale: Annotated[float | None, typer.Option(
            help="Pictures: what a pixel of 0 to 255 is multiplied with.", show_default="1/255")] = None,
        mean: Annotated[str, typer.Option(help="Pictures: what is then subtracted; one number or one a channel.")
                        ] = "0",
        std: Annotated[str, typer.Option(help="Pictures: what is divided by after that.")] = "1",
        stretch: Annotated[bool, typer.Option(
            "--stretch", help="Pictures: change the proportions to fit instead of cutting the longer side.")] = False,
        bgr: Annotated[bool, typer.Option("--bgr", help="Pictures: channels in the order blue, green, red.")] = False,
        threads: Threads = None,
        as_json: Json = False,
        quiet: Quiet = False) -> None:
    """Runs a plan on arrays or pictures.

    Without --output or --top it prints what the outputs are.

        cnncc run resnet50.plan --input x.npy --output y.npz

        cnncc run resnet50.plan --input cat.jpg --top 5 --labels imagenet.txt \\
            --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225

        cnncc run two_inputs.plan --input left=a.npy --input right=b.npy
    """
    from ..session import InferenceSession
    from .feeds import read_feeds
    from .plans import input_types, open_plan, sizes_of, warm

    with Reporter(quiet) as reporter:
        pictures = _picture_options(scale, mean, std, stretch, bgr)
        names = _read_labels(labels)
        _check_output(output, None)
        loaded = open_plan(plan, reporter)
        _check_output(output, len(loaded.outputs))
        feeds = read_feeds(inputs or [], input_types(loaded), pictures)
        warm(loaded, sizes_of(loaded, feeds), reporter)
        session = InferenceSession(loaded, threads=threads)
        results = dict(zip((p.name for p in loaded.outputs), session.run(None, feeds), strict=True))
    if output is not None:
        _write(output, results)
        reporter.say(f"wrote {output}")
    best = {name: _top(array, top, names) for name, array in results.items()} if top else {}
    if as_json:
        print_json({"outputs": [_summary(n, a) for n, a in results.items()]} | ({"top": best} if top else {}))
    elif top:
        _print_top(best)
    elif output is None:
        rows = [list(_summary(n, a).values()) for n, a in results.items()]
        print_table(("output", "type", "shape", "min", "mean", "max"), rows, right=("min", "mean", "max"))


def _picture_options(scale: float | None, mean: str, std: str, stretch: bool, bgr: bool) -> PictureOptions:
    from ..errors import InputError
    from .pictures import PictureOptions

    def numbers(option: str, text: str) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in text.split(","))
        except ValueError:
            raise InputError(f"{option} takes numbers separated by commas, not '{text}'") from None

    divisors = numbers("--std", std)
    if 0 in divisors:
        raise InputError(f"--std must not hold a zero, as '{std}' does")
    return PictureOptions(1 / 255 if scale is None else scale, numbers("--mean", mean), divisors, stretch, bgr)


def _read_labels(path: Path | None) -> list[str]:
    from ..errors import InputError

    if path is None:
        return []
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the labels in '{path}': {error}") from None


def _check_output(path: Path | None, outputs: int | None) -> None:
    from ..errors import InputError
    from .files import check_writable

    if path is None:
        return
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"cannot write '{path}': name it .npz, or .npy for a single output")
    if path.suffix == ".npy" and outputs is not None and outputs != 1:
        raise InputError(f"cannot write {outputs} outputs to '{path}': name it .npz")
    check_writable(path)


def _write(path: Path, results: Mapping[str, np.ndarray]) -> None:
    import numpy as np

    from .files import replacing

    with replacing(path) as file:
        if path.suffix == ".npy":
            np.save(file, next(iter(results.values())))
            return
        with zipfile.ZipFile(file, "w") as archive:  # as np.savez, which cannot write an array named "file"
            for name, array in results.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def _summary(name: str, array: np.ndarray) -> dict[str, Any]:
    filled = array.size > 0
    return {"name": name, "type": str(array.dtype), "shape": list(array.shape),
            "min": _number(array.min()) if filled else None, "mean": _number(array.mean()) if filled else None,
            "max": _number(array.max()) if filled else None}


def _number(value: Any) -> float | int | bool:
    plain = value.item()
    return float(f"{plain:.6g}") if isinstance(plain, float) else plain


def _top(array: np.ndarray, count: int, labels: list[str]) -> list[list[dict[str, Any]]]:
    """Per image of the batch the `count` classes of largest score; an output [N, C, 1, 1] counts as [N, C]."""
    import numpy as np

    scores = array.reshape(array.shape[0], -1) if array.ndim >= 2 else array.reshape(1, -1)
    order = np.argsort(-scores.astype(np.float64), axis=1, kind="stable")[:, :count]
    return [[{"rank": rank, "class": int(c), "score": _number(row[c]), "label": labels[c] if c < len(labels) else ""}
             for rank, c in enumerate(best, 1)] for row, best in zip(scores, order, strict=True)]


def _print_top(best: Mapping[str, list[list[dict[str, Any]]]]) -> None:
    several = sum(map(len, best.values())) > 1
    for name, images in best.items():
        for number, rows in enumerate(images):
            if several:
                print_line(f"{name}, image {number}" if len(images) > 1 else name)
            labelled = any(row["label"] for row in rows)
            columns = ("rank", "class", "score", "label")[:4 if labelled else 3]
            print_table(columns, [[row[c] for c in columns] for row in rows], right=("rank", "class", "score"))
