"""What works without a key and without a network: modules and resources from the shipped curriculum."""

from __future__ import annotations

from temporalio.exceptions import ApplicationError

from schemas.errors import FailureType, bounded
from schemas.learning import LearningResource
from workers.learning.curriculum import Curriculum, compose
from workers.learning.models import ResourceQuery, Syllabus, SyllabusBrief


class CurriculumGenerator:
    def __init__(self, curriculum: Curriculum) -> None:
        self._curriculum = curriculum

    async def generate(self, brief: SyllabusBrief) -> Syllabus:
        category = self._curriculum.find(brief.category)
        if category is None:
            raise ApplicationError(
                bounded(
                    f"The shipped curriculum has no category {brief.category!r}. It has: {', '.join(self._curriculum.names())}."
                    " For others set OPENAI_API_KEY for the workers"
                ),
                type=FailureType.UNKNOWN_CATEGORY,
                non_retryable=True,
            )
        return compose(category, brief)


class CatalogueResources:
    def __init__(self, curriculum: Curriculum) -> None:
        self._curriculum = curriculum

    async def find(self, query: ResourceQuery) -> list[LearningResource]:
        return self._curriculum.resources(query.category, query.topic)
