"""Loading and querying ``findings.yaml`` and ``anatomy.yaml``.

A class that a dataset scores is a query over the findings table (:meth:`Vocabulary.classes`), so zero-shot class
lists, label mapping and extraction cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lgdea.config_errors import explain
from lgdea.errors import DataError, UsageError
from lgdea.garbage import rare_collection
from lgdea.shipped import read_table
from lgdea.vocabulary.site_lexicon import SiteLexicon
from lgdea.vocabulary.words import WordIndex

Kind = Literal["finding", "disease", "device", "normality"]
Side = Literal["left", "right", "bilateral", "midline", "unspecified"]
SYSTEMS = (
    "chexpert14", "nih14", "openi14", "openi_mesh", "vindr", "padchest", "radlex", "medreco", "rsna", "siim",
    "chestx_det", "covidx",
)  # fmt: skip
"""Code systems that :meth:`Vocabulary.from_code` knows."""

# The classes in the order their datasets print them.
_CLASS_ORDER: dict[str, tuple[str, ...]] = {
    "chexpert14": (
        "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity", "Edema",
        "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
        "Support Devices",
    ),
    "nih14": (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
        "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia", "No Finding",
    ),
    "openi14": (
        "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
        "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia", "normal",
    ),
    # Without "Other lesion" and "Other diseases", which name no finding.
    "vindr": (
        "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation",
        "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst",
        "Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax",
        "Pulmonary fibrosis", "Rib fracture", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "No finding",
    ),
    "rsna": ("Pneumonia", "Normal"),
    "siim": ("Pneumothorax",),
    # Without "Diffuse Nodule", which is a nodule too.
    "chestx_det": (
        "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "Effusion", "Emphysema", "Fibrosis",
        "Fracture", "Mass", "Nodule", "Pleural Thickening", "Pneumothorax",
    ),
    "covidx": ("COVID-19", "pneumonia", "normal"),
}  # fmt: skip


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    name: str
    parents: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    codes: dict[Literal[SYSTEMS], tuple[str, ...]] = {}  # type: ignore[valid-type]


class Finding(_Entry):
    """A finding, disease, device, or normality itself."""

    kind: Kind
    default_anatomy: str | None = Field(None, alias="anatomy")
    """Structure that it sits in when the report does not say."""
    modalities: tuple[str, ...] = ("xray", "ct")
    """Modalities that it is reported in: ``xray``, ``ct``, ``mri``, ``ultrasound``, ``mammography``, ``fundus`` ..."""

    texts: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    """Zero-shot texts that state it and that deny it, where a site wrote its own."""


class Anatomy(_Entry):
    """A structure of the body."""

    laterality: Side = "unspecified"
    """The side that the name itself says (``right_upper_lobe``)."""
    region: str
    paired: bool = False
    """If true, there is one on each side, so that a side may be asked for."""


@dataclass(frozen=True)
class ScoredClass:
    """A class that a dataset scores: present when any of ``findings`` is."""

    name: str
    findings: frozenset[str]


E = TypeVar("E", Finding, Anatomy)


class Vocabulary:
    """The two tables with their hierarchies and code indexes; get it from :func:`load_vocabulary`."""

    def __init__(
        self,
        findings: Mapping[str, Finding],
        anatomy: Mapping[str, Anatomy],
        site: SiteLexicon | None = None,
        own_words: Mapping[str, str] | None = None,
    ) -> None:
        self.site = site
        """The lexicon that was laid over the shipped tables, if any."""
        self.own_words = dict(own_words or {})
        """Words of that lexicon for findings and structures, and the ids that they mean."""
        self.findings = dict(findings)
        self.anatomy = dict(anatomy)
        for finding in self.findings.values():
            if finding.default_anatomy is not None and finding.default_anatomy not in self.anatomy:
                raise DataError(f"unknown anatomy {finding.default_anatomy!r}", file="findings.yaml", row=finding.id)
        self._up = _compute_closure(self.findings, "findings.yaml") | _compute_closure(self.anatomy, "anatomy.yaml")
        down: dict[str, set[str]] = {key: set() for key in self._up}
        for key, ups in self._up.items():
            for up in ups:
                down[up].add(key)
        self._down = {key: frozenset(keys) for key, keys in down.items()}
        self._codes = _index_codes(self.findings.values(), "findings.yaml")
        self._anatomy_codes = _index_codes(self.anatomy.values(), "anatomy.yaml")

    def __deepcopy__(self, _memo: object) -> Vocabulary:
        return self  # nothing changes it

    @cached_property
    def finding_words(self) -> WordIndex:
        """Index of the words for findings."""
        return WordIndex(self.findings.values())

    @cached_property
    def anatomy_words(self) -> WordIndex:
        """Index of the words for structures."""
        return WordIndex(self.anatomy.values())

    def introduce(self, key: str) -> str:
        """Return an id as a language model is told of it: with the words that the site's lexicon adds, if any."""
        words = [word for word, meaning in self.own_words.items() if meaning == key]
        return f"{key} ({', '.join(words)})" if words else key

    def find(self, word: str) -> str | None:
        """Return the finding's id for ``word``, None when there is none or several.

        Asked in turn: ids, names, synonyms, the codes of all datasets. Case, ``_``, ``-`` and a plain plural make no
        difference.

        >>> vocabulary = load_vocabulary()
        >>> vocabulary.find("Pleural_Effusions"), vocabulary.find("Ground Glass Opacities"), vocabulary.find("unicorn")
        ('pleural_effusion', 'ground_glass_opacity', None)
        """
        return self.finding_words.find(word)

    def find_anatomy(self, word: str) -> str | None:
        """Return the structure's id for ``word``, asked as :meth:`find` does."""
        return self.anatomy_words.find(word)

    def ancestors(self, key: str) -> frozenset[str]:
        """A finding's (or structure's) id with all that it is a kind (or part) of."""
        return self._lookup(self._up, key)

    def descendants(self, key: str) -> frozenset[str]:
        """A finding's (or structure's) id with all its kinds (or parts)."""
        return self._lookup(self._down, key)

    def from_code(self, system: str, code: str) -> str | None:
        """Return the finding id for another dataset's word, None when the vocabulary has none for it.

        In ``openi_mesh`` a code is ``heading/qualifier/...``; the entry with the most of its qualifiers among them
        wins (``Lung/hypoinflation/mild`` is ``hypoinflation``).
        """
        return self._find_code(self._codes, system, code)

    def anatomy_from_code(self, system: str, code: str) -> str | None:
        """Return the structure id for another dataset's word, None when the vocabulary has none for it."""
        return self._find_code(self._anatomy_codes, system, code)

    @property
    def class_lists(self) -> tuple[str, ...]:
        """Names that :meth:`classes` knows."""
        return (*_CLASS_ORDER, "phantom")

    def classes(self, system: str) -> list[ScoredClass]:
        """The classes that a dataset scores, each as a set of findings.

        ``chexpert14`` follows its hierarchy: atelectasis is a Lung Opacity too. The others are flat: a kind of a
        finding counts unless it has a class of its own. ``openi14`` was made from MeSH headings, so there
        a kind with a heading of its own (bullous emphysema) does not count. ``phantom`` has one class per finding id.
        """
        if system == "phantom":
            keys = [key for key, f in self.findings.items() if f.kind != "normality"]
            return [ScoredClass(key, self.descendants(key)) for key in keys]
        if system not in _CLASS_ORDER:
            raise UsageError(f"no scored classes for {system!r}", remedy=f"known: {', '.join(self.class_lists)}")
        coded = {name: self.from_code(system, name) for name in _CLASS_ORDER[system]}
        roots = {key for key in coded.values() if key is not None}
        result = []
        for name, key in coded.items():
            if key is None:
                raise DataError(f"no finding has the {system} code {name!r}", file="findings.yaml")
            found = self.descendants(key)
            if system != "chexpert14":
                others: set[str] = set()
                for other in (roots & found) - {key}:
                    others |= self.descendants(other)
                found -= others
            if system == "openi14":
                found = frozenset(k for k in found if k == key or "openi_mesh" not in self.findings[k].codes)
            result.append(ScoredClass(name, frozenset(found)))
        return result

    @staticmethod
    def _lookup(table: Mapping[str, frozenset[str]], key: str) -> frozenset[str]:
        try:
            return table[key]
        except KeyError:
            raise UsageError(f"the vocabulary has no {key!r}", remedy="see lgdea/vocabulary/findings.yaml") from None

    @staticmethod
    def _find_code(index: Mapping[tuple[str, str], str], system: str, code: str) -> str | None:
        if system not in SYSTEMS:
            raise UsageError(f"no code system {system!r}", remedy=f"known: {', '.join(SYSTEMS)}")
        exact = index.get((system, code.strip()))
        if exact is not None or system != "openi_mesh":
            return exact
        heading, *qualifiers = (part.strip() for part in code.split("/"))
        best: tuple[int, str] | None = None
        for (known_system, known), key in index.items():
            known_heading, *needed = known.split("/")
            fits = known_system == system and known_heading == heading and set(needed) <= set(qualifiers)
            if fits and (best is None or len(needed) > best[0]):
                best = (len(needed), key)
        return best[1] if best else None


_IN_USE: ContextVar[Vocabulary | None] = ContextVar("vocabulary in use", default=None)


def load_vocabulary() -> Vocabulary:
    """The vocabulary in use: within :func:`using_vocabulary` the one given there, else the shipped one."""
    return _IN_USE.get() or load_shipped_vocabulary()


@contextmanager
def using_vocabulary(vocabulary: Vocabulary | None) -> Iterator[None]:
    """Use a vocabulary inside the block, in this thread alone; None uses the shipped one.

    A stage that takes a site's lexicon wraps its work so, and another run beside or after it does not see it. What
    outlives the block (a prompt, a backend, a model) keeps its vocabulary and enters it again. Do not yield inside.
    """
    token = _IN_USE.set(vocabulary)
    try:
        yield
    finally:
        _IN_USE.reset(token)


@lru_cache(maxsize=1)
@rare_collection()
def load_shipped_vocabulary() -> Vocabulary:
    """The shipped vocabulary, read and checked once.

    Raises:
        DataError: A table breaks its own rules; the message names the row.
    """
    return Vocabulary(_read("findings.yaml", Finding), _read("anatomy.yaml", Anatomy))


def _read(name: str, kind: type[E]) -> dict[str, E]:
    rows: list[dict[str, Any]] = read_table(resources.files("lgdea.vocabulary") / name)
    result: dict[str, E] = {}
    for number, row in enumerate(rows, start=1):
        try:
            entry = kind.model_validate(row)
        except ValidationError as error:
            raise DataError(explain(error), file=name, row=number) from None
        if entry.id in result:
            raise DataError("the id is used twice", file=name, row=entry.id)
        result[entry.id] = entry
    return result


def _compute_closure(entries: Mapping[str, E], file: str) -> dict[str, frozenset[str]]:
    result: dict[str, frozenset[str]] = {}

    def visit(key: str, path: tuple[str, ...]) -> frozenset[str]:
        if key in path:
            raise DataError(f"parents form a cycle: {' > '.join([*path, key])}", file=file, row=key)
        if key not in entries:
            raise DataError(f"unknown parent {key!r}", file=file, row=path[-1])
        if key not in result:
            up = {key}
            for parent in entries[key].parents:
                up |= visit(parent, (*path, key))
            result[key] = frozenset(up)
        return result[key]

    for key in entries:
        visit(key, ())
    return result


def _index_codes(entries: Iterable[Finding] | Iterable[Anatomy], file: str) -> dict[tuple[str, str], str]:
    index: dict[tuple[str, str], str] = {}
    for entry in entries:
        for system, codes in entry.codes.items():
            for code in codes:
                if (system, code) in index:
                    raise DataError(
                        f"{system} code {code!r} is taken by {index[system, code]}", file=file, row=entry.id
                    )
                index[system, code] = entry.id
    return index
