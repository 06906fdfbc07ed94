"""Instance masks that stay small until somebody asks for full size.

A hundred full-size masks of a large photo are a gigabyte. Inside detq masks therefore stay what they come as: crops of
28 × 28 probabilities beside boxes (`InstanceMasks`), what a module has already pasted (`PastedMasks`), or COCO's run
lengths (`RleMasks`). All of them are `Masks`: they have a length, can be indexed, and give `full()` arrays or `rle()`.
"""

from __future__ import annotations

from detq.masks.base import Crop, Masks, Rle, as_rle, full_size
from detq.masks.kinds import InstanceMasks, PastedMasks, RleMasks
from detq.masks.paste import paste_masks
from detq.masks.runs import decode_runs, encode_crop, run_lengths

__all__ = [
    "Crop",
    "InstanceMasks",
    "Masks",
    "PastedMasks",
    "Rle",
    "RleMasks",
    "as_rle",
    "decode_runs",
    "encode_crop",
    "full_size",
    "paste_masks",
    "run_lengths",
]
