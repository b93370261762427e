"""Review: a worklist, a report with its evidence, and verdicts that are saved as they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import gradio as gr
import pandas as pd
from markupsafe import Markup

from lgdea.annotation.export_review import SHOWN
from lgdea.annotation.parse_review import REPORT_VERDICTS
from lgdea.app.bench import Bench
from lgdea.app.fragments import note, sheet_html
from lgdea.app.reports import marked_html
from lgdea.app.reviews import Block, ReviewFolder, is_added, values_of
from lgdea.app.tabs.wiring import answering
from lgdea.app.worklists import LISTS, Task, image_of
from lgdea.errors import LgdeaError, UsageError
from lgdea.evidence.schema import Assertion, Change, Severity
from lgdea.records.schema import Laterality
from lgdea.reporting.cases import CaseColumn, CasePicture, CaseSheet
from lgdea.vocabulary import load_vocabulary

MARKS = {"": "", "begun": "begun: ", "complete": "done: ", "others_correct": "done: "}
DONE = REPORT_VERDICTS
"""Status of a report that is done."""
NAMED = ("finding", "assertion", "anatomy", "laterality", "severity", "change", "refers_to_prior", "quote")
assert NAMED == SHOWN


def build(bench: Bench) -> None:
    """Lay out the tab.

    Args:
        bench: What the page works with.
    """
    if bench.settings.evidence is None:
        gr.HTML(note("The app was started without evidence: start it with --evidence FOLDER."))
        return
    Tab(bench).lay_out()


class Tab:
    """The tab's fields and what its buttons do.

    Args:
        bench: What the page works with.
    """

    def __init__(self, bench: Bench) -> None:
        settings = bench.settings
        assert settings.evidence is not None
        self.bench = bench
        self.store = ReviewFolder(settings.reviews, bench.archive, settings.evidence, settings.against)

    def lay_out(self) -> None:
        """Make the fields and join the buttons to them."""
        names = [name for name in LISTS if name != "where two readers differ" or self.bench.settings.against]
        names = [name for name in names if name != "doubted links" or self.bench.settings.doubts]
        kept = gr.BrowserState("", storage_key="lgdea-reviewer", secret="lgdea")
        self.tasks, self.block = gr.State([]), gr.State(None)
        with gr.Row():
            self.who = gr.Textbox(label="Who reviews", max_length=40, info="Each reviewer has a file")
            self.which = gr.Dropdown(names, value=names[0], label="Worklist")
            load = gr.Button("Open the list", variant="primary")
        self.said = gr.HTML()
        with gr.Row():
            self.task = gr.Dropdown([], label="Report", interactive=True, scale=4)
            following = gr.Button("Next report", scale=1)
        with gr.Row():
            with gr.Column(scale=3):
                self.shown = gr.HTML()
            with gr.Column(scale=2):
                self.unit = gr.Radio([], label="Evidence", elem_classes="lg-units")
                self._lay_out_form()
        with gr.Row():
            complete = gr.Button("The report is complete", variant="primary")
            rest = gr.Button("The rest is right: complete")
            reopen = gr.Button("Not complete yet")
        with gr.Row(visible="doubted links" in names) as links:
            right, wrong = gr.Button("The link is right"), gr.Button("The link is wrong")
        self.links = links

        self.on(load, self.open_list, [self.who, self.which], [self.tasks, self.task, *self.view])
        load.click(lambda name: name, self.who, kept, api_visibility="private")
        self.on(self.task, self.open_task, [self.who, self.tasks, self.task], self.view, event="input")
        self.on(following, self.open_next, [self.who, self.tasks, self.task], [self.task, *self.view])
        self.unit.input(self.fill, [self.block, self.unit], self.form, api_visibility="private")
        chosen, after = [self.who, self.tasks, self.task, self.block, self.unit], [self.task, *self.view]
        for button, verdict in ((self.right, "correct"), (self.wrong, "wrong")):
            self.on(button, lambda *given, v=verdict: self.judge(v, *given), [*chosen, *self.form], after)
        self.on(self.fix, lambda *given: self.judge("fixed", *given), [*chosen, *self.form], after)
        self.on(self.add, self.add_unit, [*chosen, *self.form], after)
        for button, verdict in ((complete, "complete"), (rest, "others_correct"), (reopen, "")):
            self.on(button, lambda *given, v=verdict: self.finish(v, *given), chosen, after)
        for button, is_wrong in ((right, False), (wrong, True)):
            self.on(button, lambda *given, w=is_wrong: self.judge_link(w, *given), chosen, after)
        # In the browser, at once: an answer of a busy server would come when a name is being typed, and wipe it out.
        gr.on(None, None, [kept, self.who], self.who, js="(kept, typed) => typed || kept", api_visibility="private")

    def _lay_out_form(self) -> None:
        vocabulary = self.bench.vocabulary
        findings = [(entry.name, key) for key, entry in vocabulary.findings.items()]
        places = [("not said", ""), *((entry.name, key) for key, entry in vocabulary.anatomy.items())]
        with gr.Accordion("The chosen piece of evidence, or one to add", open=True):
            with gr.Row():
                finding = gr.Dropdown(findings, value=None, label="Finding", allow_custom_value=True)
                assertion = gr.Dropdown(list(get_args(Assertion)), value="present", label="Assertion")
                anatomy = gr.Dropdown(places, value="", label="Place", allow_custom_value=True)
                side = gr.Dropdown(list(get_args(Laterality)), value="unspecified", label="Side (the patient's)")
            with gr.Row():
                severity = gr.Dropdown(list(get_args(Severity)), value="unspecified", label="Severity")
                change = gr.Dropdown(list(get_args(Change)), value="unspecified", label="Change")
                prior = gr.Dropdown(["no", "yes"], value="no", label="Refers to a prior study")
            quote = gr.Textbox(label="Words of the report", max_length=2000)
            with gr.Row():
                self.right, self.wrong = gr.Button("Right"), gr.Button("Wrong")
                self.fix, self.add = gr.Button("Save as corrected"), gr.Button("Add as missed")
        self.form = [finding, assertion, anatomy, side, severity, change, prior, quote]

    @property
    def view(self) -> list[Any]:
        """What shows a report: the block that was seen, its text, its evidence, and the form."""
        return [self.block, self.shown, self.unit, *self.form]

    def on(self, source: Any, work: Any, given: Sequence[Any], outputs: Sequence[Any], event: str = "click") -> None:
        """Join an event to a function; what went wrong stands above the report, which stays as it was."""
        kept = tuple(gr.skip() for _ in outputs)
        run = answering(self.bench, work, kept)
        getattr(source, event)(run, list(given), [self.said, *outputs], api_visibility="private")

    # -- what the buttons do ---------------------------------------------------------------------------------------

    def open_list(self, who: str, which: str) -> tuple[Any, ...]:
        """Make the worklist and open its first report that is not done."""
        done = self.store.statuses(who)
        if which not in LISTS:
            raise UsageError("no worklist is chosen", remedy="choose one")
        tasks = LISTS[which](self.bench)
        if not tasks:
            raise UsageError(f"nothing is in the list {which!r}", remedy="choose another")
        first = next(
            (i for i, task in enumerate(tasks) if not MARKS[done.get(task.report_id, "")].startswith("done")), 0
        )
        return tasks, self._choices(tasks, done, first), *self._view(who, tasks[first])

    def open_task(self, who: str, tasks: list[Task], position: int | None) -> tuple[Any, ...]:
        """Open a report of the list."""
        return self._view(who, _task(tasks, position))

    def open_next(self, who: str, tasks: list[Task], position: int | None) -> tuple[Any, ...]:
        """Open the next report that is not done."""
        _task(tasks, position)
        done = self.store.statuses(who)
        order = [*range((position or 0) + 1, len(tasks)), *range(position or 0)]
        left = [i for i in order if done.get(tasks[i].report_id) not in DONE]
        if not left:
            raise UsageError("all reports of this list are done", remedy="choose another list")
        return self._choices(tasks, done, left[0]), *self._view(who, tasks[left[0]])

    def judge(
        self, verdict: str, who: str, tasks: list[Task], position: int | None, block: Block | None, unit: int | None,
        *form: str,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Save a verdict on the chosen evidence, and choose the next that has none."""
        if unit is None:
            raise UsageError("no piece of evidence is chosen", remedy="choose one of the list")
        task = _task(tasks, position)
        self.store.judge(who, _seen(block, task), unit, verdict, _values(form))
        return self._after(who, tasks, position)

    def add_unit(
        self, who: str, tasks: list[Task], position: int | None, block: Block | None, _: int | None, *form: str
    ) -> tuple[Any, ...]:
        """Save evidence that was missed."""
        task = _task(tasks, position)
        self.store.add(who, _seen(block, task), _values(form))
        return self._after(who, tasks, position)

    def finish(
        self, verdict: str, who: str, tasks: list[Task], position: int | None, block: Block | None, _: int | None
    ) -> tuple[Any, ...]:
        """Save the verdict on the whole report."""
        task = _task(tasks, position)
        self.store.finish(who, _seen(block, task), verdict)
        return self._after(who, tasks, position)

    def judge_link(
        self, is_wrong: bool, who: str, tasks: list[Task], position: int | None, _: Block | None, __: int | None
    ) -> tuple[Any, ...]:
        """Save whether image and report belong together."""
        task = _task(tasks, position)
        if not task.link:
            raise UsageError("this report's link is not doubted", remedy="open the list of doubted links")
        self.store.judge_link(who, task.link, is_wrong)
        return self._after(who, tasks, position)

    def fill(self, block: Block | None, unit: int | None) -> tuple[Any, ...]:
        """Put the values of the chosen evidence into the form."""
        return _form(block, unit)

    # -- what they share -------------------------------------------------------------------------------------------

    def _after(self, who: str, tasks: list[Task], position: int | None) -> tuple[Any, ...]:
        task = _task(tasks, position)
        return self._choices(tasks, self.store.statuses(who), position or 0), *self._view(who, task)

    def _choices(self, tasks: list[Task], done: Mapping[str, str], chosen: int) -> Any:
        names = [
            (f"{i + 1} of {len(tasks)}. {MARKS[done.get(task.report_id, '')]}{task.report_id}, {task.reason}"[:160], i)
            for i, task in enumerate(tasks)
        ]
        return gr.update(choices=names, value=chosen)

    def _view(self, who: str, task: Task) -> tuple[Any, ...]:
        block = self.store.open(who, task.report_id)
        choices = [(_unit_line(block.rows[i], n), i) for n, i in enumerate(block.units, start=1)]
        first = next((i for i in block.units if not block.rows[i]["verdict"] and not is_added(block.rows[i])), None)
        chosen = first if first is not None else next(iter(block.units), None)
        return (
            block,
            self._report_html(who, task, block),
            gr.update(choices=choices, value=chosen),
            *_form(block, chosen),
        )

    def _report_html(self, who: str, task: Task, block: Block) -> str:
        lines = [f"{task.report_id}: {task.reason}"]
        if block.status:
            lines.append(
                {"begun": "begun, saved"}.get(block.status, "complete, saved") + f" in {self.store.file(who).name}"
            )
        if others := self.store.others(who, task.report_id):
            lines.append(f"also reviewed by {', '.join(others)}, each in a file of their own")
        if task.link and (verdict := self.store.link_verdicts(who).get(task.link["study_id"])):
            lines.append(f"the link is {verdict}, saved")
        text = self.store.texts[task.report_id]
        return note(*lines) + marked_html(text, _frame(block, text)) + self._image_html(task)

    def _image_html(self, task: Task) -> str:
        image = task.link.get("image_id") or image_of(self.bench, task.report_id)
        if image is None:
            return ""
        try:
            picture = CasePicture(self.bench.read_pixels(image))
        except LgdeaError as error:
            return note(f"the image cannot be shown: {error.problem}")
        sheet = CaseSheet("", (CaseColumn((f"image {image}",), (picture,)),))
        return str(Markup('<div class="lg-image">{}</div>').format(Markup(sheet_html(sheet))))


def _task(tasks: list[Task], position: int | None) -> Task:
    if not tasks or position is None or not 0 <= position < len(tasks):
        raise UsageError("no report is open", remedy="write who reviews and open a list")
    return tasks[position]


def _seen(block: Block | None, task: Task) -> Block:
    if block is None or block.report_id != task.report_id:
        raise UsageError("no report is open", remedy="choose one of the list")
    return block


def _values(form: Sequence[str]) -> dict[str, str]:
    return {name: str(value or "") for name, value in zip(SHOWN, form, strict=True)}


def _form(block: Block | None, unit: int | None) -> tuple[Any, ...]:
    if block is None or unit is None:
        return (None, "present", "", "unspecified", "unspecified", "unspecified", "no", "")
    values = values_of(block.rows[unit])
    values["anatomy"] = "" if values["anatomy"].lower() in ("none", "unspecified") else values["anatomy"]
    named = {"assertion": "present", "laterality": "unspecified", "severity": "unspecified", "change": "unspecified"}
    return tuple(values[name] or named.get(name, "no" if name == "refers_to_prior" else "") for name in SHOWN)


def _unit_line(row: Mapping[str, str], number: int) -> str:
    values = values_of(row)
    finding = load_vocabulary().findings.get(values["finding"])
    side = "" if values["laterality"] in ("", "unspecified") else f", {values['laterality']}"
    verdict = "added" if is_added(row) else row["verdict"] or "no verdict"
    by = f" [{row['run']}]" if row["run"] not in ("", "both") and row["differs"] else ""
    name = finding.name if finding else values["finding"]
    return f"{number}. {name}: {values['assertion']}{side}{by} – {verdict}"


def _frame(block: Block, text: str) -> pd.DataFrame:
    """The evidence as the reviewer has it now, for marking; what is wrong is left out."""
    rows: list[dict[str, Any]] = []
    for position in block.units:
        row = block.rows[position]
        if row["verdict"] == "wrong":
            continue
        values = values_of(row)
        moved = is_added(row) or row["correct_quote"]
        start = text.find(values["quote"]) if moved or not row["start"].isdecimal() else int(row["start"])
        end = start + len(values["quote"]) if moved or not row["end"].isdecimal() else int(row["end"])
        place = None if values["anatomy"].lower() in ("", "none") else values["anatomy"]
        fields: dict[str, Any] = {**values, "anatomy": place, "laterality": values["laterality"] or "unspecified"}
        fields |= {name: values[name] or "unspecified" for name in ("severity", "change")}
        fields["refers_to_prior"] = values["refers_to_prior"] in ("yes", "true", "1")
        rows.append({**fields, "start": start, "end": end, "alignment": "exact" if start >= 0 else "none"})
    return pd.DataFrame(rows, columns=[*SHOWN, "start", "end", "alignment"])
