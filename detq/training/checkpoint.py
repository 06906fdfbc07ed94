"""Checkpoints: everything that a training needs to go on exactly as if it had not stopped."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from detq.errors import OutputError
from detq.files import atomic_path

__all__ = ["Progressed", "load_checkpoint", "save_checkpoint"]

FORMAT = "detq-checkpoint/1"


@dataclass(frozen=True)
class Progressed:
    """How far a training is.

    Attributes:
        step: how many steps are done.
        seconds: how long they took, interruptions left out.
    """

    step: int = 0
    seconds: float = 0.0


def save_checkpoint(path: Path, module: nn.Module, optimizer: Optimizer, progressed: Progressed) -> None:
    """Write the state of a training to `path`, whole or not at all.

    The random state is not needed to go on, because each step seeds it anew; it is stored for whoever investigates.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "step": progressed.step,
        "seconds": progressed.seconds,
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random_state": torch.get_rng_state(),
    }
    with atomic_path(path) as temporary:
        try:
            torch.save(content, temporary)
        except RuntimeError as error:  # torch's writer reports a full disk in words of its own: an "unexpected pos"
            if str(error).startswith("DataLoader worker"):
                raise  # nothing to do with the file: a signal handler raises it wherever the process is
            raise OutputError(
                f"cannot write {path}: its end could not be written, probably because the disk is full; free some "
                "space or choose another --out"
            ) from None


def load_checkpoint(path: Path, module: nn.Module, optimizer: Optimizer) -> Progressed:
    """Bring `module` and `optimizer` to the state in `path`; without such a file, leave them at their start.

    Raises:
        OutputError: the file is damaged, or another version's.
    """
    if not path.is_file():
        return Progressed()
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
        if content["format"] != FORMAT:
            raise OutputError(f"{path}: expected format {FORMAT}, found {content['format']}; choose another --out")
        module.load_state_dict(content["model"])
        optimizer.load_state_dict(content["optimizer"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, TypeError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise OutputError(
            f"{path}: not a checkpoint that fits this training ({reason}); choose another --out"
        ) from None
    return Progressed(content["step"], content["seconds"])
