from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import pytest
from pydantic import ValidationError

from schemas.image import (
    BatchImageGenerationRequested,
    ImageGenerationRequested,
    ImageGenerationResult,
    PromptError,
    Style,
    check_size,
    parse_size,
)
from schemas.request import OpenRequest, milliseconds
from workers.image.models import BatchSoFar

COMMON: dict[str, Any] = {
    "event_id": UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff"),
    "user_id": "u-1",
    "requested_at": datetime(2026, 3, 4, tzinfo=UTC),
}


def one(**fields: Any) -> ImageGenerationRequested:
    return ImageGenerationRequested.model_validate({**COMMON, "prompt": "a mill wheel", **fields})


def refusal(**fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        one(**fields)
    return caught.value.errors(include_url=False)[0]["msg"]


def test_a_prompt_is_enough() -> None:
    request = one()
    assert (request.negative_prompt, request.style, request.size, request.backend) == ("", "photorealistic", "1024x1024", "huggingface")


@pytest.mark.parametrize("prompt", ["x", "x" * 4000, " naïve 🎡 ", "two\nlines"])
def test_a_prompt_in_its_bounds_is_kept_as_it_is(prompt: str) -> None:
    assert one(prompt=prompt).prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "at least 1 character"),
        ("x" * 4001, "at most 4000 characters"),
        (" \t\n", "the prompt is blank"),
        ("a\x00b", "NUL character"),
        (5, "valid string"),
    ],
)
def test_a_prompt_out_of_bounds_is_refused(prompt: Any, message: str) -> None:
    assert message in refusal(prompt=prompt)


def test_a_negative_prompt_may_be_empty_but_has_the_same_bound() -> None:
    assert one(negative_prompt="").negative_prompt == ""
    assert "at most 4000" in refusal(negative_prompt="x" * 4001)
    assert "NUL" in refusal(negative_prompt="\x00")


@pytest.mark.parametrize("style", get_args(Style))
def test_every_style_is_accepted(style: str) -> None:
    assert one(style=style).style == style


def test_styles_and_backends_are_closed_lists() -> None:
    assert len(get_args(Style)) == 10
    assert "'photorealistic'" in refusal(style="Photorealistic")
    assert "'huggingface', 'openai' or 'local'" in refusal(backend="dall-e")


@pytest.mark.parametrize(
    ("backend", "size"),
    [
        ("openai", "1024x1024"),
        ("openai", "1536x1024"),
        ("openai", "1024x1536"),
        ("huggingface", "64x2048"),
        ("huggingface", "1024x768"),
        ("local", "65x2047"),
    ],
)
def test_a_size_that_the_backend_offers(backend: str, size: str) -> None:
    assert one(backend=backend, size=size).size == size


@pytest.mark.parametrize(
    ("backend", "size", "message"),
    [
        ("openai", "512x512", "backend openai does not offer 512x512: it offers 1024x1024, 1536x1024, 1024x1536"),
        ("huggingface", "1020x1024", "it offers sides of 64 to 2048 pixels in multiples of 8"),
        ("huggingface", "56x64", "it offers sides of 64 to 2048 pixels"),
        ("local", "64x2049", "it offers sides of 64 to 2048 pixels"),
        ("local", "99999x64", "it offers sides of 64 to 2048 pixels"),
    ],
)
def test_a_size_that_the_backend_does_not_offer_says_which_it_does(backend: str, size: str, message: str) -> None:
    assert message in refusal(backend=backend, size=size)


@pytest.mark.parametrize(
    "size", ["", "1024", "1024X1024", "1024x", "-64x64", "064x64", "64x64x64", "64 x 64", "٦٤x٦٤", "64x64\n", "x" * 9999]
)
def test_a_size_that_is_none(size: str) -> None:
    with pytest.raises(ValueError, match="is not WIDTHxHEIGHT in pixels") as caught:
        parse_size(size)
    assert len(str(caught.value)) < 200


def test_a_size_is_width_then_height() -> None:
    assert parse_size("1536x1024") == (1536, 1024)
    check_size("openai", "1536x1024")


@pytest.mark.parametrize(("count", "good"), [(0, False), (1, True), (500, True), (501, False)])
def test_a_batch_has_one_to_five_hundred_prompts(count: int, good: bool) -> None:
    fields = {**COMMON, "prompts": ["x"] * count}
    if good:
        assert len(BatchImageGenerationRequested.model_validate(fields).prompts) == count
    else:
        with pytest.raises(ValidationError):
            BatchImageGenerationRequested.model_validate(fields)


@pytest.mark.parametrize("bad", [" ", "", "x" * 4001, "a\x00b"])
def test_a_bad_prompt_does_not_refuse_the_good_ones_beside_it(bad: str) -> None:
    assert BatchImageGenerationRequested.model_validate({**COMMON, "prompts": ["x", bad]}).prompts == ["x", bad]


@pytest.mark.parametrize("prompts", [["x" * 1_000_000], ["\x01" * 1000] * 200, ["\N{BLACK STAR}" * 1000] * 400])
def test_prompts_that_would_not_leave_room_for_results_in_a_payload_are_refused(prompts: list[str]) -> None:
    with pytest.raises(ValidationError, match="send several batches"):
        BatchImageGenerationRequested.model_validate({**COMMON, "prompts": prompts})


def test_a_batch_of_five_hundred_hands_over_less_than_half_of_a_payload() -> None:
    signed = "https://bucket.s3.eu-central-1.amazonaws.com/images/" + "a" * 400
    image = ImageGenerationResult(
        key=f"images/{'a' * 64}.png",
        url=signed,
        content_type="image/png",
        size_bytes=2**31,
        sha256="a" * 64,
        width=2048,
        height=2048,
        backend="huggingface",
        model="black-forest-labs/FLUX.1-schnell",
        generation_seconds=119.123,
    )
    errors = [PromptError(index=index, code="BackendCredentialsRefused", message="x" * 300) for index in range(250)]
    so_far = BatchSoFar(started_at=COMMON["requested_at"], images=[image] * 499, errors=errors)
    assert len(so_far.model_dump_json()) < 2**20


def test_the_nil_uuid_identifies_nothing() -> None:
    assert "the nil UUID" in refusal(event_id=UUID(int=0))


@pytest.mark.parametrize(("user_id", "message"), [("", "at least 1"), ("u" * 129, "at most 128"), ("a\x00", "control"), ("a\n", "control")])
def test_a_user_id_that_neither_sql_nor_a_header_could_carry_is_refused(user_id: str, message: str) -> None:
    assert message in refusal(user_id=user_id)


def test_an_unknown_field_is_refused_but_for_a_teams_own_record() -> None:
    assert "there is no field 'colour'" in refusal(colour="blue")
    assert OpenRequest.model_validate({**COMMON, "colour": "blue"}).model_extra == {"colour": "blue"}


@pytest.mark.parametrize("number", [0, 1_000, 1_700_000_000, 1_772_582_400_000, -1])
def test_a_number_is_milliseconds_from_writers_without_the_logical_type(number: int) -> None:
    assert one(requested_at=number).requested_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=number)


@pytest.mark.parametrize(("time", "message"), [(2**62, "outside of the calendar"), (datetime(2026, 1, 1), "timezone"), (True, "")])  # noqa: DTZ001
def test_a_time_that_is_none_is_refused(time: Any, message: str) -> None:
    assert message in refusal(requested_at=time)


def test_milliseconds_are_cut_as_avro_cuts_them() -> None:
    assert milliseconds(datetime(2026, 1, 1, 0, 0, 0, 999_999, tzinfo=UTC)).microsecond == 999_000


def test_a_request_survives_temporals_json() -> None:
    request = one(prompt="naïve 🎡")
    assert ImageGenerationRequested.model_validate_json(request.model_dump_json()) == request
