"""The learning activities with the clients that they need."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx

from headrace.settings import Settings
from headrace.store.engine import engine_of
from workers import openai_client
from workers.domain import Activities
from workers.learning.activities import Generator, LearningActivities, Resources
from workers.learning.curriculum import Curriculum, load
from workers.learning.openai import OpenAIGenerator
from workers.learning.search import HttpResources
from workers.learning.shipped import CatalogueResources, CurriculumGenerator
from workers.learning.storage import SqlPaths


@contextlib.asynccontextmanager
async def activities(settings: Settings) -> AsyncIterator[Activities]:
    curriculum = load()
    async with contextlib.AsyncExitStack() as opened:
        database = engine_of(settings, "workers-learning")
        opened.push_async_callback(database.dispose)
        generator = await _generator(settings, curriculum, opened)
        resources = await _resources(settings, curriculum, opened)
        yield LearningActivities(SqlPaths(database), generator, resources, curriculum.name_of).all()


async def _generator(settings: Settings, curriculum: Curriculum, opened: contextlib.AsyncExitStack) -> Generator:
    client = openai_client.client(settings)
    if client is None:
        return CurriculumGenerator(curriculum)
    opened.push_async_callback(client.close)
    return OpenAIGenerator(client, settings.openai_text_model)


async def _resources(settings: Settings, curriculum: Curriculum, opened: contextlib.AsyncExitStack) -> Resources:
    if settings.learning_resources_url is None:
        return CatalogueResources(curriculum)
    client = await opened.enter_async_context(httpx.AsyncClient())
    return HttpResources(client, settings.learning_resources_url)
