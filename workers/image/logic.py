"""The image domain's decisions, without a client or a server."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from schemas.image import Backend
from workers.image.models import PromptCheck, Screening, Validation

SHIPPED_FILTER = Path(__file__).parent / "content_filter.toml"

_PROMPT_LIMITS: dict[Backend, int] = {"openai": 4000, "huggingface": 2000, "local": 4000}

_STYLES = {
    "photorealistic": "photorealistic, natural light, sharp detail",
    "digital_art": "digital art, clean shapes, rich colour",
    "oil_painting": "oil painting, visible brush strokes on canvas",
    "watercolor": "watercolour on rough paper, soft edges",
    "anime": "anime, cel shading, expressive line",
    "sketch": "pencil sketch, hatching",
    "abstract": "abstract composition of form and colour",
    "cyberpunk": "cyberpunk, neon light, rain",
    "fantasy": "fantasy illustration, epic scale",
    "minimalist": "minimalist, few shapes, much empty space",
}


class ContentFilterError(Exception):
    """The content filter's file cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Rule:
    pattern: re.Pattern[str]
    reason: str


class _Category(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    reason: str
    words: list[str] = []
    patterns: list[str] = []


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    category: list[_Category]


class ContentFilter:
    """Words and patterns, matched on text that is normalised so that full-width or accented disguises do not help."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = tuple(rules)

    def screen(self, text: str) -> Screening:
        normal = normalise(text)
        for rule in self._rules:
            if rule.pattern.search(normal):
                return Screening(safe=False, reason=rule.reason)
        return Screening(safe=True)


def load_filter(path: Path | None = None) -> ContentFilter:
    """The filter in `path`, or the one that ships with Headrace. Raises `ContentFilterError`."""
    path = path or SHIPPED_FILTER
    try:
        found = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ContentFilterError(f"the content filter {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ContentFilterError(f"the content filter {path} is not as its shipped example: {error}") from error
    return ContentFilter(rule for category in found.category for rule in _rules(path, category))


def _rules(path: Path, category: _Category) -> Iterable[Rule]:
    for word in category.words:
        # Not \b: a word may begin or end with a sign, and beside a sign \b asks for a letter.
        yield Rule(re.compile(rf"(?<!\w){re.escape(normalise(word))}(?!\w)"), category.reason)
    for pattern in category.patterns:
        try:
            yield Rule(re.compile(pattern), category.reason)
        except re.error as error:
            raise ContentFilterError(f"the content filter {path} has a pattern that is none, {pattern!r}: {error}") from error


def normalise(text: str) -> str:
    """Compatibility form, no accents, nothing invisible, case folded, single spaces."""
    decomposed = unicodedata.normalize("NFKD", text)
    shown = (char for char in decomposed if not unicodedata.combining(char) and unicodedata.category(char) != "Cf")
    return " ".join("".join(shown).casefold().split())


def validate(check: PromptCheck) -> Validation:
    """What the request's model does not say: whether a backend can make anything of the words."""
    if any(unicodedata.category(char) == "Cc" and char not in "\n\t\r" for char in check.prompt):
        return Validation(valid=False, reason="the prompt has control characters")
    if not any(char.isalpha() for char in check.prompt):
        return Validation(valid=False, reason="the prompt has no letter")
    limit = _PROMPT_LIMITS[check.backend]
    for name, text in (("prompt", check.prompt), ("negative_prompt", check.negative_prompt)):
        if len(text) > limit:
            return Validation(valid=False, reason=f"the {name} has {len(text)} characters, backend {check.backend} takes {limit}")
    return Validation(valid=True)


def styled(prompt: str, style: str) -> str:
    return f"{prompt}. Style: {_STYLES[style]}"


def object_key(sha256: str, content_type: str) -> str:
    """Derived from the content alone: the same picture is the same object, however often it is written."""
    return f"images/{sha256}.{content_type.removeprefix('image/').replace('jpeg', 'jpg')}"
