"""The second pass of a two-pass prompt: each unit is asked again with its sentence; what it does not support goes."""

from __future__ import annotations

from lgdea.evidence.answer_log import RawLog
from lgdea.evidence.io import Reject
from lgdea.evidence.postprocess import Lost, Reading, hash_id, read_answer
from lgdea.evidence.prompts import Verifier
from lgdea.evidence.request_loop import Item
from lgdea.evidence.schema import SCHEMA_VERSION, Unit
from lgdea.evidence.sections import split_sections, split_sentences

NOT_SUPPORTED = "not_supported"
NOT_VERIFIED = "not_verified"


class Verification:
    """Asks about units and takes out those that their sentence does not support.

    Args:
        verifier: The second pass of the prompt.
        log: Its answers.
    """

    def __init__(self, verifier: Verifier, log: RawLog) -> None:
        self._verifier = verifier
        self._log = log

    def items(self, reading: Reading) -> list[Item]:
        """One question per unit."""
        sentences = _sentences(reading.report.text)
        return [self._item(unit, _around(reading.report.text, sentences, unit)) for unit in reading.units]

    def read(self, reading: Reading) -> Reading:
        """The reading with the supported units alone; the others are among its rejects.

        A unit whose question has no usable answer is not kept either (``not_verified``).
        """
        kept = []
        for unit, item in zip(reading.units, self.items(reading), strict=True):
            verdict = read_answer(self._log, item.request_id, self._verifier.parse)
            if isinstance(verdict, Lost):
                reading.unanswered += verdict.unanswered
                reason, detail = NOT_VERIFIED, f"{verdict.reason}: {verdict.detail}".rstrip(": ")
            elif verdict.supported:
                kept.append(unit)
                continue
            else:
                reason, detail = NOT_SUPPORTED, verdict.reason
            reading.rejects.append(
                Reject(unit.report_id, reason, detail, unit.model_dump(exclude={"run_id"}), unit.start, unit.end)
            )
        reading.units = kept
        return reading

    def _item(self, unit: Unit, sentence: str) -> Item:
        messages = self._verifier.messages(sentence, unit)
        stated = unit.model_dump_json(exclude={"run_id"})
        key = hash_id("verify", stated, sentence, self._verifier.sha256, SCHEMA_VERSION)
        return Item(key, unit.report_id, sentence, messages, self._verifier.parse)


def _sentences(text: str) -> list[tuple[int, int]]:
    return [span for section in split_sections(text) for span in split_sentences(text, section.start, section.end)]


def _around(text: str, sentences: list[tuple[int, int]], unit: Unit) -> str:
    """The sentence, or the run of sentences, that the unit's quote stands in."""
    touched = [(start, end) for start, end in sentences if start < unit.end and end > unit.start]
    start = min([unit.start, *(start for start, _ in touched)])
    end = max([unit.end, *(end for _, end in touched)])
    return text[start:end]
