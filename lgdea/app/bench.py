"""What one process of the app works with: a model, an archive, evidence and runs, each loaded once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lgdea.app.uploads import require_size
from lgdea.errors import DataError, UsageError
from lgdea.imaging.read import PixelImage
from lgdea.models.folders import model_folder, require_model
from lgdea.models.hub import names_repository
from lgdea.records.archive import Archive
from lgdea.vocabulary import Vocabulary, load_vocabulary, using_vocabulary
from lgdea.vocabulary.extension import vocabulary_of

if TYPE_CHECKING:
    from lgdea.comparison.change.model import ChangeModel
    from lgdea.comparison.entity.model import EntityModel
    from lgdea.evaluation.encoders.protocol import EvaluableModel


@dataclass(frozen=True)
class AppSettings:
    """What the app was started with.

    Attributes:
        model: Model folder, or a name that ``lgdea eval`` takes.
        archive: Archive folder.
        evidence: Evidence folder of the archive's reports; None: nothing to review, and no references by evidence.
        against: Evidence of the same reports by another reader; what the two differ in is reviewed first.
        doubts: Spreadsheet of ``lgdea data doubt-links``.
        runs: Folder that holds run and results folders.
        reviews: Folder of the reviewers' files.
        url: Server of a language model on this machine; None: the rules alone read reports.
        language_model: Name under which it is served.
        prompt: Prompt id or folder for it.
    """

    model: str
    archive: Path
    evidence: Path | None = None
    against: Path | None = None
    doubts: Path | None = None
    runs: Path | None = None
    reviews: Path = Path("reviews")
    url: str | None = None
    language_model: str | None = None
    prompt: str | None = None


class Bench:
    """The loaded parts; models are read when they are first asked for, one request at a time.

    Args:
        settings: What the app was started with.

    Raises:
        UsageError: A folder is missing or unfinished.
    """

    def __init__(self, settings: AppSettings) -> None:
        self.settings = settings
        self.archive = ShownArchive.open(settings.archive)
        self._lock = threading.RLock()
        self._models: dict[str, Any] = {}

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """That of the model, else of the evidence, whichever has a site's lexicon."""
        folders = [self.model_folder, self.settings.evidence]
        found = (vocabulary_of(folder) for folder in folders if folder is not None)
        return next((one for one in found if one.site is not None), None) or load_vocabulary()

    @property
    def model_folder(self) -> Path | None:
        """The folder of the model, None where another library's model was named."""
        folder = model_folder(self.settings.model)  # of a run the model in it
        return folder if folder.is_dir() else None

    def require_model(self) -> None:
        """Say at once that the named model is not there, not when somebody asks for it.

        Raises:
            UsageError: There is no such folder, or it holds no model.
        """
        name = self.settings.model
        if ":" not in name and not names_repository(name):
            require_model(name, remedy="check the path, or write timm:NAME, hf:NAME, open_clip:NAME (docs/encoders.md)")

    @contextmanager
    def working(self, *, alone: bool = True) -> Iterator[None]:
        """Answer one request with the vocabulary that the model was trained with.

        Args:
            alone: If true, no other request uses the models meanwhile.
        """
        held: AbstractContextManager[Any] = self._lock if alone else nullcontext()
        with held, using_vocabulary(self.vocabulary):
            yield

    @property
    def model(self) -> EvaluableModel:
        """The model with an image and a text side.

        Raises:
            UsageError: There is no such model, or it has no text side.
        """
        from lgdea.api.evaluation import resolve_model
        from lgdea.evaluation.encoders.protocol import as_evaluable

        return self._once("model", lambda: as_evaluable(resolve_model(self.settings.model)))

    @property
    def entity_model(self) -> EntityModel | None:
        """The model with its entity head, None where the folder has none."""
        return self._head("entity")

    @property
    def change_model(self) -> ChangeModel | None:
        """The model with its change head, None where the folder has none."""
        return self._head("change")

    def has_head(self, name: str) -> bool:
        """Whether the model folder has the head ``entity`` or ``change``."""
        return self.model_folder is not None and (self.model_folder / f"{name}_head.json").is_file()

    def _head(self, name: str) -> Any:
        if not self.has_head(name):
            return None
        if name == "entity":
            from lgdea.comparison.entity.train import load_entity_model as load
        else:
            from lgdea.comparison.change.train import load_change_model as load  # type: ignore[assignment]
        return self._once(name, lambda: load(str(self.model_folder), _device()))

    def _once(self, name: str, make: Any) -> Any:
        with self._lock:
            if name not in self._models:
                self._models[name] = make()
            return self._models[name]

    # -- images of the archive -----------------------------------------------------------------------------------

    @cached_property
    def image_ids(self) -> list[str]:
        """Ids of the archive's images; those of the test split first, as no model has seen them."""
        images = self.archive.images[["image_id", "study_id"]].merge(
            self.archive.studies[["study_id", "split"]], on="study_id", how="left"
        )
        order = images["split"].map({"test": 0, "val": 1}).fillna(2)
        return images.assign(order=order).sort_values("order", kind="stable")["image_id"].tolist()

    def find_image(self, text: str) -> str:
        """The id of an image by its id, or by a part of it that no other has.

        Args:
            text: What was typed.

        Raises:
            UsageError: No image, or several, have it.
        """
        if not self.image_ids:
            raise UsageError("the archive has no images", remedy="start the app with one that has")
        return find_id(text, self.image_ids, "image", self._known_images)

    @cached_property
    def _known_images(self) -> frozenset[str]:
        return frozenset(self.image_ids)

    def read_pixels(self, image_id: str) -> np.ndarray:
        """Read an image of the archive, (H, W) in [0, 1].

        Args:
            image_id: Its id.

        Raises:
            DataError: It cannot be read, or lies outside the archive's image folder.
        """
        return self.archive.read_image(image_id).pixels


class ShownArchive(Archive):
    """An archive whose pictures are shown to people: none from outside its image folder, and none of any size."""

    def image_path(self, image: str | Mapping[str, Any] | pd.Series) -> Path:
        """The file of an image.

        Args:
            image: Image id, or a row of ``images``.

        Raises:
            DataError: No image has this id, or the archive's tables, or a link, lead out of its image folder.
        """
        file = super().image_path(image)
        if not file.resolve().is_relative_to(self.image_root.resolve()):
            name = image if isinstance(image, str) else image["image_id"]
            raise DataError(
                f"image {name} lies outside the archive's image folder", file="images.parquet",
                remedy="build the archive again with the folder that holds it",
            )  # fmt: skip
        return file

    def read_image(self, image_id: str) -> PixelImage:
        """Read an image that claims no more pixels than an upload may.

        Args:
            image_id: Its id.

        Raises:
            DataError: No image has this id, it lies elsewhere, claims too many pixels, or cannot be read.
        """
        file = self.image_path(image_id)
        require_size(file, file.name)
        return super().read_image(image_id)


def find_id(text: str, ids: list[str], what: str, known: frozenset[str] | None = None) -> str:
    """An id by itself, or by a part that no other id has.

    Args:
        text: What was typed.
        ids: All ids.
        what: What they are of, for the message.
        known: The same as a set, where it is at hand.

    Raises:
        UsageError: None, or several, have it.
    """
    from difflib import get_close_matches

    text = text.strip()
    if not text:
        raise UsageError(f"no {what} is chosen", remedy=f"choose one, or write a part of its id, such as {ids[0]}")
    if text in (known if known is not None else ids):
        return text
    found = [one for one in ids if text.lower() in one.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"{len(found)} {what}s have {text[:60]!r} in their id", remedy=f"write more of it: {found[0]}")
    near = get_close_matches(text, ids[:20_000], n=1)
    remedy = f"did you mean {near[0]}?" if near else f"write an id such as {ids[0]}"
    raise UsageError(f"the archive has no {what} {text[:60]!r}", remedy=remedy)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
