"""Detectron2's options as data: defaults, the model zoo's configs, and what each option decides here.

Sources: Detectron2's `config/defaults.py` and `configs/` (version 2 of its configs).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["ALLOWED", "BASES", "DEFAULTS", "IGNORED", "ZOO", "Options", "describe_other"]

Options = Mapping[str, Any]

DEFAULTS: Options = MappingProxyType(
    {
        "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
        "MODEL.MASK_ON": False,
        "MODEL.KEYPOINT_ON": False,
        "MODEL.LOAD_PROPOSALS": False,
        "MODEL.PIXEL_MEAN": (103.53, 116.28, 123.675),
        "MODEL.PIXEL_STD": (1.0, 1.0, 1.0),
        "MODEL.BACKBONE.NAME": "build_resnet_backbone",
        "MODEL.RESNETS.DEPTH": 50,
        "MODEL.RESNETS.OUT_FEATURES": ("res4",),
        "MODEL.RESNETS.NUM_GROUPS": 1,
        "MODEL.RESNETS.NORM": "FrozenBN",
        "MODEL.RESNETS.WIDTH_PER_GROUP": 64,
        "MODEL.RESNETS.STRIDE_IN_1X1": True,
        "MODEL.RESNETS.RES5_DILATION": 1,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 256,
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 64,
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE": (False, False, False, False),
        "MODEL.FPN.IN_FEATURES": (),
        "MODEL.FPN.OUT_CHANNELS": 256,
        "MODEL.FPN.NORM": "",
        "MODEL.FPN.FUSE_TYPE": "sum",
        "MODEL.PROPOSAL_GENERATOR.NAME": "RPN",
        "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": 0,
        "MODEL.ANCHOR_GENERATOR.NAME": "DefaultAnchorGenerator",
        "MODEL.ANCHOR_GENERATOR.SIZES": ((32, 64, 128, 256, 512),),
        "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": ((0.5, 1.0, 2.0),),
        "MODEL.ANCHOR_GENERATOR.OFFSET": 0.0,
        "MODEL.RPN.HEAD_NAME": "StandardRPNHead",
        "MODEL.RPN.IN_FEATURES": ("res4",),
        "MODEL.RPN.CONV_DIMS": (-1,),
        "MODEL.RPN.IOU_THRESHOLDS": (0.3, 0.7),
        "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 256,
        "MODEL.RPN.POSITIVE_FRACTION": 0.5,
        "MODEL.RPN.BBOX_REG_WEIGHTS": (1.0, 1.0, 1.0, 1.0),
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 12000,
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": 2000,
        "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
        "MODEL.RPN.NMS_THRESH": 0.7,
        "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
        "MODEL.ROI_HEADS.NUM_CLASSES": 80,
        "MODEL.ROI_HEADS.IN_FEATURES": ("res4",),
        "MODEL.ROI_HEADS.IOU_THRESHOLDS": (0.5,),
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 512,
        "MODEL.ROI_HEADS.POSITIVE_FRACTION": 0.25,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.05,
        "MODEL.ROI_HEADS.NMS_THRESH_TEST": 0.5,
        "MODEL.ROI_BOX_HEAD.NAME": "",
        "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0),
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 14,
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 0,
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlignV2",
        "MODEL.ROI_BOX_HEAD.NUM_FC": 0,
        "MODEL.ROI_BOX_HEAD.FC_DIM": 1024,
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 0,
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": False,
        "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": False,
        "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
        "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": 14,
        "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": 0,
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE": "ROIAlignV2",
        "MODEL.ROI_MASK_HEAD.NUM_CONV": 0,
        "MODEL.ROI_MASK_HEAD.CONV_DIM": 256,
        "MODEL.ROI_MASK_HEAD.NORM": "",
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": False,
        "INPUT.FORMAT": "BGR",
        "INPUT.MIN_SIZE_TEST": 800,
        "INPUT.MAX_SIZE_TEST": 1333,
        "TEST.DETECTIONS_PER_IMAGE": 100,
        "TEST.AUG.ENABLED": False,
    }
)
"""Every option that a detector's answers depend on, as Detectron2 has it before a config is read."""

_STAGES = ("res2", "res3", "res4", "res5")
_BASE_RCNN_FPN: Options = MappingProxyType(
    {
        "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
        "MODEL.RESNETS.OUT_FEATURES": _STAGES,
        "MODEL.FPN.IN_FEATURES": _STAGES,
        "MODEL.ANCHOR_GENERATOR.SIZES": ((32,), (64,), (128,), (256,), (512,)),
        "MODEL.RPN.IN_FEATURES": ("p2", "p3", "p4", "p5", "p6"),
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2000,
        "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": 1000,
        "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
        "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
        "MODEL.ROI_HEADS.IN_FEATURES": ("p2", "p3", "p4", "p5"),
        "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
        "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
        "MODEL.ROI_MASK_HEAD.NUM_CONV": 4,
    }
)

ZOO: Mapping[str, Options] = MappingProxyType(
    {
        "faster_rcnn_R_50_FPN_1x": {**_BASE_RCNN_FPN},
        "faster_rcnn_R_50_FPN_3x": {**_BASE_RCNN_FPN},
        "faster_rcnn_R_101_FPN_3x": {**_BASE_RCNN_FPN, "MODEL.RESNETS.DEPTH": 101},
        "mask_rcnn_R_50_FPN_1x": {**_BASE_RCNN_FPN, "MODEL.MASK_ON": True},
        "mask_rcnn_R_50_FPN_3x": {**_BASE_RCNN_FPN, "MODEL.MASK_ON": True},
        "mask_rcnn_R_101_FPN_3x": {**_BASE_RCNN_FPN, "MODEL.MASK_ON": True, "MODEL.RESNETS.DEPTH": 101},
    }
)
"""Configs of Detectron2's model zoo by name: what they change in `DEFAULTS`. The 1x and 3x ones differ in training."""

BASES: Mapping[str, Options] = MappingProxyType({"Base-RCNN-FPN": _BASE_RCNN_FPN, **ZOO})
"""What a config file's `_BASE_` may name without having it beside it."""

IGNORED = (
    "CUDNN_BENCHMARK",
    "DATALOADER.",
    "DATASETS.",
    "FLOAT32_PRECISION",
    "GLOBAL.",
    "INPUT.CROP.",
    "INPUT.MASK_FORMAT",
    "INPUT.MAX_SIZE_TRAIN",
    "INPUT.MIN_SIZE_TRAIN",
    "INPUT.MIN_SIZE_TRAIN_SAMPLING",
    "INPUT.RANDOM_FLIP",
    "MODEL.ANCHOR_GENERATOR.ANGLES",
    "MODEL.BACKBONE.FREEZE_AT",
    "MODEL.DEVICE",
    "MODEL.PANOPTIC_FPN.",
    "MODEL.RESNETS.DEFORM_MODULATED",
    "MODEL.RESNETS.DEFORM_NUM_GROUPS",
    "MODEL.RETINANET.",
    "MODEL.ROI_BOX_CASCADE_HEAD.",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE",
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT",
    "MODEL.ROI_BOX_HEAD.CONV_DIM",
    "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT_POWER",
    "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES",
    "MODEL.ROI_BOX_HEAD.NORM",
    "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA",
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES",
    "MODEL.ROI_BOX_HEAD.USE_FED_LOSS",
    "MODEL.ROI_HEADS.IOU_LABELS",
    "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT",
    "MODEL.ROI_KEYPOINT_HEAD.",
    "MODEL.RPN.BBOX_REG_LOSS_TYPE",
    "MODEL.RPN.BBOX_REG_LOSS_WEIGHT",
    "MODEL.RPN.BOUNDARY_THRESH",
    "MODEL.RPN.IOU_LABELS",
    "MODEL.RPN.LOSS_WEIGHT",
    "MODEL.RPN.SMOOTH_L1_BETA",
    "MODEL.SEM_SEG_HEAD.",
    "MODEL.WEIGHTS",
    "OUTPUT_DIR",
    "SEED",
    "SOLVER.",
    "TEST.AUG.FLIP",
    "TEST.AUG.MAX_SIZE",
    "TEST.AUG.MIN_SIZES",
    "TEST.EVAL_PERIOD",
    "TEST.EXPECTED_RESULTS",
    "TEST.KEYPOINT_OKS_SIGMAS",
    "TEST.PRECISE_BN.",
    "VERSION",
    "VIS_PERIOD",
)
"""What decides about training, data, or a part that these detectors have not. A dot at the end: everything in there."""

_POOLERS = ("ROIAlignV2", "ROIAlign")
ALLOWED: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "MODEL.LOAD_PROPOSALS": (False,),
        "MODEL.RESNETS.DEPTH": (50, 101),
        "MODEL.RESNETS.OUT_FEATURES": (_STAGES,),
        "MODEL.RESNETS.NUM_GROUPS": (1,),
        # All three are the same map when a trained detector runs.
        "MODEL.RESNETS.NORM": ("FrozenBN", "BN", "SyncBN"),
        "MODEL.RESNETS.WIDTH_PER_GROUP": (64,),
        "MODEL.RESNETS.RES5_DILATION": (1,),
        "MODEL.RESNETS.RES2_OUT_CHANNELS": (256,),
        "MODEL.RESNETS.STEM_OUT_CHANNELS": (64,),
        "MODEL.RESNETS.DEFORM_ON_PER_STAGE": ((False, False, False, False),),
        "MODEL.FPN.IN_FEATURES": (_STAGES,),
        "MODEL.FPN.OUT_CHANNELS": (256,),
        "MODEL.FPN.NORM": ("",),
        "MODEL.FPN.FUSE_TYPE": ("sum",),
        "MODEL.BACKBONE.NAME": ("build_resnet_fpn_backbone",),
        "MODEL.PROPOSAL_GENERATOR.NAME": ("RPN",),
        "MODEL.ANCHOR_GENERATOR.NAME": ("DefaultAnchorGenerator",),
        "MODEL.RPN.HEAD_NAME": ("StandardRPNHead",),
        "MODEL.RPN.IN_FEATURES": (("p2", "p3", "p4", "p5", "p6"),),
        "MODEL.RPN.CONV_DIMS": ((-1,), (256,)),
        "MODEL.ROI_HEADS.NAME": ("StandardROIHeads",),
        "MODEL.ROI_HEADS.IN_FEATURES": (("p2", "p3", "p4", "p5"),),
        "MODEL.ROI_BOX_HEAD.NAME": ("FastRCNNConvFCHead",),
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": _POOLERS,
        "MODEL.ROI_BOX_HEAD.NUM_FC": (2,),
        "MODEL.ROI_BOX_HEAD.NUM_CONV": (0,),
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": (False,),
        "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": (False,),
        "MODEL.ROI_MASK_HEAD.NAME": ("MaskRCNNConvUpsampleHead",),
        "MODEL.ROI_MASK_HEAD.POOLER_TYPE": _POOLERS,
        "MODEL.ROI_MASK_HEAD.NUM_CONV": (4,),
        "MODEL.ROI_MASK_HEAD.CONV_DIM": (256,),
        "MODEL.ROI_MASK_HEAD.NORM": ("",),
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": (False,),
        "INPUT.FORMAT": ("BGR", "RGB"),
        "TEST.AUG.ENABLED": (False,),
    }
)
"""Options of which detq supports some values, and these values."""

_OTHERS = (
    ("retinanet", "a RetinaNet"),
    ("keypoint", "a keypoint R-CNN"),
    ("panoptic", "a panoptic FPN"),
    ("cascade", "a cascade R-CNN"),
    ("c4", "an R-CNN with a C4 backbone"),
    ("dc5", "an R-CNN with a DC5 (dilated) backbone"),
    ("dilatedc5", "an R-CNN with a DC5 (dilated) backbone"),
    ("x", "an R-CNN with a ResNeXt"),
    ("rpn", "an RPN alone"),
    ("fast", "a Fast R-CNN on precomputed proposals"),
)


def describe_other(name: str) -> str | None:
    """Return what a config of Detectron2's zoo is that detq does not run, told from its name, or None.

    >>> describe_other("keypoint_rcnn_R_50_FPN_3x"), describe_other("Base-RetinaNet"), describe_other("my_cars")
    ('a keypoint R-CNN', 'a RetinaNet', None)
    """
    words = name.lower().replace("-", "_").split("_")
    if not {"rcnn", "retinanet", "rpn", "panoptic"} & set(words):
        return None
    return next((what for word, what in _OTHERS if word in words), None)
