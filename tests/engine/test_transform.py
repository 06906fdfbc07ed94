"""Resizing an image's bytes is resizing the image, to a grey level."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from detq.engine.frame import Frame
from detq.engine.glue import Transform
from detq.tensors import as_pixels

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@given(
    size=st.tuples(st.integers(20, 200), st.integers(20, 200)),
    limits=st.sampled_from([(96, 160), (64, 1000), (100, 101)]),
    as_bytes=st.booleans(),
)
def test_the_canvas_holds_torchvisions_image_to_a_grey_level(size, limits, as_bytes):
    """In pixels of 0 to 255, whichever way the image comes in; the padding is the mean colour, black to the network."""
    rule = GeneralizedRCNNTransform(*limits, MEAN, STD).eval()
    image = torch.from_numpy(np.random.default_rng(size[0]).integers(0, 256, (*size, 3), np.uint8))
    planes = image.permute(2, 0, 1).float() / 255
    expected, _ = rule([planes])
    frame = Frame(image if as_bytes else planes, size)
    Transform(rule, pixels=True)(frame)
    assert frame.size == expected.image_sizes[0]
    assert frame.canvas.dtype == torch.uint8
    assert frame.canvas.is_contiguous(memory_format=torch.channels_last)
    shape = tuple(expected.tensors.shape)
    assert tuple(frame.canvas.shape) == shape
    wanted = (expected.tensors * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]) * 255
    inside = torch.zeros(shape, dtype=torch.bool)
    inside[:, :, : frame.size[0], : frame.size[1]] = True
    padding = torch.tensor(MEAN)[None, :, None, None].mul(255).round().expand(shape)
    torch.testing.assert_close(frame.canvas[inside].float(), wanted[inside], atol=1.01, rtol=0)
    assert torch.equal(frame.canvas[~inside].float(), padding[~inside])


def test_read_only_and_turned_images_are_taken_without_a_warning():
    """A decoder's array may be read-only, a rotated one has other strides; torch takes neither as it is."""
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image.flags.writeable = False
    for given_image in (image, image[::-1], image.transpose(1, 0, 2)):
        assert np.array_equal(as_pixels(given_image).numpy(), given_image)
