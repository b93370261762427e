"""Pretraining in Python: an archive, its evidence and its pairing in, a model out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lgdea import runs
from lgdea.config import load_config
from lgdea.errors import UsageError
from lgdea.pretraining.config import PretrainConfig
from lgdea.pretraining.objective_config import OBJECTIVES
from lgdea.records.archive import Archive
from lgdea.records.pairing import read_pairing, write_pairing
from lgdea.shipped import config_files, shipped

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback
    from lightning.pytorch.loggers import Logger

    from lgdea.api.evidence import Evidence
    from lgdea.models.lgdea_model import LgdeaModel

ConfigSource = str | Path | Sequence[str | Path] | Mapping[str, Any] | PretrainConfig


def pretrain(
    archive: str | Path | Archive,
    evidence: str | Path | Evidence | None,
    pairing: str | Path | pd.DataFrame,
    out: str | Path,
    config: ConfigSource = "limited-pairing",
    *,
    logger: Logger | str | Mapping[str, Any] | Iterable[Any] | None = None,
    callbacks: Callback | Iterable[Callback] | None = None,
    **settings: Any,
) -> LgdeaModel:
    """Pretrain an image-text model; the same call resumes a run that was stopped.

    Args:
        archive: Archive or its folder; its studies must be split.
        evidence: Evidence of its reports, or its folder; evidence in memory is saved as ``out/inputs/evidence``. None
            for an objective that needs none (``clip``, ``gloria``).
        pairing: Which studies are linked: a frame of :func:`lgdea.make_pairing`, saved as
            ``out/inputs/pairing.parquet``, or its file.
        out: Run folder: ``config.yaml``, ``metrics.csv``, ``checkpoints/``, ``graph/``, ``model/``.
        config: Name of a shipped configuration (:func:`lgdea.list_configs`), YAML file, several of them (later ones
            win), nested mapping, or :class:`~lgdea.pretraining.config.PretrainConfig`.
        logger: Experiment trackers beside ``metrics.csv``: Lightning loggers, or ``"tensorboard"``, ``"wandb"``,
            ``"mlflow"``.
        callbacks: Further Lightning callbacks.
        settings: Settings that win over ``config``, as nested mappings: ``trainer={"max_steps": 2000},
            objective={"name": "clip"}, seed=1``; `lgdea config show pretrain` lists all.

    Returns:
        The trained model, as ``lgdea.load_model(out + "/model")`` loads it.

    Raises:
        ConfigError: A setting does not exist or has a wrong value.
        UsageError: An input is missing or unfinished, or ``out`` holds another run.
        DataError: The inputs do not fit each other.
        TrainingError: The loss is not a number, the evidence space collapsed, or training was stopped.

    Example:
        >>> model = lgdea.pretrain(
        ...     archive,
        ...     lgdea.extract(archive),
        ...     lgdea.make_pairing(archive, fraction=0.5),
        ...     folder / "run",
        ...     image={"tower": "test_resnet", "size": 64},
        ...     text={"hidden": 32, "layers": 1},
        ...     data={"batch_size_per_device": 8, "cache_workers": 1},
        ...     trainer={"max_steps": 2, "accelerator": "cpu", "precision": "32-true"},
        ... )
        >>> model.embed_phrases(["left pleural effusion"]).shape
        torch.Size([1, 128])
    """
    from lgdea.models.serialization import load_model
    from lgdea.pretraining.fit import fit

    data = {"archive": _archive_folder(archive), "evidence": evidence, "pairing": pairing}
    names = {key: value if isinstance(value, str | Path | None) else out for key, value in data.items()}
    own: Mapping[str, Any] = {}
    files: list[Path] = []
    if isinstance(config, PretrainConfig):
        own = config.model_dump()
    elif isinstance(config, Mapping):
        own = config
    else:
        names_or_files = [config] if isinstance(config, str | Path) else config
        files = config_files("pretrain", [str(name) for name in names_or_files])
    load_config(PretrainConfig, files, [own, settings, {"data": names}])  # before anything is written
    data["evidence"] = _evidence_folder(evidence, out)
    data["pairing"] = _pairing_file(pairing, out)
    resolved = load_config(PretrainConfig, files, [own, settings, {"data": data}])
    return load_model(fit(resolved, out, logger=logger, callbacks=callbacks))


def list_objectives() -> list[str]:
    """List the objectives that :func:`lgdea.pretrain` can optimise, as ``objective={"name": ...}``.

    Returns:
        Names; all but ``lgdea`` are baselines, see :mod:`lgdea.pretraining.baselines`.

    Example:
        >>> lgdea.list_objectives()
        ['lgdea', 'clip', 'gloria', 'medclip', 'sclip']
    """
    return list(OBJECTIVES)


def list_configs() -> list[str]:
    """List the shipped configurations that :func:`lgdea.pretrain` takes by name.

    Returns:
        Names, sorted.

    Example:
        >>> "limited-pairing" in lgdea.list_configs()
        True
    """
    return sorted(file.stem for file in Path(str(shipped("configs") / "pretrain")).glob("*.yaml"))


def _archive_folder(archive: str | Path | Archive) -> Path:
    if not isinstance(archive, Archive):
        return Path(archive)
    if archive.is_part:
        raise UsageError(
            "some tables of this archive were replaced in memory, a run reads its folder",
            file=archive.folder,
            remedy="write the part as an archive of its own (lgdea.build_archive)",
        )
    return archive.folder


def _evidence_folder(evidence: str | Path | Evidence | None, out: str | Path) -> Path | None:
    if evidence is None or isinstance(evidence, str | Path):
        return None if evidence is None else Path(evidence)
    return evidence.folder or evidence.save(runs.inputs_folder(out) / "evidence")


def _pairing_file(pairing: str | Path | pd.DataFrame, out: str | Path) -> Path:
    if not isinstance(pairing, pd.DataFrame):
        return Path(pairing)
    file = runs.inputs_folder(out) / "pairing.parquet"
    if not file.exists():
        write_pairing(pairing, file)
    elif not read_pairing(file).equals(pairing.reset_index(drop=True)):
        raise UsageError("holds a run with another pairing", file=out, remedy="choose a new folder")
    return file
