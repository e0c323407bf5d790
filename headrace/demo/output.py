"""`demo-output/`: every picture and the report by their presigned URLs, checked, and the page."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
from pathlib import Path

import httpx
from sqlalchemy import select

from headrace.demo.page import Counted, Shown, page
from headrace.demo.plan import BATCH, IMAGES, STEERING, Case
from headrace.settings import Settings
from headrace.store.engine import engine_of
from headrace.store.tables import DAILY_ANALYTICS
from schemas.analysis import DataAnalysisResult
from schemas.image import BatchImageGenerationResult, ImageGenerationResult

FOLDER = Path("demo-output")
REPORT = "report.html"


async def write(settings: Settings, cases: list[Case], seconds: float, wrong: list[str]) -> list[str]:
    """Writes the folder anew. What is wrong, with what is not what its completion says."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    (FOLDER / "images").mkdir(parents=True)
    missing = list(wrong)
    shown = Shown(seconds, missing, days=await _days(settings))
    async with httpx.AsyncClient() as http:
        for case in cases:
            for image in _images(case):
                data = await _fetch(http, image.url, image.sha256)
                if data is None:
                    missing.append(f"an image of {case.about!r} is not what its completion says: {image.url}")
                    continue
                name = f"images/{image.sha256[:16]}.{image.key.rsplit('.', 1)[-1]}"
                await asyncio.to_thread((FOLDER / name).write_bytes, data)
                shown.images[image.sha256] = f"data:{image.content_type};base64,{base64.b64encode(data).decode()}"
            analysis = case.result(DataAnalysisResult) if case.domain == "analysis" else None
            if analysis is not None:
                report = await _fetch(http, analysis.report_url, analysis.report_sha256)
                if report is None:
                    missing.append(f"the report on {case.about!r} is not what its completion says: {analysis.report_url}")
                    continue
                await asyncio.to_thread((FOLDER / REPORT).write_bytes, report)
                shown.report = REPORT
    (FOLDER / "index.html").write_text(page(cases, shown), encoding="utf-8")
    return missing


def _images(case: Case) -> list[ImageGenerationResult]:
    if case.kind != "request":
        return []
    if case.section == BATCH:
        batch = case.result(BatchImageGenerationResult)
        return [image for image in batch.images if image] if batch else []
    if case.section in (IMAGES, STEERING):
        result = case.result(ImageGenerationResult)
        return [result] if result else []
    return []


async def _fetch(http: httpx.AsyncClient, url: str, sha256: str) -> bytes | None:
    """None when it is not there, or another one."""
    answer = await http.get(url)
    right = answer.status_code == httpx.codes.OK and hashlib.sha256(answer.content).hexdigest() == sha256
    return answer.content if right else None


async def _days(settings: Settings) -> list[Counted]:
    """What maintenance has counted of the latest day."""
    columns, database = DAILY_ANALYTICS.c, engine_of(settings)
    try:
        async with database.connect() as connection:
            latest = select(columns.day).order_by(columns.day.desc()).limit(1).scalar_subquery()
            wanted = (columns.day, columns.domain, columns.backend, columns.total, columns.succeeded)
            times = (columns.answer_seconds_p50, columns.answer_seconds_p95)
            found = await connection.execute(select(*wanted, *times).where(columns.day == latest).order_by(columns.domain, columns.backend))
            return [Counted(*row) for row in found]
    finally:
        await database.dispose()
