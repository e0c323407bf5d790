"""The documentation builds as a site, and its links lead somewhere there too."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.release.dependencies import ROOT


def test_the_site_builds_without_a_warning_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    site = tmp_path / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    pages = {path.relative_to(site).as_posix(): path.read_text("utf-8") for path in site.glob("*.html")}
    assert {"index.html", "guarantees.html", "releasing.html", "changelog.html"} <= pages.keys()
    assert 'href="workflows.html#learning-path"' in pages["index.html"]
    for name, page in pages.items():
        targets = re.findall(r'(?:href|src)="([^"#:?]+)[^":]*"', page)
        assert [target for target in targets if not target.startswith("/") and not (site / target).exists()] == [], name
