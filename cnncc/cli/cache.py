"""`cnncc cache`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from .console import Reporter, human_bytes, print_json, print_line, print_table
from .options import Json, Quiet

# What `warm` compiles for where nothing is named: networks of the zoo that between them need most kernels.
COMMON = ("lenet5", "alexnet", "vgg16", "resnet50", "resnext50", "googlenet", "densenet121", "squeezenet",
          "mobilenet_v2", "efficientnet_b0", "shufflenet_v2", "unet")


class Action(enum.StrEnum):
    INFO = "info"
    CLEAR = "clear"
    WARM = "warm"


def cache(action: Annotated[Action, typer.Argument(
              help="`info` shows the cache, `clear` empties it, `warm` fills it.")] = Action.INFO,
          networks: Annotated[list[str] | None, typer.Argument(
              help="For `warm`: plans, models or names of networks of the zoo; by default common networks.")] = None,
          as_json: Json = False,
          quiet: Quiet = False) -> None:
    """Shows, empties or fills the cache of compiled kernels.

    Kernels are compiled on first use and kept for the next process, in $XDG_CACHE_HOME/cnncc or ~/.cache/cnncc. `warm`
    compiles them beforehand: when an image of a machine is made, say.

        cnncc cache info

        cnncc cache warm resnet50.plan detector.onnx mobilenet_v2

        cnncc cache clear
    """
    if networks and action is not Action.WARM:
        raise typer.BadParameter(f"`{action.value}` takes no networks")
    if action is Action.CLEAR:
        _clear(as_json)
    elif action is Action.WARM:
        _warm(networks or list(COMMON), as_json, quiet)
    else:
        _info(as_json)


def _clear(as_json: bool) -> None:
    from ..runtime.cpu.kernel_cache import clear_cache

    removed = clear_cache()
    if as_json:
        print_json({"removed": removed})
    else:
        print_line(f"removed {removed} kernels")


def _info(as_json: bool) -> None:
    from ..runtime.cpu.kernel_cache import cache_info

    info = cache_info()
    if as_json:
        print_json({"path": str(info.path) if info.path else None, "entries": info.entries, "bytes": info.bytes})
    else:
        rows = [("folder", info.path or "none: kernels are compiled in memory"), ("kernels", info.entries),
                ("size", human_bytes(info.bytes))]
        print_table(("kernel cache", ""), rows)


def _warm(networks: list[str], as_json: bool, quiet: bool) -> None:
    from ..errors import InputError
    from ..runtime.cpu.kernel_cache import cache_info

    before = cache_info()
    if before.path is None:
        raise InputError("there is no kernel cache to fill: its folder cannot be used, as the warning says")
    with Reporter(quiet) as reporter:
        for network in networks:
            _compile(network, reporter)
    after = cache_info()
    if as_json:
        print_json({"networks": networks, "compiled": after.entries - before.entries, "entries": after.entries})
    else:
        print_line(f"compiled {after.entries - before.entries} kernels for {len(networks)} networks; the cache holds "
                   f"{after.entries}")


def _compile(network: str, reporter: Reporter) -> None:
    """Compiles what the file, or the network of the zoo, needs and is not in the cache."""
    from .. import compile, zoo
    from .. import network as read_network
    from ..compiler import warm_plan
    from .plans import open_plan

    def tell(stage: str, done: int, total: int) -> None:
        reporter.event(f"{network}: {stage}", done, total)

    path = Path(network)
    if path.suffix in (".onnx", ".cnn", ".plan") or path.exists():
        warm_plan(open_plan(path, reporter), tell)
    else:
        compile(read_network(zoo.find(network).path, network, seed=0), on_event=tell)
