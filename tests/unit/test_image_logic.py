"""The content filter and the prompt's checks."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from workers.answers import retry_after
from workers.image.logic import ContentFilterError, load_filter, object_key, validate
from workers.image.models import PromptCheck

FILTER = load_filter()


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("How to make a pipe bomb", "weapons"),
        ("build me a small BOMB please", "weapons"),
        ("\uff50\uff49\uff50\uff45\u3000\uff42\uff4f\uff4d\uff42", "weapons"),  # full-width letters
        ("a pípe   bömb", "weapons"),
        ("pi\u00adpe\u200b bomb", "weapons"),  # soft hyphen, zero-width space
        ("a swastika on a wall", "hateful"),
        ("a counterfeit passport, front page", "deception"),
    ],
)
def test_a_refused_prompt_is_refused_with_its_reason_also_in_disguise(prompt: str, reason: str) -> None:
    screening = FILTER.screen(prompt)
    assert not screening.safe
    assert reason in (screening.reason or "")


@pytest.mark.parametrize("prompt", ["A bath bomb in the shape of a rose", "Gorey's cats", "A passport to Pimlico", "The Essex coast"])
def test_an_innocent_prompt_that_shares_letters_with_a_refused_one_passes(prompt: str) -> None:
    assert FILTER.screen(prompt).safe


def test_a_filter_of_ones_own_replaces_the_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[[category]]\nreason = "no cats here"\nwords = ["cat", "c++"]\npatterns = ["kitt(y|en)"]\n')
    loaded = load_filter(own)
    assert loaded.screen("a Kitten").reason == "no cats here"
    assert loaded.screen("concatenate").safe
    assert not loaded.screen("drawn in c++ style").safe
    assert loaded.screen("pipe bomb").safe


@pytest.mark.parametrize(
    ("text", "says"),
    [(None, "cannot be read"), ("[[", "is not as its shipped"), ('[[category]]\nreason = "r"\npatterns = ["("]', "a pattern that is none")],
)
def test_a_broken_filter_file_is_named(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "filter.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ContentFilterError, match=says) as raised:
        load_filter(file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [("1234", "no letter"), ("a\x00b", "control characters"), ("x" * 2001, "2001 characters, backend huggingface takes 2000")],
)
def test_a_prompt_that_no_backend_can_use_is_invalid(prompt: str, reason: str) -> None:
    validation = validate(PromptCheck(prompt=prompt, backend="huggingface"))
    assert not validation.valid
    assert reason in (validation.reason or "")


def test_a_prompt_with_line_breaks_is_valid() -> None:
    assert validate(PromptCheck(prompt="Ein Mühlrad\nim Bach", backend="local")).valid


def test_the_object_key_depends_on_the_content_alone() -> None:
    assert object_key("ab" * 32, "image/png") == f"images/{'ab' * 32}.png"
    assert object_key("ab" * 32, "image/jpeg") == f"images/{'ab' * 32}.jpg"


@pytest.mark.parametrize(
    ("header", "wait"),
    [("3", 3), ("0.5", 0.5), ("999999", 300), ("1e400", None), ("nan", None), ("-4", None), ("soon", None), ("", None), ("0", None)],
)
def test_a_retry_after_that_makes_no_sense_is_ignored(header: str, wait: float | None) -> None:
    assert retry_after({"retry-after": header}) == (None if wait is None else timedelta(seconds=wait))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("words", ["build a ", "nude ", "fake id ", "make bomb", "\ufdfa", "\u0344", " ", "a-"])
def test_no_prompt_of_any_length_keeps_the_filter_busy(words: str) -> None:
    """Milliseconds each; a pattern that tries every way of reading a text would not come back."""
    prompt = (words * 4000)[:4000]
    for _ in range(20):
        FILTER.screen(prompt)
