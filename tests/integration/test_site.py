"""The built documentation: no request to another host, no dead link or anchor, every public name in its reference."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import lgdea

ROOT = Path(__file__).resolve().parents[2]
LOADED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}
_CSS_URL = re.compile(r"url\((?!data:)[\"']?([^)\"']+)|@import\s+[\"']([^\"']+)")


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag in LOADED and LOADED[tag] in given and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given[LOADED[tag]])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, _Page]:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {file: _Page(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob("*.html"))}


def test_nothing_is_loaded_from_another_host(site: dict[Path, _Page]) -> None:
    remote = {target for page in site.values() for target in page.loaded if urlsplit(target).netloc}
    folder = min(site, key=lambda file: len(file.parts)).parent
    for sheet in folder.rglob("*.css"):
        urls = ["".join(found) for found in _CSS_URL.findall(sheet.read_text(encoding="utf-8"))]
        remote |= {url for url in urls if urlsplit(url).netloc}
    assert remote == set()


def test_every_link_and_anchor_inside_leads_somewhere(site: dict[Path, _Page]) -> None:
    dead = []
    for file, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or file.name == "404.html":
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in site and anchor not in site[target].anchors):
                dead.append((file.name, link))
    assert dead == []


def test_every_public_name_has_its_reference(site: dict[Path, _Page]) -> None:
    anchors = {anchor for file, page in site.items() if file.parent.name == "api" for anchor in page.anchors}
    names = {f"lgdea.{name}" for name in lgdea.__all__ if not name.startswith("__")}
    for module in ("data", "losses", "metrics"):
        names |= {f"lgdea.{module}.{name}" for name in getattr(lgdea, module).__all__}
    assert names - anchors - {"lgdea.data", "lgdea.losses", "lgdea.metrics"} == set()
