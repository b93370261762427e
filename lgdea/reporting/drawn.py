"""What outcomes that are shown as a sheet of cases have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from lgdea.reporting.cases import CaseSheet


class Drawn(ABC):
    """Base of an outcome with a :attr:`sheet`."""

    @property
    @abstractmethod
    def sheet(self) -> CaseSheet:
        """Pictures side by side, with what is said of each."""

    def draw(self, *, side: int = 256) -> Image.Image:
        """Draw :attr:`sheet`.

        Args:
            side: Longer side of each picture in pixels.
        """
        return self.sheet.draw(side=side)

    def write(self, out: str | Path) -> Path:
        """Write :attr:`sheet` as a picture (``.png``) or a self-contained page (``.html``).

        Args:
            out: The file.

        Raises:
            UsageError: Another ending.
        """
        from lgdea.reporting.case_page import write_sheet

        return write_sheet(self.sheet, out)
