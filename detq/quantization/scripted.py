"""A whole detector as TorchScript, variable image sizes included: what `detq export --format torchscript` writes."""

from __future__ import annotations

import contextlib
import copy
import gc
import math
import types
import warnings
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from detq.errors import UnsupportedError

__all__ = ["forget_dead_operators", "quiet_torchscript", "script_detector", "unsupported_reason"]


def unsupported_reason() -> str | None:
    """Return why TorchScript cannot be used with this torch, or None if it can."""
    if all(hasattr(torch.jit, name) for name in ("script", "freeze", "load")):
        return None
    return f"torch {torch.__version__} no longer has torch.jit.script and torch.jit.freeze; install an older torch"


@contextlib.contextmanager
def quiet_torchscript() -> Iterator[None]:
    """Keep torch's announcements about the end of TorchScript from a user who has not asked.

    `unsupported_reason` notices when it has come.
    """
    with warnings.catch_warnings():
        for category in (FutureWarning, DeprecationWarning):
            warnings.filterwarnings("ignore", message=r"(?s).*torch\.(jit|ao\.quantization)", category=category)
        warnings.filterwarnings("ignore", message=r"(?s).*(quantized tensor|TypedStorage).*", category=UserWarning)
        yield


class _Answer(nn.Module):
    """torchvision's scripted detectors return (losses, detections); everybody else expects the detections alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        detections: list[dict[str, Tensor]] = self.model(images)[1]
        return detections


class _PlainAnswer(_Answer):
    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        detections: list[dict[str, Tensor]] = self.model(images)
        return detections


class _ExactTransform(GeneralizedRCNNTransform):  # type: ignore[misc]
    """torchvision's resizing with one kind of rounding.

    Its eager transform computes the scale in float64 and its scripted one in float32, so that 500 pixels that should
    become 640 become 639 when scripted, and boxes move by up to two pixels.
    """

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Resize as the eager transform does in eval mode."""
        height, width = image.shape[-2], image.shape[-1]
        fixed = self.fixed_size
        if fixed is not None:
            size = [fixed[1], fixed[0]]
        else:
            scale = min(self.min_size[-1] / min(height, width), self.max_size / max(height, width))
            size = [math.floor(float(height) * scale), math.floor(float(width) * scale)]
        resized = nn.functional.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]
        return resized, target


def _with_exact_transform(module: nn.Module) -> nn.Module:
    transform = getattr(module, "transform", None)
    if type(transform) is not GeneralizedRCNNTransform:
        return module
    twin, exact = copy.copy(module), copy.copy(transform)
    exact.__class__ = _ExactTransform
    twin._modules = {**module._modules, "transform": exact}  # noqa: SLF001  # a copy with one other child
    return twin


def forget_dead_operators() -> None:
    """Take out of TorchScript's table what is no operator any more.

    torch knows operators by their `id`, also those that it has dropped since: registering an overload, as compilers
    and quantizers do, makes a new object. When something else comes to lie where a dropped one was, `torch.jit.script`
    takes it for the operator, and fails by chance ("builtin cannot be used as a value").
    """
    builtins = getattr(torch.jit, "_builtins", None)  # private: another torch may do without
    table = getattr(builtins, "_builtin_table", None)
    if not table:
        return
    known = {id(function) for function, _ in getattr(builtins, "_builtin_ops", ())}
    # By `type`, since `isinstance` asks some objects of torch for their class, and they warn of their end.
    known |= {id(found) for found in gc.get_objects() if id(found) in table and issubclass(type(found), _FUNCTIONS)}
    for gone in table.keys() - known:
        del table[gone]


_FUNCTIONS = (types.BuiltinFunctionType, types.FunctionType, type)
"""What an operator is registered by: bound methods and whatever else lies at its address is none."""


def script_detector(module: nn.Module) -> torch.jit.ScriptModule:
    """Return `module` as TorchScript: `List[Tensor]` in, `List[Dict[str, Tensor]]` out, the same numbers as eager.

    Args:
        module: a detector in eval mode, torchvision's or one with its interface; it stays as it is. Its layers may be
            dynamically quantized. The script module shares its parameters.

    Raises:
        UnsupportedError: `torch.jit.script` cannot compile it.
    """
    if reason := unsupported_reason():
        raise UnsupportedError(f"torchscript: {reason}")
    with quiet_torchscript():
        forget_dead_operators()
        try:
            scripted: Any = torch.jit.script(_with_exact_transform(module))
            returned = str(scripted.forward.schema.returns[0].type)
            wrapped = torch.jit.script((_Answer if returned.startswith("Tuple") else _PlainAnswer)(scripted))
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            said = " ".join(lines[:2]) or repr(error)  # the first often ends in a colon
            raise UnsupportedError(
                f"torch.jit.script cannot compile {type(module).__name__} ({said}); leave the torchscript recipes out "
                "with --variants"
            ) from error
    if hasattr(wrapped.model, "_has_warned"):
        wrapped.model._has_warned = True  # noqa: SLF001  # torchvision's way to say once what _Answer takes care of
    return cast("torch.jit.ScriptModule", wrapped.eval())
