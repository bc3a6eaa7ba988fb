"""What was measured of convolutions on this machine, kept in the cache folder from one compilation to the next.

A file is a plain table of seconds; it names no code. What it says counts only for candidates that the compiler would
have considered anyway, so a wrong file can make a plan slow, never wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....replacing import replacing
from .. import kernel_cache
from ..target import target

__all__ = ["Findings"]

FORMAT = 1
_KERNELS = Path(kernel_cache.__file__).parent / "kernels"


class Findings:
    """Seconds by convolution (see measure.convolution) and candidate (see measure.Candidate).

    A file holds for one CPU, vector length, number of threads and version of cnncc and its kernels.
    """

    def __init__(self, machine: Mapping[str, Any], path: Path | None = None,
                 seconds: Mapping[str, Mapping[str, float]] | None = None) -> None:
        self.machine, self.path = dict(machine), path
        self._seconds = {convolution: dict(times) for convolution, times in (seconds or {}).items()}

    @staticmethod
    def load(lanes: int, threads: int, version: str) -> Findings:
        """The findings of earlier runs; none where there is no file, or, with a warning, where it is damaged."""
        machine = {"cpu": target().cpu, "features": target().features, "lanes": lanes, "threads": threads,
                   "cnncc": version, "kernels": _digest_of_kernels()}
        folder = kernel_cache.cache_info().path
        if folder is None:
            return Findings(machine)
        digest = hashlib.sha256(json.dumps(machine, sort_keys=True).encode()).hexdigest()[:16]
        path = folder / f"tuning-{digest}.json"
        return Findings(machine, path, _read(path))

    def of(self, convolution: str) -> dict[str, float]:
        """Seconds by candidate, as far as it was measured."""
        return dict(self._seconds.get(convolution, {}))

    def add(self, convolution: str, seconds: Mapping[str, float]) -> None:
        self._seconds.setdefault(convolution, {}).update(seconds)

    def save(self) -> None:
        """Writes the file whole, with what other processes have added to it. A full or read-only disk is no error:
        what was measured then serves this process alone."""
        if self.path is None:
            return
        merged = _read(self.path)
        for convolution, times in self._seconds.items():
            merged.setdefault(convolution, {}).update(times)
        text = json.dumps({"format": FORMAT, "machine": self.machine, "seconds": merged}, indent=1)
        with contextlib.suppress(OSError), replacing(self.path, mode=0o600) as file:
            file.write(text.encode())


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        text = kernel_cache.read_file(path, ours=False)
    except OSError:
        return {}
    try:
        return _checked(json.loads(text))
    except (ValueError, RecursionError):
        warnings.warn(f"the tuning file {path} is damaged: it is not used, and the next tuning replaces it",
                      stacklevel=2)
        return {}


def _checked(content: Any) -> dict[str, dict[str, float]]:
    """The table of seconds. Raises ValueError unless everything in the file is as `save` writes it."""
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("seconds"), dict):
        raise ValueError("not a tuning file")
    table: dict[str, dict[str, float]] = content["seconds"]
    for times in table.values():
        if not isinstance(times, dict):
            raise ValueError("no table of seconds")
        for seconds in times.values():
            if not isinstance(seconds, float) or not (math.isfinite(seconds) and seconds > 0):
                raise ValueError("no time")
    return table


def _digest_of_kernels() -> str:
    digest = hashlib.sha256()
    for path in sorted(_KERNELS.glob("conv*.py")):
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
