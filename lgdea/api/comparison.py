"""Reading by comparison in Python: train an entity head, find cases like one with respect to an entity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgdea.comparison.entity.entities import parse_entity
from lgdea.config import Config, load_config, read_yaml
from lgdea.errors import ConfigError, DataError, UsageError
from lgdea.models.hub import find_model
from lgdea.records.archive import Archive
from lgdea.records.schema import check_split
from lgdea.shipped import config_files

if TYPE_CHECKING:
    from lgdea.comparison.config import ComparisonConfig
    from lgdea.comparison.entity.model import EntityModel
    from lgdea.reporting.found_cases import Cases


def train_comparison(
    model: str | Path, archive: str | Path | Archive, evidence: str | Path, out: str | Path,
    config: str | Path | Sequence[str | Path] = "entity", **settings: Any,
) -> Path:  # fmt: skip
    """Train a head that reads by comparison on a pretrained model; the same call resumes a run that was stopped.

    Args:
        model: Folder of the pretrained model, which stays as it is, or ``ORG/NAME`` of the Hub.
        archive: Archive or its folder; its studies must be split.
        evidence: Evidence folder of its reports.
        out: Run folder.
        config: Names of shipped configurations or YAML files, later ones win; their ``task`` says which head.
        settings: Settings that win over ``config``, as nested mappings: ``trainer={"max_steps": 2000}, seed=1``.

    Returns:
        The model folder, ``out/model``: the pretrained model and its head.

    Raises:
        ConfigError: A setting does not exist or has a wrong value.
        UsageError: An input is missing or unfinished, or ``out`` holds another run.
        DataError: The inputs do not fit each other.
        TrainingError: The loss is not a number, or training was stopped.

    Example:
        >>> evidence = lgdea.extract(archive).save(folder / "compare-evidence")
        >>> base = lgdea.save_model(model, folder / "compare-base")
        >>> trainer = {"max_steps": 1, "accelerator": "cpu"}
        >>> small = {"data": {"images_per_part": 6, "least_images": 2}, "trainer": trainer}
        >>> trained = lgdea.train_comparison(base, archive, evidence, folder / "compare-run", **small)
        >>> sorted(file.name for file in trained.glob("entity*"))
        ['entity_head.json', 'entity_head.safetensors']
    """
    names = [config] if isinstance(config, str | Path) else list(config)
    folder = archive.folder if isinstance(archive, Archive) else Path(archive)
    given = {"model": model, "data": {"archive": folder, "evidence": evidence}}
    return run_comparison(config_files("compare", [str(name) for name in names]), [settings, given], out)


def run_comparison(files: Sequence[Path], overrides: Sequence[str | Mapping[str, Any]], out: str | Path) -> Path:
    """Train the head that the configuration's ``task`` names; see :func:`train_comparison`."""
    cls, train = _tasks(files)
    config = load_config(cls, files, overrides)
    base = find_model(str(config.model)).folder  # a model of the Hub is pinned by its place in the cache
    return train(config.model_copy(update={"model": base}), out)


def _tasks(files: Sequence[Path]) -> tuple[type[ComparisonConfig], Any]:
    from lgdea.comparison.entity.config import EntityConfig

    task = next((content["task"] for file in reversed(files) if "task" in (content := read_yaml(file))), None)
    if task == "entity":
        from lgdea.comparison.entity.train import train_entity_head

        return EntityConfig, train_entity_head
    if task == "change":
        from lgdea.comparison.change.config import ChangeTrainingConfig
        from lgdea.comparison.change.train import train_change_head

        return ChangeTrainingConfig, train_change_head
    remedy = "use `lgdea compare finetune`" if task == "finetune" else "task: entity or change"
    raise ConfigError(f"task: {task!r} is no comparison", file=files[-1] if files else None, remedy=remedy)


def config_class(task: str) -> type[Config]:
    """The configuration of a task of ``lgdea compare train``, or of ``lgdea compare finetune``.

    Raises:
        UsageError: There is no such task.
    """
    from lgdea.comparison.change.config import ChangeTrainingConfig
    from lgdea.comparison.entity.config import EntityConfig
    from lgdea.comparison.finetune.config import FinetuneConfig

    classes: dict[str, type[Config]] = {
        "entity": EntityConfig, "change": ChangeTrainingConfig, "finetune": FinetuneConfig,
    }  # fmt: skip
    if task not in classes:
        raise UsageError(f"no comparison task {task!r}", remedy=f"choose one of {', '.join(classes)}")
    return classes[task]


def find_cases(
    model: str | Path | EntityModel,
    archive: str | Path | Archive,
    image: str,
    entity: str,
    *,
    top: int = 5,
    split: str = "all",
    same_modality: bool = True,
    device: str | None = None,
) -> Cases:
    """Find the cases of other patients that are most like an image with respect to an entity.

    Args:
        model: Model folder with an entity head, or the loaded model.
        archive: Archive or its folder.
        image: Id of the query image in the archive.
        entity: What cases are to agree in, any words: ``left pleural effusion``.
        top: Number of cases.
        split: Part of the archive that is searched: ``train``, ``val``, ``test`` or ``all``.
        same_modality: If true, only cases of the query's modality.
        device: Where to put a model given by its folder; a GPU when there is one.

    Returns:
        The cases, best first; ``.draw()`` shows them.

    Raises:
        UsageError: The entity means nothing, the archive has no such image, or the model has no entity head.
        DataError: There is no other patient, or the query cannot be read.

    Example:
        >>> from lgdea.comparison.entity.model import EntityModel
        >>> image = archive.images["image_id"].iloc[0]
        >>> found = lgdea.find_cases(EntityModel.create(model), archive, image, "left pleural effusion", top=3)
        >>> found.entity.finding, len(found.cases), found.query.image_id == image
        ('pleural_effusion', 3, True)
        >>> found.draw(side=96).mode
        'RGB'
    """
    from lgdea.reporting.found_cases import CaseSearch

    opened = archive if isinstance(archive, Archive) else Archive.open(archive)
    asked = parse_entity(entity)  # before a model is loaded
    check_split(split)
    query, candidates = _gallery(opened, image, split, same_modality)
    loaded = _load(model, device) if isinstance(model, str | Path) else model
    search = CaseSearch(loaded, opened, [query["image_id"], *candidates["image_id"]], [asked])
    return search.find(query, asked, candidates, top)


def _load(model: str | Path, device: str | None) -> EntityModel:
    import torch

    from lgdea.comparison.entity.train import load_entity_model

    return load_entity_model(model, device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _gallery(archive: Archive, image: str, split: str, same_modality: bool) -> tuple[Any, Any]:
    """The query's row and those of its candidates: ``image_id, study_id, patient_id, modality``."""
    from difflib import get_close_matches

    every = archive.images[["image_id", "study_id", "modality"]].merge(
        archive.studies[["study_id", "patient_id", "split"]], on="study_id"
    )
    row = every[every["image_id"] == image]
    if row.empty:
        near = get_close_matches(image, every["image_id"].tolist(), n=1)
        remedy = f"did you mean {near[0]}?" if near else "take an image_id of images.parquet"
        raise UsageError(f"has no image {image!r}", file=archive.folder, remedy=remedy)
    query = row.iloc[0]
    kept = every[every["patient_id"] != query["patient_id"]]
    if kept.empty:
        remedy = "cases are those of other patients: choose a larger archive"
        raise DataError("has only one patient", file=archive.folder, remedy=remedy)
    if split != "all":
        kept = kept[kept["split"] == split]
    if same_modality:
        kept = kept[kept["modality"] == query["modality"]]
    if kept.empty:
        raise DataError(
            f"the {split} split has no {query['modality']} image of another patient",
            file=archive.folder,
            remedy="choose another split or modality",
        )
    return query, kept.reset_index(drop=True)
