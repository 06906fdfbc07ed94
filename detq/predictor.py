"""A built variant: image in, `Detections` out, and nothing else on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from detq.engine.calibration import Calibration, CalibrationChoice, missing
from detq.engine.choice import chosen_plan
from detq.errors import QuantizationError
from detq.masks import InstanceMasks, Masks, PastedMasks
from detq.types import Detections
from detq.variants import Variant, find_variant

if TYPE_CHECKING:
    from torch import nn

    from detq.models.weights import LoadedModel, WeightsSource
    from detq.quantization.proof import Proof
    from detq.quantization.recipes import RecipeSpec

__all__ = ["Predictor", "build_predictor"]

Image = NDArray[np.uint8]


class Predictor:
    """A detector with its class names.

    Attributes:
        module: what runs, in eval mode.
        classes: names of `Detections.labels`.
        variant: which model with which recipe.
        weights: where the parameters come from.
        meaningful: False for random parameters, whose detections say nothing.
        has_masks: it finds instance masks beside boxes.
        proof: what runs in int8, or None when it was not asked for.
        fp32_weight_bytes: the same of the fp32 module that it was made from.
    """

    _staged: TakesPixels | None = None

    def __init__(
        self,
        module: nn.Module,
        variant: Variant,
        loaded: LoadedModel,
        *,
        fp32_weight_bytes: int,
        proof: Proof | None = None,
    ) -> None:
        self.module = module
        self._staged = module if isinstance(module, TakesPixels) else None
        self.variant = variant
        self.classes = loaded.classes
        self.weights: WeightsSource = loaded.source
        self.meaningful = loaded.meaningful
        self.has_masks = _has_masks(variant, module)
        self.fp32_weight_bytes = fp32_weight_bytes
        self.proof = proof

    def predict(self, image: Image, *, masks: bool = True) -> Detections:
        """Return what the detector finds in one image, best score first.

        Args:
            image: uint8 `(height, width, 3)`, RGB.
            masks: with the masks of models that have them, as `detq.masks.Masks`. They are the module's own output, a
                float for every pixel in torchvision's: who keeps many should keep `compact()` of each.
        """
        import torch

        from detq.tensors import as_tensor

        with torch.inference_mode():
            if self._staged is not None:
                found = self._staged.from_pixels(image)
            else:
                (found,) = self.module([as_tensor(image)])
        return as_detections(found, image.shape[:2], masks=masks)

    def prepare(self, image: Image) -> None:
        """Do what the first image of a size costs (compiling a stage for its shape), untimed; see `predict`."""
        if self._staged is not None:
            self._staged.prepare(image)

    def expect(self, height: int, width: int) -> None:
        """Get ready for images of this size, as `prepare` does; their canvas is exact, however many sizes there are."""
        if self._staged is not None:
            self._staged.expect(height, width)

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters, buffers and other constants of `module`; of a staged one, once it has run."""
        from detq.quantization.work import weight_bytes

        return weight_bytes(self.module)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the recipe lost on this CPU, in sentences."""
        return () if self._staged is None else self._staged.notes

    def __call__(self, image: Image) -> Detections:
        """Return `predict(image)`."""
        return self.predict(image)


@runtime_checkable
class TakesPixels(Protocol):
    """A detector that takes an image as it is, and knows what the first one of a size costs."""

    notes: tuple[str, ...]

    def from_pixels(self, image: Image) -> dict[str, Any]:
        """Return boxes, labels, scores and masks of an image, uint8 `(height, width, 3)`, RGB."""
        ...

    def prepare(self, image: Image) -> None:
        """Get ready for images of this size."""
        ...

    def expect(self, height: int, width: int) -> None:
        """Get ready for images of this size, with an exact canvas."""
        ...


def _has_masks(variant: Variant, module: nn.Module) -> bool:
    """Return whether a model of the list is one with masks; a user's own says so, or has torchvision's mask head."""
    ask = getattr(getattr(module, "roi_heads", None), "has_mask", None)
    own = getattr(module, "has_masks", False) is True or (callable(ask) and bool(ask()))
    return variant.model_spec.has_masks or own


def as_detections(found: dict[str, Any], size: tuple[int, ...] | None = None, *, masks: bool = True) -> Detections:
    """Convert one image's answer of a torchvision detector: label k becomes k - 1, background (0) drops out.

    Args:
        found: tensors "boxes" `(N, 4)`, "scores" `(N,)`, "labels" `(N,)`, and, for models that have them, "masks" as
            `Masks`, or as probabilities: `(N, 1, height, width)` of the image, or `(N, 1, M, M)` to be pasted into the
            boxes.
        size: (height, width) of the image; without it masks are taken to be of the image's size.
        masks: carry the masks along. That costs nothing before somebody asks for them.
    """
    boxes, scores = found["boxes"].numpy(), found["scores"].numpy()
    labels = found["labels"].numpy().astype(np.int64) - 1
    carried = _carry(found["masks"], boxes, size) if masks and "masks" in found else None
    detections = Detections(boxes, scores, labels, carried)
    if (labels < 0).any():
        detections = detections[labels >= 0]
    if (np.diff(detections.scores) > 0).any():
        detections = detections[np.argsort(-detections.scores, kind="stable")]
    return detections


def _carry(given: Any, boxes: NDArray[np.float32], size: tuple[int, ...] | None) -> Masks:
    if isinstance(given, Masks):
        return given
    values = given.numpy()
    values = values[:, 0] if values.ndim == 4 else values
    if size is None or values.shape[1:] == tuple(size):
        return PastedMasks(values)
    return InstanceMasks(values, boxes, (size[0], size[1]))


def build_predictor(
    variant: Variant | str,
    *,
    weights: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    prove_on: Image | Sequence[Image] | None = None,
    calibration: Calibration | CalibrationChoice | None = None,
    say: Callable[[str], None] | None = None,
) -> Predictor:
    """Build a variant: the detector, its weights, the recipe, and on request the proof of what runs in int8.

    Args:
        variant: a `Variant`, or the id of one.
        weights: "packaged", "coco", "random" or a file's path; by default the packaged checkpoint, or COCO.
        classes: names of torchvision's labels from 1, for files that bring none.
        seed: of random weights.
        prove_on: an image to prove the variant with, uint8 `(height, width, 3)`, RGB, which shows objects; or several,
            of which the first that gives the int8 layers work is taken.
        calibration: images for static int8, or how to draw them; by default rendered frames, for the packaged weights
            only. Recipes without static int8 take no notice.
        say: is told what takes long (calibrating, compiling), and why.

    Raises:
        DetqError: an unknown name, unusable weights, or a recipe that converts nothing; see its subclasses.
    """
    from detq.engine.capability import capability
    from detq.models.weights import load_model, parse_weights
    from detq.quantization.proof import weight_bytes

    chosen = find_variant(variant) if isinstance(variant, str) else variant
    spec, recipe = chosen.model_spec, chosen.recipe_spec
    apply = recipe.resolve()
    loaded = load_model(spec, parse_weights(weights, spec, seed), classes)
    before = weight_bytes(loaded.module)
    if recipe.plan is None:
        module = apply(loaded.module).eval()
    else:
        plan, said = recipe.plan, None
        if recipe.chosen:
            plan, said = chosen_plan(plan, loaded.source.path, bf16=capability().bf16)
        drawn = _draw(calibration or CalibrationChoice(), recipe, loaded) if recipe.calibrates else None
        module = apply(loaded.module, plan, calibration=drawn, say=say)
        for sentence in filter(None, (said, *getattr(module, "notes", ()))):
            if say:
                say(f"{recipe.name}: {sentence}")
    proof = None
    if prove_on is not None:
        images = [prove_on] if isinstance(prove_on, np.ndarray) else prove_on
        proof = _prove(module, images, quantizes=recipe.quantizes, reference_weight_bytes=before)
    return Predictor(module, chosen, loaded, fp32_weight_bytes=before, proof=proof)


def _draw(choice: Calibration | CalibrationChoice, recipe: RecipeSpec, loaded: LoadedModel) -> Calibration:
    """Return the images of a choice.

    Raises:
        QuantizationError: none were named, and the weights do not know rendered frames.
    """
    if isinstance(choice, Calibration):
        return choice
    if not choice.suits(loaded.source.kind):
        raise QuantizationError(missing([recipe.name]))
    return choice.draw()


def _prove(module: nn.Module, images: Sequence[Image], **what: Any) -> Proof:
    from detq.quantization.proof import IdleError, prove

    for image in images[:-1]:
        with contextlib.suppress(IdleError):
            return prove(module, image, **what)
    return prove(module, images[-1], **what)
