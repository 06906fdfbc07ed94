"""What becomes of a checkpoint that cannot be written."""

from __future__ import annotations

import resource

import pytest
import torch
from torch import nn

from detq.errors import OutputError
from detq.training.checkpoint import Progressed, load_checkpoint, save_checkpoint


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path):
    """A sentence, the old file whole, and no part of the new one."""
    path = tmp_path / "checkpoint.pth"
    module = nn.Linear(200, 200)
    optimizer = torch.optim.SGD(module.parameters())
    save_checkpoint(path, module, optimizer, Progressed(3, 1.0))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # as good as a full disk
    try:
        with pytest.raises(OutputError, match=r"cannot write .*checkpoint\.pth: .*free some space or choose"):
            save_checkpoint(path, module, optimizer, Progressed(4, 2.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pth"]
    assert load_checkpoint(path, module, optimizer).step == 3
