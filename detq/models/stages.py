"""The named stages of a torchvision detector: timing, sensitivity and proof of quantization all speak of these."""

from __future__ import annotations

__all__ = ["STAGES", "stage_of"]

STAGES = (
    "transform",
    "backbone",
    "rpn_head",
    "proposals",
    "head",
    "box_pool",
    "box_head",
    "postprocess",
    "mask_pool",
    "mask_head",
    "paste",
)
"""In the order in which they run. `head` is a one-stage detector's; the others miss the stages that they have not.

`paste` takes boxes and masks to the original image's pixels.
"""

# Module paths, longest first where one contains another.
_PREFIXES = (
    ("transform", "transform"),
    ("backbone", "backbone"),
    ("rpn.head", "rpn_head"),
    ("rpn", "proposals"),
    ("head", "head"),
    ("roi_heads.box_roi_pool", "box_pool"),
    ("roi_heads.box_head", "box_head"),
    ("roi_heads.box_predictor", "box_head"),
    ("roi_heads.mask_roi_pool", "mask_pool"),
    ("roi_heads.mask_head", "mask_head"),
    ("roi_heads.mask_predictor", "mask_head"),
)


def stage_of(path: str) -> str:
    """Return the stage that the module at `path` (as in `named_modules()`) belongs to.

    What is not listed is "postprocess" inside torchvision's RoI heads; elsewhere, as in a user's own detector, it is
    the first component of the path.

    >>> stage_of("roi_heads.box_head.fc6"), stage_of("rpn.head.conv.0.0"), stage_of("neck.0")
    ('box_head', 'rpn_head', 'neck')
    """
    for prefix, stage in _PREFIXES:
        if path == prefix or path.startswith(f"{prefix}."):
            return stage
    first = path.partition(".")[0]
    return "postprocess" if first == "roi_heads" else first or "model"
