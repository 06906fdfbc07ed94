"""`detq list`: models, recipes, variants, and what is unsupported here and why."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

from detq.cli.options import JsonOption

__all__ = ["list_command"]


def list_command(*, as_json: JsonOption = False) -> None:
    """List models, recipes and variants, and what is unsupported here and why.

    A variant is a model with a recipe; its id, `<model>-<recipe>`, is what `detq predict --variant` takes. Your own
    detector needs no entry: `--model package.module:build`.

    Example: `detq list --json`
    """
    found = _gather()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)


def _gather() -> dict[str, Any]:
    """Return the lists without importing torch."""
    from detq.models.weights import CHECKPOINTS
    from detq.models.zoo import MODELS
    from detq.quantization.recipes import RECIPES
    from detq.variants import UNSUPPORTED, VARIANTS

    missing = {recipe.name: _missing(recipe.requires) for recipe in RECIPES}
    return {
        "models": [
            {
                "name": model.name,
                "masks": model.has_masks,
                "packaged_weights": model.checkpoint is not None,
                "packaged_weights_installed": model.packaged
                and all((CHECKPOINTS / name).is_file() for name in model.checkpoints),
                "coco_weights": model.coco_weights,
                "detectron2_config": model.config,
            }
            for model in MODELS
        ],
        "recipes": [
            {
                "name": recipe.name,
                "summary": recipe.summary,
                "quantizes": recipe.quantizes,
                "missing": missing[recipe.name],
            }
            for recipe in RECIPES
        ],
        "variants": [variant.id for variant in VARIANTS if not missing[variant.recipe]],
        "unsupported": dict(UNSUPPORTED)
        | {
            variant.id: f'needs {", ".join(missing[variant.recipe])}; pip install "detq[{_extra(variant.recipe)}]"'
            for variant in VARIANTS
            if missing[variant.recipe]
        },
        "notes": _notes(),
    }


def _missing(distributions: tuple[str, ...]) -> list[str]:
    return [name for name in distributions if importlib.util.find_spec(name.replace("-", "_")) is None]


def _extra(recipe: str) -> str:
    from detq.quantization.recipes import find_recipe

    return find_recipe(recipe).extra


def _notes() -> list[str]:
    return [
        f"{name} is not installed: nothing here can run; pip install {name}"
        for name in ("torch", "torchvision")
        if importlib.util.find_spec(name) is None
    ]


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    from detq.report.table import Table

    console = Console(highlight=False)
    models = Table(
        "Models",
        ("name", "weights", "masks"),
        tuple((model["name"], _weights(model), "yes" if model["masks"] else "no") for model in found["models"]),
        words=3,
    )
    recipes = Table(
        "Recipes",
        ("name", "int8", "what it does"),
        tuple((r["name"], "yes" if r["quantizes"] else "no", r["summary"]) for r in found["recipes"]),
        words=3,
    )
    for table in (models, recipes):
        console.print(table.to_rich())
        console.print()
    console.print("Variants")
    for variant in found["variants"]:
        console.print(Text(f"  {variant}"), soft_wrap=True)
    console.print("\nUnsupported here")
    for variant, reason in found["unsupported"].items():
        console.print(Text(f"  {variant}: {reason}"), soft_wrap=True)
    for note in found["notes"]:
        console.print(Text(note), soft_wrap=True)


def _weights(model: dict[str, Any]) -> str:
    packaged = "packaged" if model["packaged_weights_installed"] else "packaged (missing)"
    kinds = {
        packaged: model["packaged_weights"],
        "coco": model["coco_weights"] is not None,
        "import-detectron2": model["detectron2_config"] is not None,
    }
    return ", ".join(kind for kind, has in kinds.items() if has) or "your own file"
