"""For mkdocs: pages of the site that are kept at the root of the repository, with their links made for the site."""

import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
COPIED = ("CITATION.cff",)


def on_files(files, config):
    """Add them."""
    for source, target in PAGES.items():
        text = re.sub(r"\]\(([^)#]+)", _link, (ROOT / source).read_text())
        files.append(File.generated(config, target, content=text))
    for name in COPIED:
        files.append(File.generated(config, name, content=(ROOT / name).read_text()))
    return files


def _link(match: re.Match[str]) -> str:
    target = match[1].removeprefix("docs/")
    return "](" + PAGES.get(target, target)
