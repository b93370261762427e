"""Backend protocol, requests and responses."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Literal, Protocol, runtime_checkable

from lgdea.errors import NOT_INSTALLED, UsageError

Failure = Literal["length", "too_long", "refused", "language", "backend_error"]
GROUP = "lgdea.backends"


@dataclass(frozen=True)
class Request:
    """One report to read, or one question about images.

    ``prompt`` holds the chat messages of a language model, empty for a backend that needs none; their contents may hold
    images (:mod:`lgdea.evidence.backends.parts`). With ``choices`` the answer is one of these, without them and without
    ``json_schema`` it is free text. ``attempt`` counts how
    often this is asked: a language model gives each further attempt twice the tokens of the one before. ``language`` is
    the tag that the archive states, empty where it states none.
    """

    request_id: str
    text: str
    prompt: tuple[Mapping[str, Any], ...] = ()
    json_schema: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1
    language: str = ""
    choices: tuple[str, ...] = ()

    @property
    def is_held(self) -> bool:
        """Whether the answer has to follow a schema or be one of some choices."""
        return bool(self.json_schema or self.choices)


@dataclass(frozen=True)
class Response:
    """The answer to one request: ``text`` (JSON of :mod:`lgdea.evidence.response`) or a typed ``failure``.

    A backend that does not read the report's language fails with ``language``, whose name is the ``detail``.
    ``logprobs`` are those of the request's choices, where the backend knows them.
    """

    request_id: str
    text: str | None = None
    failure: Failure | None = None
    detail: str = ""
    tokens: int | None = None
    logprobs: Mapping[str, float] | None = None


@runtime_checkable
class ExtractorBackend(Protocol):
    """Protocol of an extraction backend.

    ``respond`` yields exactly one response per request, in any order, and never raises for a single item.
    ``needs_prompt`` says whether requests must carry chat messages; ``describe`` names model, revision and versions.

    A backend that has an attribute ``multiprocess = True`` may be copied into worker processes (``workers`` of an
    extraction): it can be pickled, and an answer depends on nothing but its request. One whose requests leave this
    machine has ``is_remote = True``: it reads only reports that were scrubbed, or that the user lets go.
    """

    name: str
    needs_prompt: bool

    def respond(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answer the requests."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return plain JSON data that identifies what answered."""
        ...


def get_backend(name: str, **options: Any) -> ExtractorBackend:
    """Make the backend that is registered under ``name`` in the entry-point group ``lgdea.backends``.

    Args:
        name: ``rules``, ``replay``, or an installed plug-in's.
        options: Passed to its ``create`` function.

    Raises:
        UsageError: No such backend, it cannot be loaded, it does not take these options, or needs another.
    """
    found = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if name not in found:
        raise UsageError(
            f"no backend {name!r}", remedy=f"installed: {', '.join(sorted(found))}" if found else NOT_INSTALLED
        )
    try:
        create = found[name].load()
    except ImportError as error:
        raise UsageError(
            f"backend {name!r} needs {error.name or error}", remedy=_install_command(found[name])
        ) from None
    except Exception as error:  # whatever a third party's module raises on import
        raise UsageError(
            f"backend {name!r} cannot be loaded from {found[name].value} ({type(error).__name__}: {error})",
            remedy="mend or remove the package that declares it",
        ) from None
    signature = inspect.signature(create)
    try:
        signature.bind(**options)
    except TypeError as error:  # "missing a required argument: 'url'", "got an unexpected keyword argument 'modell'"
        missing = _missing_options(signature, options)
        if missing:
            raise UsageError(f"backend {name!r} needs {missing[0]}", remedy=_how_to_give(missing[0])) from None
        known = ", ".join(signature.parameters) or "none"
        problem = f"backend {name!r} does not take these options ({error})"
        raise UsageError(problem, remedy=f"its options: {known}") from None
    backend: ExtractorBackend = create(**options)
    return backend


def _missing_options(signature: inspect.Signature, options: Mapping[str, Any]) -> list[str]:
    """Options that a backend cannot do without, in its own order; none where it is given one that it does not know."""
    parameters = signature.parameters.values()
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if not any(p.kind is p.VAR_KEYWORD for p in parameters) and not named.issuperset(options):
        return []
    return [p.name for p in parameters if p.name in named and p.default is p.empty and p.name not in options]


def _how_to_give(option: str) -> str:
    if option == "url":
        return "give the address of its server: --url, or --set options.url=URL"
    return f"give it: --set options.{option}=VALUE"


def _install_command(entry: metadata.EntryPoint) -> str | None:
    """Return the command that installs what a backend needs: its package, with the extra of its name if it has one."""
    if entry.dist is None:
        return None
    extras = entry.dist.metadata.get_all("Provides-Extra") or []
    return (
        f"pip install '{entry.dist.name}[{entry.name}]'" if entry.name in extras else f"pip install {entry.dist.name}"
    )
