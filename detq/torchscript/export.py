"""`detq export --format torchscript`: a variant as one file that needs neither detq nor its weights any more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import detq
from detq.errors import ModelFileError, UnsupportedError
from detq.model_files import Exported
from detq.predictor import Predictor, build_predictor
from detq.quantization.script_layers import count_script_work, layers_of
from detq.quantization.scripted import script_detector
from detq.tensors import as_tensor
from detq.torchscript.file import ScriptFile, write_script
from detq.variants import Variant

__all__ = ["EAGER_RECIPES", "export_variant"]

EAGER_RECIPES: Mapping[str, str] = {
    "fp32": "fp32",
    "torchscript_fp32": "fp32",
    "dynamic_int8": "dynamic_int8",
    "torchscript_dynamic_int8": "dynamic_int8",
}
"""Recipe -> the one whose eager module is scripted for it. Files are not frozen: that happens when they are loaded."""

# Nothing is folded in the file, so only the order of threads' sums may differ.
_TOLERANCE = 1e-3


def export_variant(
    variant: Variant,
    path: Path,
    *,
    weights: str | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    image: NDArray[np.uint8],
) -> Exported:
    """Script `variant`, write it to `path`, read it back and compare it with the eager detector on `image`.

    Args:
        variant: of a recipe in `EAGER_RECIPES`.
        path: the file, by convention `.ts`.
        weights: see `detq.predictor.build_predictor`.
        classes: see there.
        seed: of random weights.
        image: uint8 `(height, width, 3)`, RGB, on which the detector finds something.

    Raises:
        UnsupportedError: the variant cannot be TorchScript.
        ModelFileError: the file's module answers otherwise than the eager detector; there is no file then.
        OutputError: the file cannot be written.
    """
    if variant.recipe not in EAGER_RECIPES:
        raise UnsupportedError(
            f"--format torchscript: recipe {variant.recipe} is not of layers that torch.jit.script compiles; export "
            f"{', '.join(EAGER_RECIPES)}, or choose another --format"
        )
    predictor = build_predictor(
        Variant(variant.model, EAGER_RECIPES[variant.recipe]), weights=weights, classes=classes, seed=seed
    )
    script = script_detector(predictor.module)
    tensor = as_tensor(image)
    expected = _answer(predictor.module, tensor)

    def check(written: ScriptFile, _temporary: Path) -> None:
        _compare(_answer(written.module, tensor), expected, path)

    write_script(path, script, _describe(variant, predictor), check=check)
    work = count_script_work(layers_of(script), lambda: script([tensor]))
    total = sum(layer.macs for layer in work)
    return Exported(
        path,
        path.stat().st_size,
        sum(layer.macs for layer in work if layer.int8) / total if total else 0.0,
        sum(layer.int8 for layer in work),
        len(expected["boxes"]),
    )


def _answer(module: Any, image: Tensor) -> Mapping[str, Tensor]:
    with torch.inference_mode():
        (found,) = module([image])
    return dict(found)


def _compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    for name, values in expected.items():
        same = found[name].shape == values.shape and torch.allclose(found[name], values, rtol=1e-4, atol=_TOLERANCE)
        if not same:
            raise ModelFileError(
                f"--out {path}: read back, the TorchScript module finds other {name} than the eager detector on the "
                "image it was checked with; nothing was written"
            )


def _describe(variant: Variant, predictor: Predictor) -> dict[str, Any]:
    """Return what is kept beside the module, for programs that run it and for people who find it."""
    source = predictor.weights
    recipe = EAGER_RECIPES[variant.recipe]
    return {
        "detq": detq.__version__,
        "torch": torch.__version__,
        "model": variant.model,
        "recipe": "torchscript_fp32" if recipe == "fp32" else f"torchscript_{recipe}",
        "classes": list(predictor.classes),
        "weights": source.describe(),
        "weights_sha256": source.hash_path(),
        "meaningful": predictor.meaningful,
        "fp32_weight_bytes": predictor.fp32_weight_bytes,
        "input": {
            "type": "List[Tensor], one for each image",
            "layout": "float32 (3, height, width), RGB, in [0, 1], any size; the module resizes",
        },
        "output": {
            "type": "List[Dict[str, Tensor]], one for each image",
            "boxes": "float32 (N, 4), x1, y1, x2, y2 in pixels of the image",
            "scores": "float32 (N,), in [0, 1]",
            "labels": "int64 (N,), label k is classes[k - 1]",
        }
        | ({"masks": "float32 (N, 1, height, width), in [0, 1]"} if predictor.has_masks else {}),
    }
