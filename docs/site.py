"""Hooks of mkdocs: the README and other files of the repository become pages, and links mean in the site what they mean in the repository.

A link to a file that is no page becomes plain text; one that leads nowhere stays, so that the strict build fails.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
TAKEN_IN = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/results/ingress.png": "pictures/ingress.png",
}
"""Files of the repository, and what they are called in the site."""
_LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#:\s]+)(?P<anchor>#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    from mkdocs.structure.files import File

    for path, name in TAKEN_IN.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    own = page.file.src_uri
    path = next((path for path, name in TAKEN_IN.items() if name == own), f"docs/{own}")

    def link(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match["target"]))
        name = TAKEN_IN.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
        if name is not None and files.get_file_from_path(name) is not None:
            relative = posixpath.relpath(name, posixpath.dirname(own) or ".")
            return f"{match['picture']}[{match['text']}]({relative}{match['anchor'] or ''})"
        return match["text"] if (ROOT / target).exists() else match[0]

    return _LINK.sub(link, markdown)
