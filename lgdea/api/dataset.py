"""Map-style dataset over the studies or images of an archive (public as :mod:`lgdea.data`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lgdea.api.evidence import Evidence
from lgdea.api.extraction import load_evidence
from lgdea.errors import DataError, UsageError
from lgdea.evidence.coverage import reports_asked
from lgdea.evidence.schema import Unit
from lgdea.imaging.cache import build_cache
from lgdea.imaging.frames import ImageCache
from lgdea.imaging.geometry import fit
from lgdea.imaging.read import read_image
from lgdea.imaging.transforms import Preprocess
from lgdea.records.archive import Archive
from lgdea.records.pairing import read_pairing
from lgdea.records.schema import Split

Per = Literal["image", "study"]
Transform = Callable[[Tensor], Tensor]


class Item(TypedDict):
    """One item: an image with its report, an image alone, or a report alone.

    Attributes:
        image: ``(1, S, S)`` float32, normalised; zeros where there is no image.
        text: The raw report; empty where there is none.
        has_image: Whether there is an image.
        has_text: Whether there is a report.
        linked: Whether image and report are there and belong together.
        study_id, image_id, report_id: Ids; empty where there is none.
        split: ``train``, ``val`` or ``test``.
        units: Evidence of the report; only with ``evidence``.
        findings: ``(F,)`` float32: 1 present, 0 absent, NaN no information; only with ``evidence``.
    """

    image: Tensor
    text: str
    has_image: bool
    has_text: bool
    linked: bool
    study_id: str
    image_id: str
    report_id: str
    split: str
    units: NotRequired[list[Unit]]
    findings: NotRequired[Tensor]


class Batch(TypedDict):
    """A batch of items.

    Attributes:
        image: ``(B, 1, S, S)`` float32.
        text: B raw reports; empty where there is none.
        has_image, has_text, linked: ``(B,)`` booleans.
        study_id, image_id, report_id, split: B strings each.
        units: Evidence of each report; only with ``evidence``.
        findings: ``(B, F)`` float32; only with ``evidence``.
    """

    image: Tensor
    text: list[str]
    has_image: Tensor
    has_text: Tensor
    linked: Tensor
    study_id: list[str]
    image_id: list[str]
    report_id: list[str]
    split: list[str]
    units: NotRequired[list[list[Unit]]]
    findings: NotRequired[Tensor]


class ArchiveDataset(Dataset[Item]):
    """A map-style dataset over the studies or images of an archive; it can be pickled for worker processes.

    Args:
        archive: Archive or its folder.
        split: ``train``, ``val`` or ``test``; None takes all studies.
        evidence: Evidence of its reports, or its folder; adds ``units`` and ``findings`` to the items.
        pairing: Which studies are linked: a frame of :func:`lgdea.make_pairing` or its file. None links all that have
            both sides. Images and reports of other studies are items of their own.
        linked: True keeps linked items only, False the others only, None all.
        per: ``image``: an item per image, with the study's first report; ``study``: only the first image of a study.
        image_size: Side S of the square input in pixels; not with ``preprocess``.
        preprocess: How an image becomes a tensor, such as ``model.preprocess``; by default the whole image,
            letterboxed, with grey values 0..1 brought to (x - 0.5) / 0.25.
        transform: Function of ``(1, S, S)`` float32 in [0, 1], applied to an image before it is normalised. No flips:
            reports say left and right.
        cache: Folder of resized images, filled once and then memory-mapped; images that cannot be read are left out.
            None reads the source file at each access.
        cache_workers: Processes that fill the cache.
        findings: The F findings of an item's ``findings``; by default those that the evidence states.

    Attributes:
        findings: Names of the F findings; empty without evidence.
        preprocess: The preprocessing.

    Raises:
        UsageError: An input is missing or unfinished, the evidence is of another archive, or both ``image_size`` and
            ``preprocess`` are given.
        DataError: The pairing is of another archive.

    Example:
        >>> dataset = lgdea.data.ArchiveDataset(archive, "train", image_size=64)
        >>> item = dataset[0]
        >>> item["image"].shape, item["linked"], item["text"] == dataset.texts[0]
        (torch.Size([1, 64, 64]), True, True)
    """

    def __init__(
        self,
        archive: Archive | str | Path,
        split: Split | None = None,
        *,
        evidence: Evidence | str | Path | None = None,
        pairing: pd.DataFrame | str | Path | None = None,
        linked: bool | None = None,
        per: Per = "image",
        image_size: int | None = None,
        preprocess: Preprocess | None = None,
        transform: Transform | None = None,
        cache: str | Path | None = None,
        cache_workers: int = 2,
        findings: Sequence[str] | None = None,
    ) -> None:
        if image_size is not None and preprocess is not None:
            raise UsageError("both image_size and preprocess are given", remedy="preprocess says the size")
        archive = archive if isinstance(archive, Archive) else Archive.open(archive)
        self.preprocess = preprocess or Preprocess(size=image_size or 224)
        self.transform = transform
        self._cache_folder = None if cache is None else Path(cache)
        self._cache: ImageCache | None = None
        items = _list_items(archive, split, pairing, per)
        if linked is not None:
            items = items[items["linked"] == linked]
        if cache is not None:
            items = self._fill_cache(archive, items, cache_workers)
        self._bits = archive.image_bits
        paths = [str(archive.image_path(i)) if i else "" for i in items["image_id"]]
        self._items = items.assign(path=paths).reset_index(drop=True)
        self.findings: list[str] = []
        self._units: pd.DataFrame | None = None
        if evidence is not None:
            self._add_evidence(open_evidence(evidence, archive), findings)

    def _fill_cache(self, archive: Archive, items: pd.DataFrame, workers: int) -> pd.DataFrame:
        assert self._cache_folder is not None
        wanted = [(i, archive.image_path(i)) for i in items["image_id"] if i]
        size, mode = self.preprocess.size, self.preprocess.mode
        self._cache = build_cache(wanted, self._cache_folder, size, workers, mode=mode, bits=archive.image_bits)
        self._cache.warn_of_missing([image for image, _ in wanted])
        readable = np.array([not i or i in self._cache for i in items["image_id"]], dtype=bool)
        return items[readable]

    def _add_evidence(self, evidence: Evidence, findings: Sequence[str] | None) -> None:
        labels = evidence.findings()
        self.findings = [str(name) for name in (labels.columns if findings is None else findings)]
        labels = labels.reindex(index=self._items["report_id"], columns=self.findings)
        self._labels = torch.tensor(labels.to_numpy(np.float32))
        units = evidence.to_frame()
        self._units = units[units["report_id"].isin(self._items["report_id"])].reset_index(drop=True)
        self._unit_rows = dict(self._units.groupby("report_id", sort=False).indices)

    def __len__(self) -> int:
        return len(self._items)

    @property
    def texts(self) -> list[str]:
        """Raw report of each item; empty where there is none."""
        return list(self._items["text"])

    def __getitem__(self, index: int) -> Item:
        """Read one item.

        Raises:
            ImageError: Its image cannot be read.
        """
        row = self._items.iloc[index]
        size = self.preprocess.size
        item: Item = {
            "image": self._image(row) if row["image_id"] else torch.zeros(1, size, size),
            "text": row["text"],
            "has_image": bool(row["image_id"]),
            "has_text": bool(row["report_id"]),
            "linked": bool(row["linked"]),
            "study_id": row["study_id"],
            "image_id": row["image_id"],
            "report_id": row["report_id"],
            "split": row["split"],
        }
        if self._units is not None:
            item["units"] = list(Evidence(self._units.iloc[self._unit_rows.get(row["report_id"], [])]))
            item["findings"] = self._labels[index]
        return item

    def _image(self, row: pd.Series) -> Tensor:
        if self._cache_folder is not None:
            if self._cache is None:
                self._cache = ImageCache(self._cache_folder)
            frame = self._cache[self._cache.index([row["image_id"]])][0]
        else:
            pixels = read_image(row["path"], bits=self._bits.get(row["image_id"])).pixels
            frame, _ = fit(np.asarray(pixels), self.preprocess.size, self.preprocess.mode)
        image = torch.from_numpy(np.array(frame))[None]
        image = image.float() / 255 if image.dtype == torch.uint8 else image.float()
        if self.transform is not None:
            image = self.transform(image)
        return self.preprocess.normalise(image)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory map out: a worker process opens its own."""
        return {**self.__dict__, "_cache": None}

    def __repr__(self) -> str:
        images, texts = (self._items["image_id"] != "").sum(), (self._items["report_id"] != "").sum()
        linked = self._items["linked"].sum()
        return f"ArchiveDataset({len(self)} items: {images} images, {texts} reports, {linked} linked pairs)"


def collate(items: Sequence[Item]) -> Batch:
    """Make a batch of items.

    Args:
        items: B items of one :class:`ArchiveDataset`.

    Returns:
        The batch; see :class:`Batch` for the shapes.

    Example:
        >>> dataset = lgdea.data.ArchiveDataset(archive, "val", image_size=64)
        >>> batch = lgdea.data.collate([dataset[0], dataset[1]])
        >>> batch["image"].shape, batch["linked"]
        (torch.Size([2, 1, 64, 64]), tensor([True, True]))
    """
    columns: dict[str, Any] = {key: [item[key] for item in items] for key in items[0]}  # type: ignore[literal-required]
    for key in ("image", "findings"):
        if key in columns:
            columns[key] = torch.stack(columns[key])
    for key in ("has_image", "has_text", "linked"):
        columns[key] = torch.tensor(columns[key])
    return columns  # type: ignore[return-value]


def _list_items(
    archive: Archive, split: Split | None, pairing: pd.DataFrame | str | Path | None, per: Per
) -> pd.DataFrame:
    """List the items: ``study_id image_id report_id text linked split``, study by study in the archive's order."""
    if per not in ("image", "study"):
        raise UsageError(f"per is {per!r}", remedy="choose image or study")
    studies = archive.studies[["study_id", "split"]]
    if split is not None:
        studies = studies[studies["split"] == split]
    order = pd.Series(range(len(studies)), index=studies["study_id"])
    images = archive.images.loc[archive.images["study_id"].isin(order.index), ["study_id", "image_id"]]
    reports = archive.reports.loc[archive.reports["study_id"].isin(order.index), ["study_id", "report_id", "text"]]
    if per == "study":
        images = images.drop_duplicates("study_id")
    both = set(images["study_id"]) & set(reports["study_id"])
    if pairing is not None:
        both &= _linked_studies(archive, pairing)
    first_report = reports[reports["study_id"].isin(both)].drop_duplicates("study_id")
    items = pd.concat(
        [images.merge(first_report, on="study_id", how="left"), reports[~reports["study_id"].isin(both)]],
        ignore_index=True,
    )
    items["linked"] = items["study_id"].isin(both)
    items = items.merge(studies, on="study_id").fillna({"image_id": "", "report_id": "", "text": "", "split": ""})
    return items.iloc[np.argsort(items["study_id"].map(order), kind="stable")]


def open_evidence(evidence: Evidence | str | Path, archive: Archive) -> Evidence:
    """Open evidence and refuse that of another archive."""
    evidence = evidence if isinstance(evidence, Evidence) else load_evidence(evidence)
    if evidence.folder is not None:
        reports_asked(evidence.folder, archive)
    elif not archive.reports["report_id"].isin(evidence.report_ids).any():
        raise UsageError("the evidence is of other reports than this archive's", remedy="extract this archive")
    return evidence


def _linked_studies(archive: Archive, pairing: pd.DataFrame | str | Path) -> set[str]:
    source = None if isinstance(pairing, pd.DataFrame) else pairing
    frame = pairing if isinstance(pairing, pd.DataFrame) else read_pairing(pairing)
    unknown = frame.loc[~frame["study_id"].isin(archive.studies["study_id"]), "study_id"]
    if len(unknown):
        raise DataError(
            f"the pairing names a study that the archive {archive.name!r} lacks",
            file=source,
            row=str(unknown.iloc[0]),
            remedy="pair it again",
        )
    return set(frame.loc[frame["state"] == "paired", "study_id"])
