"""The documentation site: it builds without a warning, every link and picture is there, and nothing is fetched."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import jaxkin as jk

ROOT = Path(__file__).resolve().parents[1]
CODE = re.compile(r"<(pre|code)\b.*?</\1>", re.S)
RAW = re.compile(r":(?:class|func|meth|mod):`|\]\[jaxkin\.|^>>> ", re.M)


class Page(HTMLParser):
    """Anchors, and what is linked or loaded."""

    def __init__(self, text: str):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        if tag in ("img", "script", "link", "iframe", "source"):
            self.loaded += [values[key] for key in ("src", "href") if values.get(key)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocstrings", reason="the site is built by mkdocs: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return {path.relative_to(folder).as_posix(): Page(path.read_text()) for path in folder.rglob("*.html")}, folder


def test_every_link_anchor_and_picture_is_there(site):
    pages, folder = site
    broken = []
    for name, page in pages.items():
        if name == "404.html":  # its links start at the root of a server
            continue
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (folder / name).parent / unquote(parts.path) if parts.path else folder / name
            if target.is_dir():
                target = target / "index.html"
            key = target.resolve().relative_to(folder.resolve()).as_posix()
            there = target.is_file() and (not parts.fragment or unquote(parts.fragment) in pages[key].anchors)
            if not there:
                broken.append(f"{name}: {link}")
    assert not broken, "\n".join(broken)
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_nothing_is_fetched_in_reading(site):
    pages, folder = site
    assert not {link for page in pages.values() for link in page.loaded if urlsplit(link).netloc}
    styles = "".join(path.read_text() for path in folder.rglob("*.css"))
    assert not re.search(r"url\(['\"]?(?:https?:)?//", styles)


def test_every_public_name_is_in_the_reference(site):
    """By its name in ``jaxkin``, and its docstring as a reader expects it: code as code, references as links."""
    pages, folder = site
    reference = {name: page for name, page in pages.items() if name.startswith("reference/")}
    anchors = set().union(*(page.anchors for page in reference.values()))
    modules = {"models", "quantum", "symmetry"}  # whose functions are there
    assert {f"jaxkin.{name}" for name in set(jk.__all__) - modules} <= anchors
    for name in reference:
        prose = CODE.sub("", (folder / name).read_text())
        assert not RAW.search(prose), f"{name}: {RAW.search(prose)[0]}"
