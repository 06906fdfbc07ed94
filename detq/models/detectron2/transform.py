"""Images into the network and detections out of it, as Detectron2's predictor does both."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  # its name in every torch program
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform, resize_boxes
from torchvision.ops import clip_boxes_to_image

from detq.models.detectron2.config import Detectron2Config
from detq.models.detectron2.masks import Detectron2Masks
from detq.models.detectron2.paste import paste_masks

__all__ = ["Detectron2Transform", "shortest_edge"]


def shortest_edge(height: int, width: int, size: int, max_size: int) -> list[int]:
    """Return the height and width that Detectron2's `ResizeShortestEdge` gives an image.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        size: of the short side afterwards; 0 to leave the image as it is.
        max_size: most of the long side afterwards.
    """
    if size == 0:
        return [height, width]
    scale = size / min(height, width)
    new_height, new_width = scale * height, scale * width
    # The short side is exact, not a product that may be rounded.
    if height < width:
        new_height = float(size)
    else:
        new_width = float(size)
    longest = max(new_height, new_width)
    if longest > max_size:
        new_height, new_width = new_height * (max_size / longest), new_width * (max_size / longest)
    return [int(new_height + 0.5), int(new_width + 0.5)]


class Detectron2Transform(GeneralizedRCNNTransform):  # type: ignore[misc]  # torchvision has no types
    """torchvision's transform with Detectron2's pixels: resized as uint8, then normalized in grey levels.

    `pixel_mean` and `pixel_std` are in grey levels, in the order of the network's channels; `image_mean` and
    `image_std` say the same of RGB in [0, 1], as torchvision's do. `small_masks` is the class of masks that `paste`
    would put into the image.
    """

    small_masks = Detectron2Masks

    def __init__(self, config: Detectron2Config) -> None:
        reverse = config.input_format == "BGR"
        mean, deviation = (
            [value / 255 for value in (values[::-1] if reverse else values)]
            for values in (config.pixel_mean, config.pixel_std)
        )
        super().__init__(config.min_size, config.max_size, image_mean=mean, image_std=deviation)
        self.reverse_channels = reverse
        self.pixel_mean, self.pixel_std = list(config.pixel_mean), list(config.pixel_std)

    def normalize(self, image: Tensor) -> Tensor:
        """Return the image as uint8 in the network's order of channels; `resize` subtracts the mean, afterwards.

        Args:
            image: float `(3, height, width)`, RGB, in [0, 1].
        """
        if not image.is_floating_point():
            raise TypeError(f"expected a floating-point image in [0, 1], got {image.dtype}")
        levels = image.to(torch.float32).mul(255).round().clamp(0, 255).to(torch.uint8)
        return levels.flip(0) if self.reverse_channels else levels

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Return the uint8 image and its target resized, and the image normalized, as float32."""
        height, width = image.shape[-2], image.shape[-1]
        size = self._new_size(height, width)
        image = self.resize_levels(image, size)
        if target is not None:
            target["boxes"] = resize_boxes(target["boxes"], [height, width], size)
            if "masks" in target:
                target["masks"] = F.interpolate(target["masks"][:, None].float(), size=size)[:, 0].byte()
        return image, target

    def resize_levels(self, image: Tensor, size: list[int]) -> Tensor:
        """Return an image resized and normalized, float32 `(3, height, width)`.

        Args:
            image: uint8 `(3, h, w)`, in the network's order of channels.
            size: height and width afterwards.
        """
        # torch's antialiased resize of uint8 is PIL's bilinear filter with narrower integer weights: of three photos no
        # value differed by more than one grey level, and at most 0.24 % by one.
        device = image.device
        resized = F.interpolate(image[None].cpu(), size=size, mode="bilinear", align_corners=False, antialias=True)[0]
        levels = resized.to(device=device, dtype=torch.float32)
        mean = torch.tensor(self.pixel_mean, dtype=torch.float32, device=device)
        deviation = torch.tensor(self.pixel_std, dtype=torch.float32, device=device)
        return (levels - mean[:, None, None]) / deviation[:, None, None]

    @torch.jit.unused
    def of_pixels(self, image: Tensor) -> Tensor:
        """Return an image resized and normalized, float32 `(3, height, width)`: its bytes need not become numbers.

        Args:
            image: uint8 `(h, w, 3)`, RGB.
        """
        levels = image.permute(2, 0, 1)
        resized: Tensor = self.resize(levels.flip(0) if self.reverse_channels else levels)[0]
        return resized

    def _new_size(self, height: int, width: int) -> list[int]:
        if self.training and self._skip_resize:
            return [height, width]
        fixed = self.fixed_size
        if fixed is not None:
            return [fixed[1], fixed[0]]
        size = self.torch_choice(self.min_size) if self.training else self.min_size[-1]
        return shortest_edge(height, width, size, self.max_size)

    def postprocess(
        self,
        result: list[dict[str, Tensor]],
        image_shapes: list[tuple[int, int]],
        original_image_sizes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        """Return detections in pixels of the original images.

        Masks are `(N, 1, height, width)` as torchvision's, but bool: Detectron2 compares with 0.5 where it pastes.
        """
        if self.training:
            return result
        for index, found in enumerate(result):
            shape = original_image_sizes[index]
            found["boxes"] = clip_boxes_to_image(resize_boxes(found["boxes"], image_shapes[index], shape), shape)
            if "masks" in found:
                found["masks"] = self.paste(found["masks"], found["boxes"], shape)
        return result

    def paste(self, masks: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return the masks of one image at its size: see `paste_masks`."""
        return paste_masks(masks, boxes, shape)
