"""The experiment behind `detq run`: every variant on every image, interleaved, into a folder that survives a kill."""

from __future__ import annotations

from detq.runner.config import RunConfig
from detq.runner.experiment import run_experiment
from detq.runner.progress import Progress

__all__ = ["Progress", "RunConfig", "run_experiment"]
