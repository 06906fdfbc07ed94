"""The proposals of one image: `filter_proposals` of torchvision's region proposal network or Detectron2's, cheaper.

Both decode every anchor's box, some 34 000, and then keep the best thousand of each level. Here the best are
chosen first and only those are decoded. The arithmetic of what is kept is the same, so the result is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import boxes as box_ops

from detq.models.detectron2.proposals import Detectron2Proposals

__all__ = ["choose_proposals", "is_known"]


def is_known(rpn: Any) -> bool:
    """Return whether a region proposal network filters and decodes by torchvision's own methods, or Detectron2's."""
    if type(rpn) is Detectron2Proposals:
        return True
    own = type(rpn).filter_proposals is not RegionProposalNetwork.filter_proposals
    own = own or type(rpn)._get_top_n_idx is not RegionProposalNetwork._get_top_n_idx  # noqa: SLF001  # what filtering calls
    return not own and type(rpn.box_coder) is BoxCoder


def choose_proposals(
    rpn: Any, objectness: Tensor, deltas: Tensor, grid: tuple[Tensor, Sequence[int]], size: tuple[int, int]
) -> Tensor:
    """Return the proposals of an image, float32 `(R, 4)`, xyxy, pixels of the resized image, best first.

    Args:
        rpn: the module, for its settings and its box coder; see `is_known`.
        objectness: float32 `(anchors,)`, logits, level after level.
        deltas: float32 `(anchors, 4)`.
        grid: the anchors, float32 `(anchors, 4)`, and how many each level has.
        size: (height, width) of the resized image.
    """
    anchors, counts = grid
    chosen, level_of, start = [], [], 0
    for level, count in enumerate(counts):
        best = objectness[start : start + count].topk(min(rpn.pre_nms_top_n(), count)).indices
        chosen.append(best + start)
        level_of.append(torch.full_like(best, level))
        start += count
    kept, levels = torch.cat(chosen), torch.cat(level_of)
    boxes = rpn.box_coder.decode_single(deltas[kept], anchors[kept]).reshape(-1, 4)
    if isinstance(rpn, Detectron2Proposals):
        return rpn.keep(boxes, objectness[kept], levels, size)[0]
    boxes, scores = box_ops.clip_boxes_to_image(boxes, size), torch.sigmoid(objectness[kept])
    sides = boxes[:, 2:] - boxes[:, :2]
    fits = ((sides >= rpn.min_size).all(1) & (scores >= rpn.score_thresh)).nonzero()[:, 0]
    boxes, scores, levels = boxes[fits], scores[fits], levels[fits]
    kept_boxes: Tensor = boxes[box_ops.batched_nms(boxes, scores, levels, rpn.nms_thresh)[: rpn.post_nms_top_n()]]
    return kept_boxes
