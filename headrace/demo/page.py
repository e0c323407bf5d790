"""`demo-output/index.html`: every request beside its image and its completion."""

from __future__ import annotations

import json
from html import escape

from pydantic_core import to_jsonable_python

from headrace.demo.plan import Case

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-weight: 600; margin-bottom: 0; }
article { display: grid; grid-template-columns: 15rem 1fr 1fr; gap: 1.25rem; border-top: 1px solid var(--line); padding: 1.25rem 0; }
article > * { min-width: 0; }
img { width: 100%; border-radius: .4rem; display: block; }
figure { margin: 0; } figcaption { font-size: .8rem; opacity: .75; overflow-wrap: anywhere; }
.none { border: 1px dashed var(--line); border-radius: .4rem; padding: 2rem 1rem; text-align: center; }
h2 { font-size: 1rem; margin: 0 0 .4rem; }
h3 { font-size: .8rem; text-transform: uppercase; letter-spacing: .05em; opacity: .7; margin: 0 0 .3rem; }
pre { background: var(--soft); border-radius: .4rem; padding: .6rem; margin: 0; font-size: .75rem;
  white-space: pre-wrap; max-height: 15rem; overflow: auto;
  overflow-wrap: anywhere; }
.tag { border: 1px solid var(--line); border-radius: 1rem; padding: .05rem .6rem; font-size: .8rem; font-weight: 400; }
@media (max-width: 60rem) { article { grid-template-columns: 1fr; } }
"""


def page(cases: list[Case], images: dict[str, str]) -> str:
    """The page. `images` gives an image's file, relative to the page, by event ID."""
    shown = "\n".join(_article(case, images.get(str(case.event_id))) for case in cases)
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Headrace demo</title><style>{_STYLE}</style>\n<h1>Headrace demo</h1>"
        f"<p>{len(cases)} records went into <code>image.requests</code>. Beside each: what came back.</p>\n{shown}\n</html>\n"
    )


def _article(case: Case, image: str | None) -> str:
    if image is not None and case.kind == "request":
        caption = f"<figcaption>{escape(image)}</figcaption>"
        picture = f'<figure><img src="{escape(image)}" alt="{escape(case.about)}" loading="lazy">{caption}</figure>'
    else:
        picture = f'<div class="none">{escape(case.state)}</div>'
    request = _json(case.request.model_dump(mode="json")) if case.request else escape(repr(case.value))
    answer = _json(case.completion) if case.completion else escape(_no_answer(case))
    seconds = f" after {case.seconds:.2f} s" if case.seconds is not None else ""
    return (
        f'<article><div>{picture}</div><div><h2>{escape(case.about)} <span class="tag">{escape(case.user)}</span></h2>'
        f"<h3>Request</h3><pre>{request}</pre></div>"
        f"<div><h2>{escape(case.state)}{seconds}</h2><h3>Completion</h3><pre>{answer}</pre></div></article>"
    )


def _json(value: object) -> str:
    return escape(json.dumps(to_jsonable_python(value), indent=1, ensure_ascii=False))


def _no_answer(case: Case) -> str:
    if case.kind == "repeat":
        return "One event is one workflow: the first request's completion stands for this one too."
    return "Nobody to answer: the bytes name no event. They wait, unchanged, in image.requests.dlq."
