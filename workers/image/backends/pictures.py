"""What the backends share: reading a picture's size."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from schemas.errors import bounded
from workers.answers import unavailable
from workers.image.activities import Picture


def read_picture(data: bytes, model: str) -> Picture:
    """The picture in `data`, decoded whole. Raises `ApplicationError(BACKEND_UNAVAILABLE)` for bytes that are none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            content_type = Image.MIME.get(image.format or "", "")
            width, height = image.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise unavailable(f"the answer is no image: {bounded(str(error), 200)}") from error
    return Picture(data, content_type, width, height, model)
