"""The seam for datasets: what an adapter is, and how it is found."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lgdea.errors import NOT_INSTALLED, LgdeaError, UsageError
from lgdea.records.archive import Archive

GROUP = "lgdea.datasets"


@runtime_checkable
class DatasetAdapter(Protocol):
    """Reader of one dataset's files, as its publishers lay them out, into an archive.

    It may also have ``card``: the path of its data card, or the name of one in lgdea; and ``takes_patient_key``, true
    where the option ``patient_key`` of ``build``, a :class:`~lgdea.records.patient_key.PatientKey`, hashes patients'
    ids.

    Attributes:
        name: The dataset's name; also the prefix of its ids.
    """

    name: str

    def build(self, source: Path, out: Path, **options: Any) -> Archive:
        """Write the archive of the dataset in folder ``source`` to ``out`` and return it.

        Raises:
            UsageError: ``source`` does not hold the dataset, or an option is unknown.
            DataError: A file of the dataset is damaged; the message names file and row.
        """
        ...


@dataclass(frozen=True)
class Explanation:
    """Account of what an adapter makes of a source.

    Attributes:
        facts: Plain JSON data.
        lines: The same for people.
        would_build: Whether ``build`` would come to its end.
    """

    facts: dict[str, Any]
    lines: list[str]
    would_build: bool


@runtime_checkable
class Explains(Protocol):
    """An adapter that can say beforehand what it makes of a source: ``lgdea data build NAME SOURCE --dry-run``."""

    def explain(self, source: Path, **options: Any) -> Explanation:
        """Explain what ``build`` would do with the same arguments; nothing is written.

        Raises:
            UsageError: As ``build``.
            DataError: A file is damaged; faults of single rows are in the explanation.
        """
        ...


def list_adapters() -> list[str]:
    """Names of all installed adapters, sorted."""
    return sorted(entry_points(group=GROUP).names)


def get_adapter(name: str) -> DatasetAdapter:
    """The adapter that an installed package declares under ``lgdea.datasets``, as an object or as its class.

    Raises:
        UsageError: There is none of this name.
        LgdeaError: It cannot be imported, or is no adapter.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        near = get_close_matches(name, list_adapters(), n=1)
        known = f"known are {names}" if (names := ", ".join(list_adapters())) else NOT_INSTALLED
        raise UsageError(f"no dataset {name!r}", remedy=f"did you mean {near[0]}? {known}" if near else known)
    entry = next(iter(found))
    try:
        adapter = entry.load()
        adapter = adapter() if isinstance(adapter, type) else adapter
    except Exception as error:  # whatever a third party's module raises on import
        raise LgdeaError(
            f"the dataset {name!r} cannot be loaded from {entry.value} ({type(error).__name__}: {error})",
            remedy="mend or remove the package that declares it",
        ) from None
    if not isinstance(adapter, DatasetAdapter):
        raise LgdeaError(f"{entry.value} is no dataset adapter", remedy="it needs a name and build(source, out)")
    return adapter


def require_patients(adapter: DatasetAdapter) -> None:
    """Check that an adapter hashes patients' ids by a key when it is given one.

    Raises:
        UsageError: It does not.
    """
    if not getattr(adapter, "takes_patient_key", False):
        problem = f"the dataset {adapter.name} keeps the patients' ids of its publishers"
        raise UsageError(problem, remedy="leave the patient key out; it is for tables and data frames of your own")


def refuse_options(name: str, options: dict[str, Any]) -> None:
    """Raise if an adapter without options is given one."""
    if options:
        raise UsageError(f"the dataset {name} takes no option {min(options)!r}", remedy="leave it out")
