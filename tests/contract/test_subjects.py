"""What `headrace setup` registers, and what it leaves alone, on a real registry."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest
from pydantic import SecretStr

from headrace import check_rights, setup, subjects
from headrace.check_rights import Doubtful, Wrong
from headrace.errors import SetupError, SetupRefusedError
from headrace.registry import NotPermitted, Registry
from headrace.settings import Settings
from headrace.subjects import UnfitSchemaError
from headrace.wire import Wire
from schemas.catalog import Catalog, shipped
from schemas.codec import Schema
from schemas.command import COMMAND
from schemas.routes import load_routes
from schemas.topics import Topics
from tests.support.registry import READER, WRITER, Apicurio

pytestmark = pytest.mark.timeout(600)  # the first run fetches 158 MB

N: dict[str, Any] = {"name": "n", "type": "long"}
COLOUR: dict[str, Any] = {"name": "colour", "type": "string", "default": "blue"}
DEPTH: dict[str, Any] = {"name": "depth", "type": ["null", "long"], "default": None}


@pytest.fixture
def subject() -> str:
    return f"{uuid4().hex}.requests-acme.R"


@pytest.fixture
def given(apicurio: Apicurio) -> Settings:
    """Settings with a topic prefix of the test's own, hence subjects."""
    return Settings.model_validate({"topic_prefix": f"{uuid4().hex}.", "schema_registry_url": apicurio.url})


def with_url(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"schema_registry_url": SecretStr(url)})


def record(*fields: dict[str, Any], past: tuple[Schema, ...] = (), **more: Any) -> Schema:
    return Schema(json.dumps({"type": "record", "name": "acme.R", "fields": fields, **more}), past)


async def made(registry: Registry, wanted: dict[str, Schema]) -> list[str]:
    """What `setup` says of them, without their subjects."""
    said: list[str] = []
    await subjects.register(registry, wanted, said.append)
    assert all(line.startswith(f"schema {name}: ") for line, name in zip(said, wanted, strict=True))
    return [line.removeprefix(f"schema {name}: ") for line, name in zip(said, wanted, strict=True)]


async def history(registry: Registry, subject: str) -> list[bytes]:
    return [Schema(text).fingerprint for text in (await registry.versions(subject)).values()]


async def test_setup_registers_every_schema_that_is_written_and_a_second_one_changes_nothing(given: Settings, registry: Registry) -> None:
    said: list[str] = []
    await setup._schemas(given, load_routes(), said.append)
    wanted = subjects.subjects(load_routes(), Topics(given.topic_prefix))
    assert {schema.name for schema in wanted.values()} == {schema.name for schema in shipped()}
    assert f"{given.topic_prefix}image.completions-headrace.image.ImageGenerationCompleted" in wanted
    for line, (name, schema) in zip(said, wanted.items(), strict=True):
        ids = [await registry.find(name, version) for version in schema.versions]
        assert line == f"schema {name}: made, {'ID' if len(ids) == 1 else 'IDs'} {', '.join(map(str, ids))}"
        assert await registry.level(name) == "FULL_TRANSITIVE"
        assert await history(registry, name) == [version.fingerprint for version in schema.versions]
    again: list[str] = []
    await setup._schemas(given, load_routes(), again.append)
    assert again == [f"schema {name}: there" for name in wanted]


async def test_without_a_registry_setup_says_nothing_of_schemas(given: Settings) -> None:
    said: list[str] = []
    await setup._schemas(given.model_copy(update={"schema_registry_url": None}), load_routes(), said.append)
    assert said == []


async def test_the_registrys_history_is_ours_and_docs_alone_are_no_version(registry: Registry, subject: str) -> None:
    first, second = record(N), record(N, COLOUR)
    told = record(N, {**COLOUR, "doc": "of the wheel"}, past=(first, second), doc="newly told")
    [line] = await made(registry, {subject: told})
    ids = [await registry.find(subject, version) for version in (first, second)]
    assert line == f"made, IDs {ids[0]}, {ids[1]}"
    assert await history(registry, subject) == [first.fingerprint, second.fingerprint]
    wire = Wire(Catalog([told]), registry)
    topic = subject.partition("-")[0]
    assert int.from_bytes((await wire.encode(topic, "acme.R", {"n": 1, "colour": "red"}))[1:5], "big") == ids[1]


async def test_an_old_version_is_not_made_the_latest(registry: Registry, subject: str) -> None:
    """A producer may have registered the newest alone; others write with the latest."""
    first, second = record(N), record(N, COLOUR)
    await registry.add(subject, second)
    third = record(N, COLOUR, DEPTH, past=(first, second))
    assert await made(registry, {subject: third}) == [f"made, ID {await registry.find(subject, third)}"]
    assert await history(registry, subject) == [second.fingerprint, third.fingerprint]


async def test_a_version_of_others_is_no_hindrance_while_it_fits(registry: Registry, subject: str) -> None:
    theirs, ours = record(N, DEPTH), record(N, COLOUR)
    await registry.add(subject, theirs)
    await made(registry, {subject: ours})
    assert await history(registry, subject) == [theirs.fingerprint, ours.fingerprint]


async def test_an_incompatible_schema_stops_setup_before_anything_is_registered(
    registry: Registry, apicurio: Apicurio, subject: str
) -> None:
    await registry.set_level(subject, "NONE")
    for fields in ((N, COLOUR), (N,)):
        await registry.add(subject, record(*fields))
    bad = record({"name": "n", "type": "string"})
    good = f"good-{subject}"
    with pytest.raises(UnfitSchemaError) as caught:
        await made(registry, {good: record(N), subject: bad, f"{subject}-2": record(N, past=(bad,))})
    said = str(caught.value)
    assert f"{subject}: acme.R is not FULL_TRANSITIVE with version 1 there (.n: long cannot be read as string" in said
    assert "delete it in the registry" in said
    async with httpx.AsyncClient() as http:
        assert good not in (await http.get(f"{apicurio.url}/subjects")).json()
    assert len(await registry.versions(subject)) == 2


async def test_past_versions_that_do_not_fit_each_other_are_refused(registry: Registry, subject: str) -> None:
    bad = record({"name": "n", "type": "string"})
    with pytest.raises(UnfitSchemaError, match=r"acme\.R is not FULL_TRANSITIVE with a version before it"):
        await made(registry, {subject: record(N, past=(bad,))})
    assert await registry.versions(subject) == {}


async def test_what_somebody_registered_and_headrace_cannot_read_is_told(registry: Registry, apicurio: Apicurio, subject: str) -> None:
    theirs = {"type": "record", "name": "acme.R", "fields": [N, {"name": "next", "type": ["null", "acme.R"], "default": None}]}
    async with httpx.AsyncClient() as http:
        body = {"schema": json.dumps(theirs)}
        (await http.post(f"{apicurio.url}/subjects/{subject}/versions", json=body)).raise_for_status()
    with pytest.raises(UnfitSchemaError, match=r"version 1 there cannot be used \(acme\.R contains itself"):
        await made(registry, {subject: record(N)})


async def test_a_subject_of_json_schemas_is_named(given: Settings, apicurio: Apicurio) -> None:
    name = next(iter(subjects.subjects(load_routes(), Topics(given.topic_prefix))))
    body = {"schemaType": "JSON", "schema": json.dumps({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"})}
    async with httpx.AsyncClient() as http:
        (await http.post(f"{apicurio.url}/subjects/{name}/versions", json=body)).raise_for_status()
    with pytest.raises(SetupRefusedError, match=f"under the subject {name}: "):
        await setup._schemas(given, load_routes(), lambda _: None)


async def test_a_laxer_level_is_an_operators_choice_and_is_told(registry: Registry, subject: str) -> None:
    await made(registry, {subject: record(N)})
    await registry.set_level(subject, "BACKWARD")
    [line] = await made(registry, {subject: record(N)})
    assert line.startswith("there, with the compatibility level BACKWARD, not FULL_TRANSITIVE")
    assert await registry.level(subject) == "BACKWARD"


async def test_two_setups_at_once_make_one_history(registry: Registry, subject: str) -> None:
    second = record(N, COLOUR, past=(record(N),))
    await asyncio.gather(*(made(registry, {subject: second}) for _ in range(3)))
    assert await history(registry, subject) == [version.fingerprint for version in second.versions]


async def test_a_registry_that_is_away_or_refuses_is_named_without_its_secret(given: Settings, locked: Apicurio) -> None:
    async def refused(url: str, kind: type[SetupError]) -> str:
        settings = with_url(given, url)
        with pytest.raises(SetupError) as caught:
            await setup._schemas(settings, load_routes(), lambda _: None)
        assert type(caught.value) is kind
        assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r} {settings!r} {settings} {settings.schema_registry_url}"
        return str(caught.value)

    said = await refused("http://me:hunter2@127.0.0.1:1/registry", SetupError)
    assert said.startswith("The schema registry (http://127.0.0.1:1/registry) cannot be set up: ")
    assert "is HEADRACE_SCHEMA_REGISTRY_URL right?" in said
    assert "not a URL such as" in await refused("http://me:hunter2@registry/?token=hunter2", SetupRefusedError)
    assert "answers 401" in await refused(locked.url_of("writer", "hunter2"), SetupRefusedError)
    assert "answers 401" in await refused(locked.url, SetupRefusedError)
    assert "answers 403" in await refused(locked.url_of(*READER), SetupRefusedError)


async def test_a_key_that_may_read_alone_is_enough_once_setup_has_run(given: Settings, locked: Apicurio) -> None:
    topic, value = Topics(given.topic_prefix).commands, {"event_id": uuid4(), "target_event_id": uuid4(), "user_id": "u"}
    command = {**value, "command": "cancel", "requested_at": datetime(2026, 3, 4, tzinfo=UTC)}
    writes, reads, nobody = (with_url(given, locked.url_of(*who)) for who in (WRITER, READER, ("writer", "hunter2")))
    wire = Wire.of(reads, Catalog(shipped()))
    try:
        with pytest.raises(NotPermitted, match=r"answers 403; .* \(POST /apis/ccompat/v7/subjects/.*/versions\)"):
            await wire.encode(topic, COMMAND, command)
        with pytest.raises(Wrong, match=r"not registered: .*; run `headrace setup`"):
            await check_rights.schema_registry(reads)
        for settings in (writes, reads):
            await setup._schemas(settings, load_routes(), lambda _: None)
        data = await wire.encode(topic, COMMAND, command)
        assert (await wire.decode(data)).value["target_event_id"] == value["target_event_id"]
    finally:
        await wire.close()
    assert (await check_rights.schema_registry(writes)).endswith("this key may read and register")
    assert (await check_rights.schema_registry(reads)).endswith("this key may read alone, which is enough for all but `headrace setup`")
    with pytest.raises(Wrong, match="answers 401") as caught:
        await check_rights.schema_registry(nobody)
    assert "hunter2" not in str(caught.value)


async def test_a_registry_of_a_private_authority_is_refused_until_the_standard_variable_names_it(
    given: Settings, locked_apicurio: Apicurio, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_url(given, locked_apicurio.url_of(*WRITER))
    with pytest.raises(SetupError, match="CERTIFICATE_VERIFY_FAILED"):
        await setup._schemas(settings, load_routes(), lambda _: None)
    assert locked_apicurio.authority is not None
    monkeypatch.setenv("SSL_CERT_FILE", str(locked_apicurio.authority.file))
    await setup._schemas(settings, load_routes(), lambda _: None)


async def test_doctor_asks_without_leaving_anything_and_tells_of_a_laxer_level(given: Settings, registry: Registry) -> None:
    await setup._schemas(given, load_routes(), lambda _: None)
    names = list(subjects.subjects(load_routes(), Topics(given.topic_prefix)))
    before = [await registry.versions(name) for name in names]
    assert await check_rights.schema_registry(given) == f"{len(names)} subjects at {registry.address}; this key may read and register"
    assert [await registry.versions(name) for name in names] == before
    await registry.set_level(names[3], "NONE")
    with pytest.raises(Doubtful, match=f"^{names[3]} has the compatibility level NONE"):
        await check_rights.schema_registry(given)
