"""The phantom as a dataset: ``lgdea data build phantom default --out archives/phantom``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgdea.config import read_yaml
from lgdea.phantom.generate import NAME, generate
from lgdea.progress import show_progress
from lgdea.records.archive import Archive

DEFAULT = "default"


class PhantomAdapter:
    """Builds a phantom archive from a YAML file of settings or from none."""

    name = NAME
    card = "phantom"

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """Generate the archive.

        Args:
            source: The literal ``default``, or a YAML file of :func:`~lgdea.phantom.generate.generate` options.
            out: Archive folder.
            options: Laid over those of ``source``, such as ``studies=500`` or ``difficulty="hard"``.
        """
        settings = {} if str(source) == DEFAULT else read_yaml(source)
        with show_progress("drawing studies") as progress:
            return generate(out, progress=progress, **{**settings, **options})


ADAPTER = PhantomAdapter()
