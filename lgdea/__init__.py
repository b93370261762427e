"""lgdea: image-text pretraining from diagnostic evidence when few images are linked to their reports."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lgdea.version import __version__

if TYPE_CHECKING:
    from lgdea import data as data
    from lgdea import losses as losses
    from lgdea import metrics as metrics
    from lgdea.api.answers import score_answers as score_answers
    from lgdea.api.archives import build_archive as build_archive
    from lgdea.api.archives import list_datasets as list_datasets
    from lgdea.api.archives import make_pairing as make_pairing
    from lgdea.api.archives import open_archive as open_archive
    from lgdea.api.archives import scrub_archive as scrub_archive
    from lgdea.api.change import read_change as read_change
    from lgdea.api.comparison import find_cases as find_cases
    from lgdea.api.comparison import train_comparison as train_comparison
    from lgdea.api.evaluation import evaluate as evaluate
    from lgdea.api.evaluation import list_suites as list_suites
    from lgdea.api.evidence import Evidence as Evidence
    from lgdea.api.export import export_model as export_model
    from lgdea.api.extraction import extract as extract
    from lgdea.api.extraction import list_backends as list_backends
    from lgdea.api.extraction import list_prompts as list_prompts
    from lgdea.api.extraction import load_evidence as load_evidence
    from lgdea.api.heat_maps import show_heat_map as show_heat_map
    from lgdea.api.heat_maps import write_heat_maps as write_heat_maps
    from lgdea.api.integrity import verify_folder as verify_folder
    from lgdea.api.links import doubt_links as doubt_links
    from lgdea.api.links import link_archive as link_archive
    from lgdea.api.links import suggest_links as suggest_links
    from lgdea.api.model_folders import describe_model as describe_model
    from lgdea.api.model_folders import write_model_card as write_model_card
    from lgdea.api.results import Results as Results
    from lgdea.api.results import load_results as load_results
    from lgdea.api.training import list_configs as list_configs
    from lgdea.api.training import list_objectives as list_objectives
    from lgdea.api.training import pretrain as pretrain
    from lgdea.errors import LgdeaError as LgdeaError
    from lgdea.evidence.schema import Unit as Unit
    from lgdea.models.create import create_model as create_model
    from lgdea.models.serialization import load_model as load_model
    from lgdea.models.serialization import save_model as save_model

# Public name -> module that defines it. Loaded on first use: torch costs seconds to import, and `import lgdea` and
# `lgdea --help` must not pay for it.
_EXPORTS = {
    "Evidence": "lgdea.api.evidence",
    "LgdeaError": "lgdea.errors",
    "Results": "lgdea.api.results",
    "Unit": "lgdea.evidence.schema",
    "build_archive": "lgdea.api.archives",
    "create_model": "lgdea.models.create",
    "describe_model": "lgdea.api.model_folders",
    "doubt_links": "lgdea.api.links",
    "evaluate": "lgdea.api.evaluation",
    "export_model": "lgdea.api.export",
    "extract": "lgdea.api.extraction",
    "find_cases": "lgdea.api.comparison",
    "read_change": "lgdea.api.change",
    "link_archive": "lgdea.api.links",
    "list_backends": "lgdea.api.extraction",
    "list_configs": "lgdea.api.training",
    "list_datasets": "lgdea.api.archives",
    "list_objectives": "lgdea.api.training",
    "list_prompts": "lgdea.api.extraction",
    "list_suites": "lgdea.api.evaluation",
    "load_evidence": "lgdea.api.extraction",
    "load_model": "lgdea.models.serialization",
    "load_results": "lgdea.api.results",
    "make_pairing": "lgdea.api.archives",
    "open_archive": "lgdea.api.archives",
    "pretrain": "lgdea.api.training",
    "save_model": "lgdea.models.serialization",
    "scrub_archive": "lgdea.api.archives",
    "score_answers": "lgdea.api.answers",
    "show_heat_map": "lgdea.api.heat_maps",
    "suggest_links": "lgdea.api.links",
    "train_comparison": "lgdea.api.comparison",
    "verify_folder": "lgdea.api.integrity",
    "write_heat_maps": "lgdea.api.heat_maps",
    "write_model_card": "lgdea.api.model_folders",
}
_MODULES = ("data", "losses", "metrics")

# A library leaves it to the application where its log goes; the command line sends it to stderr.
logging.getLogger("lgdea").addHandler(logging.NullHandler())

__all__ = ["__version__", *_EXPORTS, *_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(import_module(_EXPORTS[name]), name)
    elif name in _MODULES:
        value = import_module(f"lgdea.{name}")
    else:
        raise AttributeError(f"module 'lgdea' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
