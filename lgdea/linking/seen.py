"""Which links a pretrained model has been trained on, as its run folder tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgdea.errors import UsageError
from lgdea.manifests import read_manifest
from lgdea.models.hub import names_repository
from lgdea.records.archive import Archive
from lgdea.records.pairing import read_pairing
from lgdea.runs import MANIFEST, fingerprint


def refuse_seen_links(model: str | Path, archive: Archive, linked: set[str]) -> str | None:
    """Refuse a model that was trained on links that it is to judge: it has learned that these pairs belong together.

    Args:
        model: Model folder, or the name of another library's model.
        archive: The archive whose links are judged.
        linked: Studies whose links are judged.

    Returns:
        What cannot be known about the model's training, None when it is known that it has seen none of the links.

    Raises:
        UsageError: It was trained on some of them.
    """
    folder = Path(model)
    if not folder.is_dir():
        return (
            "it is from the Hub, so it is not known which links it was trained on" if names_repository(model) else None
        )
    run = _pretraining_of(folder)
    if run is None:
        return "its run folder is not beside it, so it is not known which links it was trained on"
    hashes, inputs = run.get("input_hashes", {}), run.get("inputs", {})
    if hashes.get("archive") != fingerprint(archive.folder):
        return None
    file = Path(inputs.get("pairing", ""))
    if not file.is_file() or fingerprint(file) != hashes.get("pairing"):
        return f"it was trained on this archive, with a pairing that is no longer at {file}"
    pairing = read_pairing(file)
    seen = linked & set(pairing.loc[pairing["state"] == "paired", "study_id"])
    if seen:
        raise UsageError(
            f"was trained on {len(seen):,} of the {len(linked):,} links that it is to judge",
            file=folder,
            remedy="give a model that has not seen them: of before the pretraining, or pretrained on other links",
        )
    return None


def _pretraining_of(folder: Path) -> dict[str, Any] | None:
    """The record of the pretraining whose model, or embeddings, stand in ``folder``; None when there is none."""
    for place in (folder, folder.resolve().parent):
        file = place / MANIFEST
        if not file.is_file():
            continue
        run = read_manifest(file)
        if run.get("stage") == "pretrain":
            return run
        if run.get("stage") == "embed" and "model" in run.get("inputs", {}):
            return _pretraining_of(Path(run["inputs"]["model"]))
    return None
