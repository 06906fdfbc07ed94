"""A script module, frozen: what detq times and proves of TorchScript.

`torch.jit.freeze` makes parameters constants and folds batch norm into the convolutions. On the packaged detector that
is 1.25 times as fast as the script module alone, in fp32, and moves boxes by less than a thousandth of a pixel. It is
chosen over `torch.jit.optimize_for_inference`, which is another 1.2 times as fast, because that hides convolutions from
every way to count them, so that nothing could be proved, and cannot be saved. Without the profiling executor
(`torch.jit.optimized_execution(False)`) a frozen detector is as fast; the setting is global, so it is left alone.

The executor profiles the first call and compiles on the second: those two are slow, by half and by as much again.
Images of other sizes do not compile again, so that two warm-up calls are enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from detq.quantization.script_layers import ScriptLayer, constant_bytes, count_script_work, layers_of, named_after
from detq.quantization.scripted import quiet_torchscript
from detq.quantization.work import LayerWork

__all__ = ["FrozenDetector", "FrozenScript", "freeze"]


def freeze(script: torch.jit.ScriptModule) -> torch.jit.ScriptModule:
    """Return `script` frozen, or as it is where it cannot be (it changes its own attributes, say)."""
    with quiet_torchscript():
        try:
            return cast("torch.jit.ScriptModule", torch.jit.freeze(script.eval()))
        except RuntimeError:
            return script


class FrozenScript:
    """A script module, frozen, that remembers what its layers were called.

    Attributes:
        module: what runs.
    """

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        original = layers_of(script)
        self.module = freeze(script)
        # The names alone: layers would keep a second copy of int8 weights, which memory is measured with.
        self._paths = [layer.path for layer in named_after(layers_of(self.module), original)]

    def __call__(self, *given: Any) -> Any:
        """Run it."""
        return self.module(*given)

    def layers(self) -> list[ScriptLayer]:
        """Return its convolutions and linear layers under their original names."""
        return [replace(layer, path=path) for layer, path in zip(layers_of(self.module), self._paths, strict=True)]

    def count_work(self, run: Callable[[], object]) -> Sequence[LayerWork]:
        """Call `run`, which calls this, and return what each layer did."""
        return count_script_work(self.layers(), run)

    def count_weight_bytes(self) -> int:
        """Return the bytes of all constants: parameters, what batch norm was folded into, int8 packed weights."""
        return constant_bytes(self.module, self.layers())


class FrozenDetector(nn.Module):
    """A scripted detector with torchvision's eager interface: a list of images in, a list of dicts out.

    Args:
        script: takes `List[Tensor]` and returns `List[Dict[str, Tensor]]`; see `script_detector`.
    """

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__()
        self._frozen = FrozenScript(script)

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        """Return, for each image, what torchvision's detector returns."""
        return cast("list[dict[str, Tensor]]", self._frozen(images))

    def count_work(self, image: Tensor) -> Sequence[LayerWork]:
        """Return what each layer does on `image`, float32 `(3, height, width)` in [0, 1]."""
        return self._frozen.count_work(lambda: self._frozen([image]))

    def count_weight_bytes(self) -> int:
        """Return the bytes of all constants; see `FrozenScript`."""
        return self._frozen.count_weight_bytes()
