"""Detectron2's last step of a box head: scores and boxes of each class to detections."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import batched_nms, clip_boxes_to_image

from detq.models.detectron2.config import Detectron2Config

__all__ = ["Detectron2RoIHeads"]


class Detectron2RoIHeads(RoIHeads):  # type: ignore[misc]  # torchvision has no types
    """torchvision's RoI heads, which drop no small boxes, and empty ones last: these take others' places in the 100."""

    @classmethod
    def around(cls, heads: RoIHeads, config: Detectron2Config) -> Detectron2RoIHeads:
        """Return RoI heads that have the modules of `heads`."""
        own = cls(
            heads.box_roi_pool,
            heads.box_head,
            heads.box_predictor,
            fg_iou_thresh=config.roi_iou,
            bg_iou_thresh=config.roi_iou,
            batch_size_per_image=config.roi_batch,
            positive_fraction=config.roi_positive,
            bbox_reg_weights=config.box_reg_weights,
            score_thresh=config.score,
            nms_thresh=config.nms,
            detections_per_img=config.detections,
        )
        own.mask_roi_pool, own.mask_head, own.mask_predictor = (
            heads.mask_roi_pool,
            heads.mask_head,
            heads.mask_predictor,
        )
        return own

    def postprocess_detections(
        self,
        class_logits: Tensor,
        box_regression: Tensor,
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return boxes `(N, 4)`, scores `(N,)` and labels `(N,)` from 1 of each image, best first.

        Args:
            class_logits: `(R, classes + 1)`, background first.
            box_regression: `(R, 4 × (classes + 1))`.
            proposals: of each image, R in all, xyxy in pixels of the resized image.
            image_shapes: height and width of each resized image.
        """
        counts = [len(found) for found in proposals]
        decoded = self.box_coder.decode(box_regression, proposals).reshape(len(class_logits), class_logits.shape[1], 4)
        every_box, every_score = torch.split(decoded, counts), torch.split(class_logits.softmax(-1), counts)
        boxes_of_images, scores_of_images, labels_of_images = [], [], []
        for image, shape in enumerate(image_shapes):
            boxes, scores = every_box[image], every_score[image]
            finite = torch.isfinite(boxes).all(dim=2).all(dim=1) & torch.isfinite(scores).all(dim=1)
            boxes, scores = clip_boxes_to_image(boxes[finite][:, 1:], shape), scores[finite][:, 1:]
            passing = scores > self.score_thresh
            labels = torch.where(passing)[1]
            boxes, scores = boxes[passing], scores[passing]
            best = batched_nms(boxes, scores, labels, self.nms_thresh)
            best = best[: self.detections_per_img] if self.detections_per_img >= 0 else best
            best = best[(boxes[best, 2] > boxes[best, 0]) & (boxes[best, 3] > boxes[best, 1])]
            boxes_of_images.append(boxes[best])
            scores_of_images.append(scores[best])
            labels_of_images.append(labels[best] + 1)
        return boxes_of_images, scores_of_images, labels_of_images
