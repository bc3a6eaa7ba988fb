"""The passes: graph rewrites, one a file, and the pipelines that run them in order."""

from __future__ import annotations

from .manager import Pass, PassRecord, run_passes
from .pipeline import PASSES, PIPELINES, TARGETS

__all__ = ["PASSES", "PIPELINES", "TARGETS", "Pass", "PassRecord", "run_passes"]
