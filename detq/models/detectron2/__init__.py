"""Detectron2's Faster and Mask R-CNN (R50/R101-FPN) on torchvision's parts: its checkpoints run here, without it.

The detector is torchvision's `FasterRCNN` or `MaskRCNN`, with its attributes, its parameter names and its training.
These parts differ from torchvision's, each in a module of its own:

* `transform`, in `transform` and `paste`: BGR; the shortest edge resized in uint8, as PIL does; mean and standard
  deviation in grey levels. Masks are sampled at the centres of the image's pixels and compared with 0.5 there.
* `backbone.body`, in `build`: the stride of a block is in its first 1×1 convolution.
* `rpn.anchor_generator`, in `anchors`: anchors are not rounded, strides are fixed, and there is an offset.
* `rpn.filter_proposals`, in `proposals`: ranked by logits; only empty boxes are too small.
* `roi_heads.box_roi_pool` and `mask_roi_pool`, in `pool`: `aligned=True`, adaptive sampling, and an epsilon inside of
  the logarithm that chooses the level.
* `roi_heads.postprocess_detections`, in `detections`: only empty boxes are too small, and they are dropped last.

Class 0 is background as in torchvision, where Detectron2 has it last: the import moves the predictors' rows. The FPN,
the RPN head, the box head, the mask head and the losses are torchvision's own.
"""
