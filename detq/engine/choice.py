"""What `mixed_int8` runs in int8 for certain weights: what `detq sensitivity` chose, as a JSON beside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detq.errors import WeightsError
from detq.files import file_sha256, read_json, write_json
from detq.quantization.plan import DENSE_STAGES, Plan, StageRule
from detq.quantization.recipes import INT8

__all__ = ["choice_path", "chosen_plan", "write_choice"]

FORMAT = "detq-mixed-int8/3"


def choice_path(weights: Path) -> Path:
    """Return where the choice for a file of weights lies."""
    return weights.with_suffix(".mixed_int8.json")


def write_choice(path: Path, choice: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Write a choice with what it comes from; no path is in it.

    Args:
        path: see `choice_path`.
        choice: a `detq.sensitivity.choice.Choice`, as JSON.
        settings: of the study, with "weights_sha256".
    """
    kept = {name: settings[name] for name in ("model", "weights_sha256", "data_identity", "images")}
    calibration = {name: settings["calibration"][name] for name in ("identity", "seed", "observer")}
    write_json(path, {"format": FORMAT, **kept, "calibration": calibration, **choice})


def chosen_plan(plan: Plan, weights: str | None, *, bf16: bool) -> tuple[Plan, str | None]:
    """Return the plan with the stages in int8 that were chosen for these weights, and a sentence on where that is from.

    Args:
        plan: the default.
        weights: the file of the detector's weights.
        bf16: this CPU computes in bf16. Without it stages that keep AP in int8 run in it, even if bf16 is faster.

    Raises:
        WeightsError: the choice's file is damaged, or made for other weights.
    """
    path = None if weights is None else choice_path(Path(weights))
    if path is None or not path.is_file():
        return plan, None
    content = read_json(path, WeightsError, "the choice of int8 stages")
    try:
        known = content["format"] == FORMAT
        digest, keep = str(content["weights_sha256"]), tuple(str(part) for part in content["keep"])
        chosen, floating, slower = ([str(stage) for stage in content[name]] for name in ("int8", "bf16", "slower"))
    except (KeyError, TypeError):
        known, digest, keep, chosen, floating, slower = False, "", (), [], [], []
    if not known or not {*chosen, *floating, *slower} <= set(DENSE_STAGES) or not chosen:
        raise WeightsError(f"{path}: not a choice of int8 stages; delete it, or run detq sensitivity --choose again")
    if digest != file_sha256(Path(str(weights))):
        raise WeightsError(f"{path}: made for other weights; delete it, or run detq sensitivity --choose again")
    if not bf16:
        chosen = [stage for stage in DENSE_STAGES if stage in {*chosen, *slower}]
    for stage in floating:  # one that the study did not have, such as a mask head, stays as the plan says
        plan = plan.with_rule(stage, StageRule("inductor", "bf16"))
    for stage in chosen:
        plan = plan.with_rule(stage, INT8.rule(stage))
    if "backbone" in chosen:
        plan = plan.with_rule("backbone", StageRule("inductor", "int8", keep))
    return plan, f"int8 in {', '.join(chosen)}, as {path.name} says"
