"""From the painted scene to the file that a camera sends: texture, lamps, weather in the air, optics, noise, JPEG."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from detq.datasets.synthetic.actors import overlap
from detq.datasets.synthetic.bodies import Glow
from detq.datasets.synthetic.camera import REFERENCE
from detq.datasets.synthetic.conditions import transmission
from detq.datasets.synthetic.dice import Dice
from detq.datasets.synthetic.enlarge import bands, enlarged
from detq.datasets.synthetic.layout import Scene
from detq.datasets.synthetic.raster import Owners
from detq.datasets.synthetic.textures import blob_tile, grain, ground_texture

__all__ = ["add_glow", "add_texture", "expose", "falling", "optics"]

Pixels = NDArray[np.uint8]
Plane = NDArray[np.uint8]
Planes = NDArray[np.uint8]
_NEUTRAL = 180


def add_texture(image: Image.Image, scene: Scene, bodies: Owners, dice: Dice) -> Planes:
    """Roughen flat colours, the ground by noise that lies on it, the rest by blotches; darken the corners.

    Returns:
        red, green and blue, uint8 `(3, height, width)`.
    """
    width, height = image.size
    half = ((width + 1) // 2, (height + 1) // 2)
    grit = ground_texture(scene.camera, half, (dice.integer(0, 511), dice.integer(0, 511)))
    fade = transmission(scene.conditions, 25.0) * dice.uniform(0.15, 0.65)
    blobs = blob_tile(5, ((16, 24, 0.6), (48, 64, 0.4), (160, 160, 0.35)))
    cells = (min(half[1] // 2 + 1, blobs.shape[0]), min(half[0] // 2 + 1, blobs.shape[1]))
    top, left = dice.integer(0, blobs.shape[0] - cells[0]), dice.integer(0, blobs.shape[1] - cells[1])
    blobs = blobs[top : top + cells[0], left : left + cells[1]]
    tile = Image.fromarray((blobs + 128).astype(np.uint8)).resize(half, Image.Resampling.BILINEAR)
    amount = np.float32(dice.uniform(0.10, 0.40) * (0.3 + 0.7 * transmission(scene.conditions, 25.0)))
    blotches = (np.asarray(tile, np.float32) - 128) * amount
    # These are the pixels that Pillow's nearest neighbour takes for half the size.
    bare = bodies[1 - height % 2 :: 2, 1 - width % 2 :: 2] == 0
    for rows, noise, strength, ground in grit:
        rough = noise.astype(np.float32)
        rough *= np.multiply(strength, np.float32(fade), out=strength)
        rough += blotches[rows] * np.float32(0.4)
        np.copyto(blotches[rows], rough, where=bare[rows] & ground)
    blotches *= np.float32(_NEUTRAL / 256)
    blotches += _NEUTRAL
    if dice.chance(0.5):
        blotches *= _vignette(half, dice.uniform(0.1, 0.5))
    levels = np.clip(blotches, 0, 255, out=blotches).astype(np.uint8)
    return _modulate(image, levels)


def _modulate(image: Image.Image, factor: Plane) -> Planes:
    """Multiply by an enlarged picture, of which `_NEUTRAL` leaves levels as they are, all but the rounding."""
    colours = b"".join(image.tobytes("raw", channel) for channel in "RGB")
    planes = np.frombuffer(colours, np.uint8).reshape(3, image.height, image.width)
    result = np.empty_like(planes)
    for rows, wide in enlarged(factor, image.size):
        product = wide * planes[:, rows]
        product //= np.uint16(255)
        # Two 8-bit levels multiplied are only darker, so the neutral one is below 255 and made up for afterwards.
        _cap(product, _NEUTRAL)
        product *= np.uint16(255 // math.gcd(255, _NEUTRAL))
        product //= np.uint16(_NEUTRAL // math.gcd(255, _NEUTRAL))
        result[:, rows] = product
    return result


def add_glow(planes: Planes, scene: Scene, glows: list[list[Glow]], dice: Dice) -> None:
    """Add the lamps' light in place: cores, halos, beams on the road, streaks on wet asphalt, street light."""
    _, height, width = planes.shape
    small = ((width + 3) // 4, (height + 3) // 4)
    layer = Image.new("RGB", small)
    _draw_lamps(layer, scene, glows, dice)
    spread = small[0] / 320
    radii = (0.7 * spread, 2.5 * spread, 9.0 * spread)
    # Where rows and columns are exactly four times as many, the rest of the picture is not needed at all.
    box = _lit_box(layer, max(radii)) if (small[0] * 4, small[1] * 4) == (width, height) else (0, 0, *small)
    if box is None:
        return
    glow = _layers(layer.crop(box), radii, (0.9, 0.9, 1.6))
    lit = planes[:, box[1] * 4 : box[3] * 4, box[0] * 4 : box[2] * 4]
    for rows, wide in enlarged(glow, (lit.shape[2], lit.shape[1])):
        light = wide + lit[:, rows]
        _cap(light, 255)
        lit[:, rows] = light


def _draw_lamps(layer: Image.Image, scene: Scene, glows: list[list[Glow]], dice: Dice) -> None:
    """Draw the lamps that shine at the camera, and in black what hides some of them."""
    conditions = scene.conditions
    scale = np.asarray([layer.width / REFERENCE[0], layer.height / REFERENCE[1]])
    draw, pixel = ImageDraw.Draw(layer), 1 / float(scale.min())
    lit: list[tuple[float, ...]] = []
    strength = dice.uniform(0.5, 1.0) * (0.4 + 0.6 * conditions.night)
    for actor, lamps in zip(scene.actors, glows, strict=True):
        # What is black already need not be blackened.
        if actor.kind not in {"sign", "lamp", "tree"} and any(overlap(actor.bounds, box) for box in lit):
            for hull in actor.hulls:
                draw.polygon((hull * scale).reshape(-1).tolist(), fill=(0, 0, 0))
        for u, v, radius, colour in lamps:
            x, y, wide, tall = (float(a * b) for a, b in zip((u, v, radius, radius), (*scale, *scale), strict=True))
            level = transmission(conditions, actor.distance * 0.5)
            fill = tuple(int(c * level * strength) for c in colour)
            draw.ellipse((x - wide, y - tall, x + wide, y + tall), fill=fill)
            if conditions.wet:
                dim = tuple(int(c * level * strength * conditions.wet * 0.5) for c in colour)
                draw.rectangle(
                    (x - wide * 0.6, y + tall * 4, x + wide * 0.6, y + tall * dice.uniform(10, 22)), fill=dim
                )
            low, reach = v + 22 * radius, radius + 3 * pixel
            lit.append((u - reach, v - reach, u + reach, low + reach))


def _lit_box(layer: Image.Image, radius: float) -> tuple[int, int, int, int] | None:
    """Return the box of what is not black in a picture after a Gaussian blur of this radius; None if all is black."""
    box = layer.getbbox()
    if box is None:
        return None
    # Pillow's is three box blurs, each of which reaches out by at most the radius and a pixel.
    reach = 3 * (int(radius) + 2)
    left, top, right, bottom = box
    return max(left - reach, 0), max(top - reach, 0), min(right + reach, layer.width), min(bottom + reach, layer.height)


def _cap(levels: NDArray[np.uint16], highest: int) -> None:
    """Limit levels below 32768 in place."""
    # NumPy clips signed numbers several times as fast.
    signed = levels.view(np.int16)
    signed.clip(0, highest, out=signed)


def _layers(layer: Image.Image, radii: tuple[float, ...], weights: tuple[float, ...]) -> Planes:
    total = np.zeros((layer.height, layer.width, 3), np.float32)
    for radius, weight in zip(radii, weights, strict=True):
        total += np.asarray(layer.filter(ImageFilter.GaussianBlur(radius)), np.float32) * np.float32(weight)
    return np.minimum(total, 255).astype(np.uint8).transpose(2, 0, 1)


def falling(image: Image.Image, scene: Scene, dice: Dice) -> None:
    """Draw rain or snow in the air over the picture, in place."""
    amount = scene.conditions.falling
    draw = ImageDraw.Draw(image, "RGBA")
    width, height = image.size
    scale = width / REFERENCE[0]
    if scene.conditions.white:
        for _ in range(int(amount * 420)):
            x, y = dice.unit() * width, dice.unit() * height
            radius = scale * (0.6 + 4.0 * dice.unit() * dice.unit() * dice.unit())
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(246, 248, 252, dice.integer(60, 200)))
        return
    slant = dice.uniform(-0.35, 0.35)
    for _ in range(int(amount * 380)):
        x, y, length = dice.unit() * width, dice.unit() * height, scale * dice.uniform(8, 46)
        line = (x, y, x + slant * length, y + length)
        draw.line(line, fill=(214, 218, 226, dice.integer(16, 70)), width=max(1, round(scale * dice.uniform(0.6, 1.8))))


def optics(image: Image.Image, scene: Scene, dice: Dice) -> Image.Image:
    """Blur as lenses, drops on them, movement and cheap scalers do."""
    width, height = image.size
    scale = width / REFERENCE[0]
    kind = dice.weighted((("sharp", 5.0), ("soft", 3.0), ("scaled", 2.0), ("moved", 1.0)))
    if kind == "soft":
        image = image.filter(ImageFilter.BoxBlur(scale * dice.uniform(0.4, 1.6)))
    elif kind == "scaled":
        share = dice.uniform(0.35, 0.8)
        small = image.resize((max(int(width * share), 8), max(int(height * share), 8)), Image.Resampling.BILINEAR)
        image = small.resize((width, height), Image.Resampling.BILINEAR)
    elif kind == "moved":
        reach = scale * dice.uniform(1.0, 3.5)
        image = image.filter(ImageFilter.BoxBlur((reach, 0.3) if dice.chance(0.5) else (0.3, reach)))
    if scene.conditions.falling and dice.chance(0.35):
        _drops(image, dice)
    return image


def _drops(image: Image.Image, dice: Dice) -> None:
    """Drops on the lens show the scene small, blurred and upside down."""
    width, height = image.size
    for _ in range(dice.integer(3, 14)):
        radius = max(int(width * dice.uniform(0.006, 0.03)), 2)
        x, y = dice.integer(0, width - 2 * radius - 1), dice.integer(0, max(height - 2 * radius - 1, 0))
        around = image.crop((x - radius, y - radius, x + 3 * radius, y + 3 * radius))
        drop = around.transpose(Image.Transpose.ROTATE_180).resize((2 * radius, 2 * radius), Image.Resampling.BILINEAR)
        mask = Image.new("L", drop.size)
        ImageDraw.Draw(mask).ellipse((1, 1, 2 * radius - 2, 2 * radius - 2), fill=dice.integer(90, 200))
        image.paste(
            drop.filter(ImageFilter.BoxBlur(radius * 0.15)), (x, y), mask.filter(ImageFilter.BoxBlur(radius * 0.12))
        )


def expose(image: Image.Image, scene: Scene, dice: Dice) -> Pixels:
    """Exposure, white balance and gamma, darker corners, sensor noise, and the JPEG that leaves the camera."""
    night = scene.conditions.night
    gain, contrast = dice.uniform(0.88, 1.38) * (1 + 0.3 * night), dice.uniform(0.78, 1.12)
    ramp = np.linspace(0.0, 1.0, 256)
    curve = np.clip((ramp - 0.5) * contrast + 0.5 + dice.uniform(-0.05, 0.05), 0, 1) ** dice.uniform(0.85, 1.2)
    balance = [gain * dice.uniform(0.93, 1.07) for _ in range(3)]
    if dice.chance(0.06):
        image = image.convert("L").convert("RGB")
        balance = [gain] * 3
    table = np.clip(np.concatenate([curve * factor * 255 + 0.5 for factor in balance]), 0, 255).astype(np.int64)
    deviation = dice.uniform(0.5, 5.0) + night * dice.uniform(0.0, 8.0)
    noise = _window(grain(), (image.height, image.width), dice)
    return _jpeg(_roughened(np.asarray(image.point(table.tolist())), noise, deviation), dice.integer(35, 95))


def _vignette(size: tuple[int, int], amount: float) -> NDArray[np.float32]:
    x = np.linspace(-1, 1, size[0], dtype=np.float32) ** 2
    y = np.linspace(-1, 1, size[1], dtype=np.float32) ** 2
    return 1 - np.float32(amount / 2) * (x[None] + y[:, None])


def _roughened(pixels: Pixels, noise: NDArray[np.int8], deviation: float) -> Pixels:
    """Add noise of the standard deviation 32 with this one, in levels."""
    height, width, _ = pixels.shape
    out = np.empty_like(pixels)
    strength = np.int16(max(int(deviation * 8), 1))
    for rows in bands(height, 3 * width):
        sums = noise[rows].astype(np.int16)
        sums *= strength
        sums >>= np.int16(8)
        sums += pixels[rows]
        out[rows] = sums.clip(0, 255, out=sums)
    return out


def _window(tile: NDArray[np.int8], shape: tuple[int, int], dice: Dice) -> NDArray[np.int8]:
    """Cut a random window out of an endlessly repeated tile."""
    repeats = (-(-shape[0] // tile.shape[0]), -(-shape[1] // tile.shape[1]), 1)
    if repeats != (1, 1, 1):
        tile = np.tile(tile, repeats)
    top, left = dice.integer(0, tile.shape[0] - shape[0]), dice.integer(0, tile.shape[1] - shape[1])
    return tile[top : top + shape[0], left : left + shape[1]]


def _jpeg(pixels: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
