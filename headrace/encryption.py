"""Payloads in Temporal, encrypted."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from headrace.settings import SettingsError

_ENCODING = b"binary/encrypted"  # the name that Temporal's own samples and UI use
_KEY_ID = "encryption-key-id"
_NONCE_BYTES = 12


class UnknownKey(Exception):  # noqa: N818 - what is missing
    """A payload was encrypted with a key that this process does not have, or is not what was encrypted."""


class Encryption(PayloadCodec):
    """AES-GCM with 96-bit random nonces (NIST SP 800-38D, section 8.2.2), the key's name as associated data.

    The first key encrypts, all of them decrypt: a new one is put in front, and an old one goes when the retention of what it encrypted is
    over. Payloads that were written without encryption stay readable.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Keys of 16, 24 or 32 bytes by their names, the encrypting one first."""
        self._keys = {name: AESGCM(key) for name, key in keys.items()}
        self._first = next(iter(self._keys))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Raises `UnknownKey`."""
        return [self._decrypt(payload) if payload.metadata.get("encoding") == _ENCODING else payload for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce, name = os.urandom(_NONCE_BYTES), self._first
        sealed = self._keys[name].encrypt(nonce, payload.SerializeToString(), name.encode())
        return Payload(metadata={"encoding": _ENCODING, _KEY_ID: name.encode()}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        name = payload.metadata.get(_KEY_ID, b"").decode("utf-8", "replace")
        if name not in self._keys:
            raise UnknownKey(f"a payload is encrypted with the key {name!r}: add it to HEADRACE_PAYLOAD_KEYS, behind the first")
        try:
            opened = self._keys[name].decrypt(payload.data[:_NONCE_BYTES], payload.data[_NONCE_BYTES:], name.encode())
        except InvalidTag:
            raise UnknownKey(f"a payload is not what was encrypted with the key {name!r}: is it another key of that name?") from None
        return Payload.FromString(opened)


def parse_keys(text: str) -> dict[str, bytes]:
    """`NAME:BASE64[,NAME:BASE64...]`. Raises `SettingsError`, which repeats no key."""
    keys: dict[str, bytes] = {}
    for number, part in enumerate(filter(None, (each.strip() for each in text.split(","))), 1):
        name, colon, encoded = part.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True) if colon and name else b""
        except binascii.Error:
            key = b""
        if len(key) not in (16, 24, 32) or name in keys:
            raise SettingsError(
                f"HEADRACE_PAYLOAD_KEYS: key {number} is not NAME:BASE64 of 16, 24 or 32 bytes under a name of its own;"
                " make one with: openssl rand -base64 32"
            )
        keys[name] = key
    if not keys:
        raise SettingsError("HEADRACE_PAYLOAD_KEYS is empty: unset it, or give NAME:BASE64")
    return keys
