"""Step `save_analysis_results`: the report, one HTML file with everything in it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2

from workers.analysis.compute.profile import Groups, Profile
from workers.analysis.compute.wording import count, number, share
from workers.analysis.files import CLUSTERING, EXPLORATION, REPORT
from workers.analysis.models import SaveAnalysis

_MOST_SUMMARY = 900
_SEVERITIES = {"error": "error", "warning": "check", "info": "note"}


def run(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    saved = SaveAnalysis.model_validate(given)
    profile = Profile.model_validate_json((folder / EXPLORATION).read_bytes())
    groups = Groups.model_validate_json((folder / CLUSTERING).read_bytes()) if saved.clustering else None
    pictures = {
        picture.name: {"title": picture.title, "data": base64.b64encode((folder / f"{picture.name}.png").read_bytes()).decode()}
        for picture in saved.visualizations.pictures
    }
    (folder / REPORT).write_text(render(saved, profile, groups, pictures), encoding="utf-8")
    said = [saved.exploration.summary, *([saved.clustering.summary] if saved.clustering else [])]
    return {"summary": " ".join(said)[:_MOST_SUMMARY]}


def render(saved: SaveAnalysis, profile: Profile, groups: Groups | None, pictures: dict[str, dict[str, str]]) -> str:
    """Every value is escaped: names and texts come from a stranger's file. The page runs no script and loads nothing."""
    # The same for the same request, so that a retried step writes the same report: the only time in it is the request's.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "share": share, "count": count}
    return environment.get_template("report.html.jinja").render(
        saved=saved,
        profile=profile,
        groups=groups,
        pictures=pictures,
        file=saved.file_path.rsplit("/", 1)[-1],
        severities=_SEVERITIES,
    )
