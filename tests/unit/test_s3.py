"""Presigned URLs are for those who open them, not for those who sign them."""

from __future__ import annotations

from headrace import s3
from headrace.settings import Settings


def presigned(**given: str) -> str:
    settings = Settings.model_validate(
        {"s3_access_key_id": "key", "s3_secret_access_key": "s", "s3_endpoint_url": "http://seaweedfs:8333", **given}
    )
    client = s3.client(settings)
    try:
        return client.generate_presigned_url("get_object", Params={"Bucket": "headrace", "Key": "image/1.png"})
    finally:
        client.close()


def test_a_url_is_signed_for_the_address_at_which_others_reach_s3() -> None:
    assert presigned().startswith("http://seaweedfs:8333/headrace/image/1.png?")
    assert presigned(s3_public_endpoint_url="https://files.example.org").startswith("https://files.example.org/headrace/image/1.png?")
