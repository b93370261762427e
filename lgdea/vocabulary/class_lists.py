"""Lists of the classes that are scored: those of datasets by name, vocabulary words, or a file of one's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lgdea.errors import UsageError
from lgdea.vocabulary import Vocabulary, load_vocabulary
from lgdea.vocabulary.tables import ScoredClass

LABELS = "labels"
"""Name of the list of all findings in an archive's labels."""
_ENDINGS = (".txt", ".csv", ".yaml", ".yml")


def is_class_file(wanted: object) -> bool:
    """Return whether ``wanted`` is the path of a file of classes."""
    return isinstance(wanted, str) and (wanted.lower().endswith(_ENDINGS) or "/" in wanted)


def scored_classes(wanted: str | Sequence[str]) -> list[ScoredClass]:
    """Read a list of classes.

    Args:
        wanted: Name of a list (:func:`list_class_lists`); words for findings, as a sequence or with commas between
            them (``"pneumonia, edema"``); or the path of a text or YAML file with a word, or ``NAME: word, word``, in
            each line. A kind of a finding counts as it.

    Raises:
        UsageError: There is no such list or file, or a word means no finding; the message names the line.

    Example:
        >>> [scored.name for scored in scored_classes("pneumonia, pleural effusion")]
        ['pneumonia', 'pleural_effusion']
        >>> [scored.name for scored in scored_classes("chexpert14")][:3]
        ['No Finding', 'Enlarged Cardiomediastinum', 'Cardiomegaly']
    """
    vocabulary = load_vocabulary()
    if isinstance(wanted, str):
        if is_class_file(wanted):
            return _read_file(Path(wanted), vocabulary)
        if "," not in wanted and vocabulary.find(wanted) is None:
            return _named_list(wanted, vocabulary)
        wanted = [word for word in wanted.split(",") if word.strip()]
    return [_of_words(None, [word], vocabulary) for word in wanted]


def list_class_lists() -> dict[str, int]:
    """Names of the shipped lists and how many classes each has.

    Example:
        >>> list_class_lists()["chexpert14"]
        14
    """
    vocabulary = load_vocabulary()
    return {name: len(vocabulary.classes(name)) for name in vocabulary.class_lists}


def _named_list(name: str, vocabulary: Vocabulary) -> list[ScoredClass]:
    if name in vocabulary.class_lists:
        return vocabulary.classes(name)
    hint = _hint(name, vocabulary)
    raise UsageError(
        f"no list of classes, and no finding, {name!r}{hint}",
        remedy=f"give one of {', '.join([LABELS, *vocabulary.class_lists])}, findings (pneumonia,edema), or a file",
    )


def _read_file(file: Path, vocabulary: Vocabulary) -> list[ScoredClass]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "no such file of classes" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise UsageError(reason, file=file, remedy="give a text file with a finding in each line") from None
    entries = _entries(text)
    if not entries:
        raise UsageError("names no class", file=file, remedy="write a finding in each line")
    found: list[ScoredClass] = []
    for row, (name, words) in enumerate(entries, start=1):
        try:
            found.append(_of_words(name, words, vocabulary))
        except UsageError as error:
            raise UsageError(error.problem, file=file, row=row, remedy=error.remedy) from None
    names = [scored.name for scored in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"names the class {twice!r} twice", file=file, remedy="keep one of them")
    return found


def _entries(text: str) -> list[tuple[str | None, list[str]]]:
    """Name, if it has one of its own, and words of each class."""
    try:
        content: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        content = None
    if isinstance(content, Mapping):
        return [(str(name), _split(words) if words is not None else [str(name)]) for name, words in content.items()]
    if isinstance(content, list):
        return [(None, [str(word)]) for word in content]
    lines = (line.partition("#")[0].strip().strip(",") for line in text.splitlines())
    return [(None, [line]) for line in lines if line]


def _split(words: Any) -> list[str]:
    return [str(word) for word in words] if isinstance(words, list) else str(words).split(",")


def _of_words(name: str | None, words: Sequence[str], vocabulary: Vocabulary) -> ScoredClass:
    keys = []
    for word in words:
        key = word.strip() if word.strip() in vocabulary.findings else vocabulary.find(word.strip())
        if key is None:
            raise UsageError(
                f"the vocabulary has no finding {word.strip()!r}{_hint(word, vocabulary)}",
                remedy="use an id, name or synonym of lgdea/vocabulary/findings.yaml, or a lexicon of your own",
            )
        keys.append(key)
    below = frozenset().union(*(vocabulary.descendants(key) for key in keys))
    return ScoredClass(name or keys[0], below)


def _hint(word: str, vocabulary: Vocabulary) -> str:
    near = vocabulary.finding_words.suggest(word.strip())
    return f"; did you mean {' or '.join(near)}?" if near else ""
