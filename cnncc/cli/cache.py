"""`cnncc cache`."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from .console import human_bytes, print_json, print_line, print_table
from .options import Json


class Action(enum.StrEnum):
    INFO = "info"
    CLEAR = "clear"


def cache(action: Annotated[Action, typer.Argument(help="`info` shows the cache, `clear` empties it.")] = Action.INFO,
          as_json: Json = False) -> None:
    """Shows or empties the cache of compiled kernels.

    Kernels are compiled on first use and kept for the next process, in $XDG_CACHE_HOME/cnncc or ~/.cache/cnncc.

        cnncc cache info

        cnncc cache clear
    """
    from ..runtime.cpu.kernel_cache import cache_info, clear_cache

    if action is Action.CLEAR:
        removed = clear_cache()
        if as_json:
            print_json({"removed": removed})
        else:
            print_line(f"removed {removed} kernels")
        return
    info = cache_info()
    if as_json:
        print_json({"path": str(info.path) if info.path else None, "entries": info.entries, "bytes": info.bytes})
    else:
        rows = [("folder", info.path or "none: kernels are compiled in memory"), ("kernels", info.entries),
                ("size", human_bytes(info.bytes))]
        print_table(("kernel cache", ""), rows)
