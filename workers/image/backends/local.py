"""Draws by itself: no network, no model, no randomness. The same request gives the same bytes."""

from __future__ import annotations

import asyncio
import hashlib
import io
import random

from PIL import Image, ImageDraw, ImageFilter

from schemas.image import parse_size
from workers.image.activities import Picture
from workers.image.models import Drawing

MODEL = "local-1"

_PALETTES = {
    "photorealistic": ("#1b2a41", "#324a5f", "#ccc9dc", "#e0a458"),
    "digital_art": ("#2d1e5f", "#6c3fc5", "#f25f5c", "#ffe066"),
    "oil_painting": ("#3d2b1f", "#7a4419", "#d4a373", "#606c38"),
    "watercolor": ("#cfe8ef", "#8ecae6", "#219ebc", "#f4a7b9"),
    "anime": ("#ffd6e0", "#8fd3ff", "#ff7096", "#3a2e5c"),
    "sketch": ("#f6f4ee", "#c9c5ba", "#5b5750", "#22201d"),
    "abstract": ("#f4f1de", "#e07a5f", "#3d405b", "#81b29a"),
    "cyberpunk": ("#0b0033", "#370031", "#ff2975", "#00f0ff"),
    "fantasy": ("#12263a", "#3d5a80", "#98c1d9", "#ee6c4d"),
    "minimalist": ("#fafafa", "#e4e4e4", "#264653", "#e76f51"),
}


class LocalBackend:
    """The default of the demo."""

    async def generate(self, drawing: Drawing) -> Picture:
        return await asyncio.to_thread(draw, drawing)


def draw(drawing: Drawing) -> Picture:
    """A picture of hills under a sky, in the style's colours, seeded by the request."""
    width, height = parse_size(drawing.size)
    words = drawing.model_dump_json()
    seeded = random.Random(hashlib.sha256(words.encode()).digest())  # noqa: S311 - a picture, not a secret
    colours = [_rgb(colour) for colour in _PALETTES[drawing.style]]
    image = _sky(width, height, colours[0], colours[1])
    _lights(image, seeded, colours)
    canvas = ImageDraw.Draw(image)
    layers = seeded.randint(3, 5)
    for layer in range(layers):
        depth = (layer + 1) / layers
        colour = _mix(colours[1], colours[2 + layer % 2], 0.35 + 0.6 * depth)
        canvas.polygon(_ridge(seeded, width, height, depth), fill=colour)
    encoded = io.BytesIO()
    image.save(encoded, "PNG", compress_level=3)
    return Picture(encoded.getvalue(), "image/png", width, height, MODEL)


def _sky(width: int, height: int, top: tuple[int, ...], bottom: tuple[int, ...]) -> Image.Image:
    column = Image.new("RGB", (1, height))
    column.putdata([_mix(top, bottom, y / height) for y in range(height)])
    return column.resize((width, height))


def _lights(image: Image.Image, seeded: random.Random, colours: list[tuple[int, ...]]) -> None:
    """Soft discs, drawn small and enlarged: a blur at full size is most of the time."""
    small = Image.new("L", (96, 96), 0)
    canvas = ImageDraw.Draw(small)
    for _ in range(seeded.randint(1, 4)):
        x, y, radius = seeded.randint(5, 90), seeded.randint(5, 55), seeded.randint(3, 14)
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=seeded.randint(120, 255))
    mask = small.filter(ImageFilter.GaussianBlur(1.5)).resize(image.size, Image.Resampling.BICUBIC)
    image.paste(colours[3], (0, 0, *image.size), mask)


def _ridge(seeded: random.Random, width: int, height: int, depth: float) -> list[tuple[float, float]]:
    base, swing = height * (0.35 + 0.5 * depth), height * 0.16
    steps = seeded.randint(5, 11)
    points = [(width * step / steps, base - swing * seeded.random()) for step in range(steps + 1)]
    return [*points, (width, height), (0, height)]


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def _mix(one: tuple[int, ...], other: tuple[int, ...], share: float) -> tuple[int, ...]:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
