"""How large a variant is as a file: what of it counts, and how often."""

from __future__ import annotations

import io
from types import SimpleNamespace

import torch

from detq.engine.build import build_staged
from detq.measure.file_size import file_bytes
from detq.quantization.plan import Plan
from tests.engine.small import small_detector


def test_an_eager_staged_detector_is_as_large_as_the_files_of_its_stages():
    """torch's own files of their states are the oracle; the glue between them has no weights."""
    staged = build_staged(small_detector(), Plan())
    expected = 0
    for stage in staged.dense.values():
        stream = io.BytesIO()
        torch.save(stage.state_dict(), stream)
        expected += stream.getbuffer().nbytes
    assert len(staged.dense) == 3
    assert file_bytes(staged) == expected > sum(one.nbytes for one in staged.dense["box_head"].parameters())


def test_a_package_that_two_shapes_share_counts_once(tmp_path):
    """Stages with the same key in the cache are one file."""
    sizes = {"a": 300, "b": 50}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(b"\0" * size)
    one, other = (SimpleNamespace(path=tmp_path / name) for name in sizes)
    stages = {"backbone": SimpleNamespace(packages=(one, other)), "box_head": SimpleNamespace(packages=(one,))}
    assert file_bytes(SimpleNamespace(dense=stages)) == 350
