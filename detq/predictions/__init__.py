"""Predictions on disk: detq's own JSON lines, and COCO results JSON.

One line for each image and variant:

    {"image": "a.jpg", "variant": "fp32", "boxes": [[x1, y1, x2, y2]], "scores": [0.9], "labels": ["car"]}

with `"masks": [{"size": [height, width], "counts": "…"}]`, COCO's compressed run lengths, from detectors with masks.
`image` is the data set's `image_id`, boxes are pixels of the upright image, labels are class names. Numbers are written
with as few digits as give the same float32 back.

COCO results JSON is one list of `{"image_id", "category_id", "bbox": [x, y, width, height], "score"}`, with masks as
run lengths in `"segmentation"`. It holds one variant, named after the file. `image_id` is the number in COCO data, the
image's file name elsewhere. Data without category ids take the class's name, in `category_id` or in `category_name`.
"""

from __future__ import annotations

from detq.predictions.aligned import Predictions
from detq.predictions.coco_results import write_coco_results
from detq.predictions.jsonl import Line, iter_predictions, write_prediction
from detq.predictions.read import read_predictions

__all__ = ["Line", "Predictions", "iter_predictions", "read_predictions", "write_coco_results", "write_prediction"]
