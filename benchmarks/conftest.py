"""`--models` for this repository's own benchmarks; elsewhere the name may belong to somebody else."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `--models` say what `--detq-models` says."""
    parser.addoption("--models", dest="detq_models", metavar="NAMES", help="Same as --detq-models.")
