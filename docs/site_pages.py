"""A hook of mkdocs: the README and its neighbours become pages of the site, as they stand."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files of the repository's root, and the pages that they become."""

LINK = re.compile(r"\]\(([^)#\s]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, with their links as seen from the folder of the documentation."""
    for name, page in PAGES.items():
        text = LINK.sub(_moved, (ROOT / name).read_text(encoding="utf-8"))
        files.append(File.generated(config, page, content=text))
    return files


def _moved(link: re.Match[str]) -> str:
    target = link[1]
    return f"]({PAGES.get(target, target.removeprefix('docs/'))}"
