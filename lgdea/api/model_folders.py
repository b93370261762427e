"""Model folders: what they are, and their cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lgdea.errors import UsageError
from lgdea.evaluation.results.identity import model_identity
from lgdea.models.card import Metric
from lgdea.models.hub import CARD, card_head, find_model, list_model_files, read_provenance
from lgdea.models.model_folder import count_parameters, read_config, write_card
from lgdea.models.provenance import sections_of_run


def write_model_card(
    model: str | Path,
    *,
    license: str = "",
    results: Sequence[str | Path] = (),
    tags: Sequence[str] = (),
    out: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Write the card of a model folder: where it comes from, how good it was, its licence and its limits.

    The card has the head that the Hugging Face Hub reads. Nothing else in the folder is changed.

    Args:
        model: Model folder.
        license: Identifier of the Hub's list (``apache-2.0``, ``cc-by-nc-4.0``), or ``other``. By default what the
            present card says; none is invented.
        results: Results folders of this model; their values over all classes go into the card, with their intervals.
        tags: Tags beside the usual ones.
        out: File to write; by default the folder's README.md.
        force: Replace a card that a person has changed.

    Returns:
        The file.

    Raises:
        UsageError: There is no such model, the results are of another one, or a person has changed the card.

    Example:
        >>> place = lgdea.save_model(model, folder / "with-card")
        >>> _ = lgdea.evaluate(str(place), archive, tasks=["grounding"], out=folder / "with-card-results")
        >>> card = lgdea.write_model_card(place, license="cc-by-nc-4.0", results=[folder / "with-card-results"])
        >>> print(card.read_text())
        ---
        library_name: lgdea
        license: cc-by-nc-4.0
        ...
        | grounding | phantom (test) | ... |
        ...
    """
    from lgdea.api.results import load_results

    place = find_model(model)
    identity, metrics = model_identity(str(place.folder)), []
    for folder in results:
        for task, result in load_results(folder).items():
            if result.model_hash != identity:
                raise UsageError(
                    f"the {task} result is of another model ({result.model})",
                    file=folder,
                    remedy=f"evaluate this one: `lgdea eval {task} {model} ARCHIVE --out RESULTS`",
                )
            about = (task, result.archive, result.suite or result.split)
            metrics += [
                Metric(*about, name, v.value, v.low, v.high, v.n, v.definition)
                for name, v in result.metrics.items()
                if v.value == v.value  # not defined: nothing to tell
            ]
    fields = read_provenance(place.folder) or sections_of_run(place.folder.resolve().parent)
    return write_card(
        place.folder,
        license=license,
        tags=tags,
        metrics=metrics,
        fields=fields,
        out=None if out is None else Path(out),
        force=force,
    )


def describe_model(model: str | Path) -> dict[str, Any]:
    """Describe a model folder without loading its weights, after comparing its files with their hashes.

    Args:
        model: Model folder, or ``ORG/NAME`` of the Hugging Face Hub.

    Returns:
        ``name``, ``folder``, ``repo`` and ``revision`` (empty for a local folder), ``format_version``,
        ``lgdea_version``, ``image_tower``, ``text_tower``, ``model`` (settings), ``parameters``, ``bytes``, ``heads``,
        ``license``, ``card`` (its sections) and ``identity`` (sha256 of what it computes with, as in results).

    Raises:
        UsageError: There is no such model.
        DataError: A file is missing or damaged.

    Example:
        >>> place = lgdea.save_model(model, folder / "described")
        >>> found = lgdea.describe_model(place)
        >>> found["name"], found["image_tower"]["name"], found["license"]
        ('described', 'test_resnet', '')
    """
    place = find_model(model)
    config = read_config(place.folder)
    names = list_model_files(place.folder) if "files" in config else sorted(p.name for p in place.folder.iterdir())
    return {
        "name": place.name,
        "folder": str(place.folder),
        "repo": place.repo,
        "revision": place.revision,
        **{key: config.get(key) for key in ("format_version", "lgdea_version", "image_tower", "text_tower", "model")},
        "parameters": count_parameters(place.folder),
        "bytes": sum((place.folder / name).stat().st_size for name in names),
        "heads": [name.removesuffix("_head.json") for name in names if name.endswith("_head.json")],
        "license": str(card_head(place.folder / CARD).get("license") or ""),
        "card": read_provenance(place.folder) or sections_of_run(place.folder.resolve().parent),
        "identity": model_identity(str(place.folder)),
    }
