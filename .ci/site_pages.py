"""Hook of mkdocs: pages that stand beside ``docs/`` in the repository join the site, and links to them lead there."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ["CONTRIBUTING.md", "CHANGELOG.md", "prompts/README.md", "data_cards/*.md"]
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s]+)(?=\))")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of ``BESIDE`` under the paths that they have in the repository."""
    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Lead links that are right in the repository to the same page of the site."""
    here = page.file.src_uri
    generated = (ROOT / "docs" / here).exists() is False
    folder = posixpath.dirname(here if generated else f"docs/{here}")

    def lead(link: re.Match[str]) -> str:
        target, _, anchor = link[1].partition("#")
        in_repository = posixpath.normpath(posixpath.join(folder, target))
        on_site = in_repository.removeprefix("docs/")
        if not target or files.get_file_from_path(on_site) is None:
            return link[0]
        return posixpath.relpath(on_site, posixpath.dirname(here) or ".") + (f"#{anchor}" if anchor else "")

    return _LINK.sub(lead, markdown)
