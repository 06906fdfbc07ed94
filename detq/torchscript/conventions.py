"""How a TorchScript detector wants its image and what its answer means, found out by trying.

Nothing in a TorchScript file says which of these it is:

- **torchvision**: a list of RGB images in [0, 1] in; a list of dicts out, or (losses, that list). The module resizes.
- **Detectron2, scripted** (`ScriptableAdapter` of its `export_model.py`): a one-element tuple, or list, of dicts
  `{"image": …}` in; a list of dicts of `Instances` fields out.
- **Detectron2, traced** (`TracingAdapter`): the bare image in; a flat tuple out, the fields of `Instances` sorted by
  their names (pred_boxes, pred_classes, pred_masks, scores), and the image's size last.

Detectron2's take a resized image in grey levels, BGR by default, and leave post-processing to the caller.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detq.errors import ModelFileError

__all__ = ["Convention", "Fields", "recognise", "refuse_unknown"]

Fields = Mapping[str, Tensor]
"""One image's answer: "boxes" `(N, 4)`, "scores" `(N,)`, "labels" `(N,)`, "masks" if any, "image_size" if known."""

# Small first. A graph that was traced for one image size may know only the size that Detectron2 gives most photos.
_TRIAL_SIZES = ((224, 320), (800, 1216), (800, 1333), (800, 1066), (800, 1067))


@dataclass(frozen=True)
class Convention:
    """One way to call a detector.

    Attributes:
        name: "torchvision", "detectron2-scripted" or "detectron2-traced".
        resizes: the module resizes images and scales boxes back itself; its labels start at 1.
        wrap: makes the module's argument from one image.
        read: makes fields of its answer, or raises `ValueError` with what is wrong.
    """

    name: str
    resizes: bool
    wrap: Callable[[Tensor], Any]
    read: Callable[[Any], Fields]

    def run(self, module: Any, image: Tensor) -> Fields:
        """Return what `module` finds in one image, float32 `(3, height, width)` on its device.

        Raises:
            ValueError: the answer is no detector's.
            RuntimeError: from the module.
        """
        return self.read(module(self.wrap(image)))


def _read_torchvision(answer: Any) -> Fields:
    found = _one_dict(answer[1] if isinstance(answer, tuple) and len(answer) == 2 else answer)
    return _checked({name: found[name] for name in ("boxes", "scores", "labels", "masks") if name in found})


_DETECTRON2 = {"boxes": "pred_boxes", "scores": "scores", "labels": "pred_classes", "masks": "pred_masks"}


def _read_detectron2(answer: Any) -> Fields:
    found = _one_dict(answer)
    return _checked({name: found[theirs] for name, theirs in _DETECTRON2.items() if theirs in found})


def _one_dict(answer: Any) -> Mapping[str, Any]:
    while isinstance(answer, (list, tuple)) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise ValueError(f"it answered with {_describe(answer)} instead of a dict for its one image")  # noqa: TRY004
    return answer


def _read_traced(answer: Any) -> Fields:
    flat = _flatten(answer)
    if not 4 <= len(flat) <= 8:
        raise ValueError(f"it answered with {_describe(answer)} instead of 4 or 5 tensors")
    boxes, labels, *others, size = flat
    if size.numel() != 2 or size.is_floating_point():
        raise ValueError(f"the last of its tensors is {_describe(size)} instead of the image's height and width")
    # The fields between are sorted by name: keypoints and masks before scores, all told apart by their dimensions.
    fields = {"boxes": boxes, "labels": labels, "image_size": size.reshape(2)}
    for tensor in others:
        if tensor.ndim == 1:
            fields["scores"] = tensor
        elif (tensor.ndim == 4 and tensor.shape[1] == 1) or tensor.dtype in (torch.bool, torch.uint8):
            fields["masks"] = tensor
    return _checked(fields)


def _flatten(answer: Any) -> list[Tensor]:
    if isinstance(answer, Tensor):
        return [answer]
    return [item for part in answer for item in _flatten(part)] if isinstance(answer, (list, tuple)) else []


def _checked(fields: dict[str, Any]) -> Fields:
    if missing := {"boxes", "scores", "labels"} - set(fields):
        raise ValueError(f"its answer has no {', '.join(sorted(missing))}")
    if wrong := sorted(name for name, value in fields.items() if not isinstance(value, Tensor)):
        raise ValueError(f"its {', '.join(wrong)} are no tensors")
    count = fields["scores"].numel()
    shapes = {"boxes": (count, 4), "scores": (count,), "labels": (count,)}
    for name, shape in shapes.items():
        if tuple(fields[name].shape) != shape:
            raise ValueError(f"its {name} have shape {tuple(fields[name].shape)} instead of {shape}")
    if fields["labels"].is_floating_point() or not fields["boxes"].is_floating_point():
        raise ValueError("its boxes are no floating-point numbers or its classes no integers")
    if "masks" in fields and (fields["masks"].ndim not in (3, 4) or len(fields["masks"]) != count):
        raise ValueError(f"its masks have shape {tuple(fields['masks'].shape)} for {count} boxes")
    return fields


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def _as_tuple(image: Tensor) -> Any:
    return ({"image": image},)


def _as_list(image: Tensor) -> Any:
    return [{"image": image}]


CONVENTIONS: Mapping[str, Sequence[Convention]] = {
    "List[Tensor]": [Convention("torchvision", True, lambda image: [image], _read_torchvision)],
    "Tuple[Dict[str, Tensor]]": [Convention("detectron2-scripted", False, _as_tuple, _read_detectron2)],
    "List[Dict[str, Tensor]]": [Convention("detectron2-scripted", False, _as_list, _read_detectron2)],
    "Tensor": [Convention("detectron2-traced", False, lambda image: image, _read_traced)],
}
"""Type of a module's first argument -> how it may want to be called."""


def recognise(module: torch.jit.ScriptModule, name: str, device: str = "cpu") -> tuple[Convention, bool]:
    """Return how `module` wants to be called, and whether it answers with masks, after a trial on a grey image.

    Args:
        module: on the device that it is to run on.
        name: of the file, for messages.
        device: which that is.

    Raises:
        ModelFileError: it is no detector, or none that detq knows; the message says what it takes or what it answered.
    """
    refuse_unknown(module, name)
    kind = _argument(module)
    optimized: Any = getattr(torch.jit, "optimized_execution")  # noqa: B009  # torch's types lack it
    problem = ""
    for convention in CONVENTIONS[kind]:
        for height, width in _TRIAL_SIZES:
            value = 0.5 if convention.resizes else 127.0
            try:
                # One call is not worth compiling; and some modules warn when they are called.
                with torch.inference_mode(), optimized(False), warnings.catch_warnings(action="ignore"):
                    fields = convention.run(module, torch.full((3, height, width), value, device=device))
            except ValueError as error:
                problem = str(error)
                break
            except Exception as error:  # noqa: BLE001  # whatever a foreign graph raises means that this is not the way
                problem = problem or f"it raised {_first_line(error)}"
            else:
                return convention, "masks" in fields
    raise ModelFileError(f"{name} is not a detector that detq knows: called with one image ({kind}), {problem}")


def refuse_unknown(module: torch.jit.ScriptModule, name: str) -> None:
    """Refuse a module by what its `forward` takes, before anything looks into its graph.

    Raises:
        ModelFileError: no detector that detq knows takes that, or there is no `forward`.
    """
    kind = _argument(module)
    if kind not in CONVENTIONS:
        raise ModelFileError(
            f"{name} is not a detector that detq knows: its forward takes {kind or 'no argument'}; expected one of "
            f"{', '.join(CONVENTIONS)}, as detq, torchvision and Detectron2 export them"
        )


def _argument(module: torch.jit.ScriptModule) -> str:
    """Return the type of the first argument of `forward`, which must be the only one without a default."""
    forward: Any = getattr(module, "forward", None)
    if forward is None:
        return ""
    arguments = forward.schema.arguments[1:]
    needed = [argument for argument in arguments if not argument.has_default_value()]
    if len(needed) > 1 and not all(str(argument.type).startswith("Optional") for argument in needed[1:]):
        return ", ".join(str(argument.type) for argument in needed)
    return str(arguments[0].type) if arguments else ""


def _first_line(error: Exception) -> str:
    # TorchScript's messages put the reason last, below the stack, often with the error's name before it.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[-1].removeprefix("RuntimeError: ")[:200] if lines else ""
    return reason if re.match(r"\w+Error: ", reason) else f"{type(error).__name__}: {reason}"
