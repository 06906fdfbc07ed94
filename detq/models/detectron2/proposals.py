"""Detectron2's choice of proposals among the decoded anchors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.ops import batched_nms, clip_boxes_to_image

from detq.models.detectron2.anchors import Detectron2Anchors
from detq.models.detectron2.config import Detectron2Config

__all__ = ["Detectron2Proposals"]


class Detectron2Proposals(RegionProposalNetwork):  # type: ignore[misc]  # torchvision has no types
    """torchvision's RPN, which ranks by logits and drops none but empty boxes.

    Probabilities of large logits are all 1 in float32, where logits still tell which proposal is better.
    """

    def __init__(self, anchors: Detectron2Anchors, head: nn.Module, config: Detectron2Config) -> None:
        background, foreground = config.rpn_iou
        super().__init__(
            anchors,
            head,
            fg_iou_thresh=foreground,
            bg_iou_thresh=background,
            batch_size_per_image=config.rpn_batch,
            positive_fraction=config.rpn_positive,
            pre_nms_top_n={"training": config.rpn_pre_nms[0], "testing": config.rpn_pre_nms[1]},
            post_nms_top_n={"training": config.rpn_post_nms[0], "testing": config.rpn_post_nms[1]},
            nms_thresh=config.rpn_nms,
        )
        self.box_coder = BoxCoder(config.rpn_reg_weights)
        self.min_size = config.rpn_min_size

    def filter_proposals(
        self,
        proposals: Tensor,
        objectness: Tensor,
        image_shapes: list[tuple[int, int]],
        num_anchors_per_level: list[int],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the proposals of each image, `(N, 4)`, best first, and their objectness in [0, 1].

        Args:
            proposals: `(images, anchors, 4)`, xyxy in pixels of the resized images.
            objectness: logits, as many as anchors of all images.
            image_shapes: height and width of each resized image.
            num_anchors_per_level: which add up to the anchors of an image.
        """
        logits = objectness.detach().reshape(proposals.shape[0], -1)
        chosen = self._get_top_n_idx(logits, num_anchors_per_level)
        levels = torch.cat(
            [torch.full((count,), number, device=logits.device) for number, count in enumerate(num_anchors_per_level)]
        )
        boxes_of_images, scores_of_images = [], []
        for image, shape in enumerate(image_shapes):
            best = chosen[image]
            boxes, scores = self.keep(proposals[image, best], logits[image, best], levels[best], shape)
            boxes_of_images.append(boxes)
            scores_of_images.append(scores)
        return boxes_of_images, scores_of_images

    def keep(self, boxes: Tensor, scores: Tensor, level: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the proposals among the best of each level, `(M, 4)`, best first, and their objectness in [0, 1].

        Args:
            boxes: `(N, 4)`, xyxy in pixels of the resized image.
            scores: logits, `(N,)`.
            level: of each, `(N,)`.
            shape: height and width of the resized image.
        """
        finite = torch.isfinite(boxes).all(dim=1) & torch.isfinite(scores)
        boxes = clip_boxes_to_image(boxes, shape)
        large = (boxes[:, 2] - boxes[:, 0] > self.min_size) & (boxes[:, 3] - boxes[:, 1] > self.min_size)
        kept = torch.where(finite & large)[0]
        boxes, scores = boxes[kept], scores[kept]
        best = batched_nms(boxes, scores, level[kept], self.nms_thresh)[: self.post_nms_top_n()]
        return boxes[best], scores[best].sigmoid()
