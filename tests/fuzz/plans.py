"""Plan files with right checksums and wrong contents."""

from __future__ import annotations

from . import plan_mutator, plan_trial
from .subject import Subject

__all__ = ["SUBJECT"]

SUBJECT = Subject(plan_mutator.mutant, plan_trial.attempt, plan_trial.prepare, ".plan", seconds=20.0, batch=20_000,
                  memory=2 << 30)
