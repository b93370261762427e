"""Model folders and the Hugging Face Hub: fetched into its cache and pinned to a commit, pushed from a folder.

Only files of data are fetched and pushed: JSON, safetensors, the tokenizer's text files and the model card. Whatever
else a repository or a folder holds, such as Python files or pickles, stays where it is.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lgdea.errors import DataError, LgdeaError, UsageError, first_line
from lgdea.manifests import FILES, changed_files, missing_files, read_manifest
from lgdea.models.folders import CONFIG, require_model
from lgdea.version import __version__

CARD = "README.md"
PROVENANCE = "provenance.json"
"""The card's sections as data, sealed by itself."""
PROSE = (CARD, PROVENANCE)
"""Files that say how a model was made; they change nothing that it computes."""
HUB = "hf://"
DATA_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.yaml", CARD)
"""What is fetched of a repository, of the files at its top."""

TIMEOUT = 10.0
"""Seconds that the Hub has for its first answer."""
_COMMIT = re.compile("[0-9a-f]{40}")
_NAME = r"\w[\w.-]*"
_REPO = re.compile(rf"(?P<repo>{_NAME}/{_NAME})(?:@(?P<revision>[\w./-]+))?")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelPlace:
    """Folder of a model, and where on the Hub it is from."""

    folder: Path
    repo: str = ""
    """``ORG/NAME``; empty for a local folder."""
    revision: str = ""
    """Commit of the repository, 40 hexadecimal digits; empty for a local folder."""

    @property
    def name(self) -> str:
        """Name of the model in results: ``ORG/NAME@COMMIT``; of a local folder its name, or that of its run."""
        if self.repo:
            return f"{self.repo}@{self.revision}"
        place = self.folder.resolve()
        return place.parent.name if place.name == "model" else place.name


def find_model(model: str | Path, *, revision: str | None = None, cached: bool = False) -> ModelPlace:
    """Find a model folder: a local one, or one of the Hub, which is fetched into the Hub's cache.

    Args:
        model: Folder; or ``ORG/NAME`` or ``hf://ORG/NAME``, with ``@REVISION`` behind it for a branch, tag or commit.
            A folder that exists goes before a repository of the same name.
        revision: The same as behind the name.
        cached: Look in the Hub's cache alone, as it does with ``HF_HUB_OFFLINE=1``.

    Raises:
        UsageError: There is no such folder, repository or revision, the Hub cannot be reached and the cache lacks the
            model, or the repository holds no model of lgdea.
    """
    text = _with_both_slashes(model)
    explicit, found = text.startswith(HUB), names_repository(model)
    folder = Path(text)
    if not explicit and folder.is_dir():
        if revision is not None:
            raise UsageError("a folder has no revisions", file=folder, remedy=f"write {HUB}ORG/NAME for the Hub's")
        return ModelPlace(require_model(folder))
    if found is None and explicit:
        raise UsageError(f"{text} names no repository", remedy=f"write {HUB}ORG/NAME, or {HUB}ORG/NAME@REVISION")
    if found is None:
        raise UsageError("no such model folder", file=folder, remedy="check the path; `lgdea pretrain` makes one")
    if revision is not None and found["revision"] not in (None, revision):
        raise UsageError(f"{text} and revision {revision} are two revisions", remedy="give one")
    return _fetch(found["repo"], revision or found["revision"], explicit=explicit, cached=cached)


def names_repository(model: str | Path) -> re.Match[str] | None:
    """Tell whether a name is one of the Hub: ``hf://ORG/NAME``, or ``ORG/NAME`` where neither is a folder here.

    A path below a folder that is here is a path mistyped; nobody else is asked for it.
    """
    text = _with_both_slashes(model)
    if not text.startswith(HUB) and (isinstance(model, Path) or Path(text.partition("/")[0]).is_dir()):
        return None
    return _REPO.fullmatch(text.removeprefix(HUB))


def _with_both_slashes(model: str | Path) -> str:
    """Undo what Path does to ``hf://``."""
    return re.sub(r"^hf:/(?!/)", HUB, str(model))


def _fetch(repo: str, revision: str | None, *, explicit: bool, cached: bool) -> ModelPlace:
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        if revision is not None and _COMMIT.fullmatch(revision) and not cached:
            with suppress(LocalEntryNotFoundError):  # a commit never changes: nobody needs to be asked
                return _take(repo, revision, cached=True)
        return _take(repo, revision, cached=cached or not _is_reachable(repo, revision))
    except LgdeaError:
        raise
    except Exception as error:
        raise _explain(error, repo, revision, explicit) from None


def _is_reachable(repo: str, revision: str | None) -> bool:
    """Ask the Hub once: its client's downloads try again for half a minute where there is no network.

    Raises:
        RepositoryNotFoundError: There is no such repository; also the client's other answers of the Hub.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        HfApi(library_name="lgdea", library_version=__version__).model_info(repo, revision=revision, timeout=TIMEOUT)
    except (GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except OSError:  # no network, switched off, or the Hub is down
        return False
    except Exception as error:
        if "httpx" in type(error).__module__:  # its versions go by several names
            return False
        raise
    return True


def _take(repo: str, revision: str | None, *, cached: bool) -> ModelPlace:
    from huggingface_hub import hf_hub_download, snapshot_download

    options: dict[str, Any] = {"library_name": "lgdea", "library_version": __version__, "local_files_only": cached}
    config = Path(hf_hub_download(repo, CONFIG, revision=revision, **options))
    _check_kind(config, repo)  # before its weights are fetched
    commit = config.parent.name  # all files are of one commit, while a branch may move between two requests
    options |= {"allow_patterns": list(DATA_FILES), "ignore_patterns": ["*/*"]}
    folder = Path(snapshot_download(repo, revision=commit, **options))
    if revision != commit and not cached:
        _log.info("%s: %s is commit %s; write %s@%s to keep to it", repo, revision or "main", commit, repo, commit)
    return ModelPlace(folder, repo, commit)


def _check_kind(config: Path, repo: str) -> None:
    content = read_manifest(config, what="model's file", remedy=f"check the repository {repo}")
    if "format_version" not in content:
        raise UsageError(
            f"{repo} holds no model of lgdea", remedy=f"write hf:{repo} or open_clip:hf-hub:{repo} for other libraries'"
        )


def _explain(error: Exception, repo: str, revision: str | None, explicit: bool) -> UsageError:
    from huggingface_hub import constants, errors

    wanted = f"{repo}@{revision}" if revision else repo
    if isinstance(error, errors.GatedRepoError):
        return UsageError(
            f"access to {repo} has to be granted first",
            remedy=f"ask for it on {constants.ENDPOINT}/{repo}, then `hf auth login`",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        here = "" if explicit else f"{repo} is no folder here, and "
        return UsageError(
            f"{here}the Hub has no repository {repo} that you may read",
            remedy="check the name or the path; for a private repository `hf auth login` or set HF_TOKEN",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UsageError(
            f"{repo} has no revision {revision}", remedy=f"see {constants.ENDPOINT}/{repo}/tree/main for its branches"
        )
    if isinstance(error, errors.LocalEntryNotFoundError | errors.OfflineModeIsEnabled):
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the Hub cannot be reached"
        return UsageError(
            f"{wanted} is no folder here and not whole in the Hugging Face cache, and {why}",
            remedy="check the path and the network, or fetch it where there is one: `lgdea model info ORG/NAME`",
        )
    if isinstance(error, errors.EntryNotFoundError):
        return UsageError(f"{repo} holds no model of lgdea: it has no {CONFIG}", remedy="check the name")
    return UsageError(f"{wanted} cannot be fetched ({first_line(error)})", remedy="check the name and the network")


def list_model_files(folder: str | Path) -> list[str]:
    """List the files that belong to a model: what its manifests seal, the manifests and the card.

    Args:
        folder: Model folder.

    Raises:
        DataError: A manifest, or a file that one seals, is missing or not as it was written.
    """
    folder = Path(folder)
    names = {name for name in PROSE if (folder / name).is_file()}
    read_provenance(folder)
    for manifest in [folder / CONFIG, *sorted(folder.glob("*_head.json"))]:
        content = read_manifest(manifest, what="model's file", remedy="copy the whole folder")
        if FILES not in content:
            raise DataError(
                "an earlier lgdea wrote this model, without hashes of its files", file=manifest,
                remedy="load it and save it again: lgdea.save_model(lgdea.load_model(FOLDER), NEW_FOLDER)",
            )  # fmt: skip
        lacking = missing_files(content, folder)
        if lacking or changed_files(content, folder):
            name = lacking[0] if lacking else changed_files(content, folder)[0]
            problem = "the model's file is missing" if lacking else "is not as it was written (its sha256 differs)"
            raise DataError(problem, file=folder / name, remedy="restore it from a copy")
        names |= {manifest.name, *content[FILES]}
    return sorted(names)


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read the sections of a model's card; empty where an earlier lgdea wrote the model.

    Raises:
        DataError: The file is not as it was written.
    """
    file = folder / PROVENANCE
    if not file.is_file():
        return {}
    return dict(read_manifest(file, what="model's provenance", remedy="copy the whole folder").get("sections", {}))


def push_folder(
    folder: str | Path,
    repo: str,
    *,
    private: bool = True,
    revision: str | None = None,
    message: str | None = None,
    token: str | None = None,
) -> ModelPlace:
    """Push a model folder to a repository of the Hub, which is made if needed.

    Args:
        folder: Model folder; its card must name a licence.
        repo: ``ORG/NAME``.
        private: Make a new repository private; one that exists stays as it is.
        revision: Branch, made if needed; the main one by default.
        message: Message of the commit.
        token: Access token; by default that of ``hf auth login`` or ``HF_TOKEN``.

    Returns:
        The folder, repository and commit.

    Raises:
        UsageError: The card names no licence, the name is none, or the Hub refuses.
        DataError: A file of the model is missing or not as it was written.
    """
    from huggingface_hub import HfApi

    folder, repo = Path(folder), repo.removeprefix(HUB)
    found = _REPO.fullmatch(repo)
    if found is None or found["revision"]:
        raise UsageError(f"{repo} names no repository", remedy="write ORG/NAME")
    names = list_model_files(folder)
    if not card_head(folder / CARD).get("license"):
        raise UsageError(
            "the model card names no licence, without which nobody may use the model",
            file=folder / CARD,
            remedy="`lgdea model card MODEL --license NAME` writes it (apache-2.0, cc-by-nc-4.0, other ...)",
        )
    beside = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in names)
    if beside:
        _log.warning("%s: not pushed, as no part of the model: %s", folder, ", ".join(beside))
    api = HfApi(token=token, library_name="lgdea", library_version=__version__)
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        there = api.list_repo_files(repo, revision=revision)
        stale = [name for name in there if name not in names and _is_model_file(name)]
        done = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            allow_patterns=names,
            delete_patterns=stale or None,
            revision=revision,
            commit_message=message or f"Model of lgdea {__version__}",
        )
    except Exception as error:
        raise UsageError(
            f"{repo} cannot be pushed ({first_line(error, 200)})",
            remedy="`hf auth login` or set HF_TOKEN with the right to write there, and check the network",
        ) from None
    return ModelPlace(folder, repo, str(done.oid))


def card_head(card: Path) -> dict[str, Any]:
    """Read the YAML head of a model card; empty where there is none that can be read."""
    from huggingface_hub import metadata_load

    try:
        head = metadata_load(card) if card.is_file() else None
    except Exception:  # a person wrote it, and it is no YAML
        return {}
    return dict(head or {})


def _is_model_file(name: str) -> bool:
    """Tell whether a file of a repository would be fetched as one of the model, the card apart."""
    return "/" not in name and name != CARD and any(Path(name).match(pattern) for pattern in DATA_FILES)
