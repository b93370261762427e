"""``lgdea prompts``: what a language model is asked, and whether a prompt is fit to be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgdea.cli.console import JsonFlag, console, echo, show_json, show_table

if TYPE_CHECKING:
    from lgdea.evidence.prompts import Prompt

LONG = 4000

app = typer.Typer(help="Prompts for language models: list, show and check them.", no_args_is_help=True)
PromptArgument = Annotated[str, typer.Argument(help="A shipped prompt id, or the folder of one of your own.")]


@app.command("list")
def list_prompts(json: JsonFlag = False) -> None:
    """List the prompts that ship with lgdea.

    Example: `lgdea prompts list`
    """
    from lgdea.api import extraction
    from lgdea.comparison.references.prompt import shipped_compare_prompts
    from lgdea.evidence.prompts import load_prompt

    facts = [_facts(load_prompt(prompt_id)) for prompt_id in extraction.list_prompts()]
    facts += [_compare_facts(prompt_id) for prompt_id in shipped_compare_prompts()]
    if json:
        show_json({"prompts": facts})
        return
    rows = [(f["prompt_id"], f["reads"], f["passes"], f["examples"], f["prefix_tokens"], f["about"]) for f in facts]
    show_table(None, ["prompt", "reads", "passes", "examples", "tokens", "about"], rows)


@app.command()
def show(prompt: PromptArgument, json: JsonFlag = False) -> None:
    """Show a prompt as a model sees it: instruction, template, examples, second pass; with `--json` its schema too.

    Example: `lgdea prompts show evidence-v2`
    """
    from lgdea.comparison.references.prompt import load_compare_prompt, shipped_compare_prompts
    from lgdea.evidence.prompts import load_prompt

    if prompt in shipped_compare_prompts():
        texts = load_compare_prompt(prompt).texts.model_dump()
        if json:
            show_json({**_compare_facts(prompt), "texts": texts})
        else:
            show_table(None, ["prompt", prompt], list(texts.items()))
        return
    found = load_prompt(prompt)
    facts = _facts(found)
    second = found.verifier
    if json:
        facts |= {"messages": found.prefix, "user": found.user, "json_schema": found.json_schema()}
        if second is not None:
            facts["verify"] = {"messages": second.prefix, "user": second.user, "json_schema": second.json_schema()}
        show_json(facts)
        return
    show_table(None, ["prompt", found.prompt_id], [(name, _cell(value)) for name, value in facts.items()][1:])
    _show_pass("extract", found.system, found.user, found.examples)
    if second is not None:
        _show_pass("verify", second.system, second.user, [(f"{s} | {said}", a) for s, said, a in second.examples])


@app.command()
def check(prompt: PromptArgument, json: JsonFlag = False) -> None:
    """Check a prompt before it costs anything: files, slots, every example, the schema. Exit code 1 on problems.

    Example: `lgdea prompts check my/prompt`
    """
    from lgdea.evidence.prompts import inspect_prompt

    found, problems = inspect_prompt(prompt)
    notes = _notes(found) if found else []
    if json:
        listed = [{"file": p.file, "row": p.row, "problem": p.problem} for p in problems]
        show_json({"prompt": _facts(found) if found else None, "problems": listed, "notes": notes})
    else:
        for line in [*(str(problem) for problem in problems), *(f"note: {note}" for note in notes)]:
            echo(line)
        if found:
            facts = _facts(found)
            echo(f"{found.prompt_id}: fit to be used, about {facts['prefix_tokens']:,} shared tokens")
        else:
            echo(f"{prompt}: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
    if problems:
        raise typer.Exit(1)


def _facts(prompt: Prompt) -> dict[str, Any]:
    from lgdea.evidence.prompts.coverage import count_tokens, shown_kinds

    second = prompt.verifier
    return {
        "prompt_id": prompt.prompt_id,
        "about": prompt.about,
        "reads": prompt.reads,
        "passes": 2 if second else 1,
        "examples": len(prompt.examples),
        "examples_show": shown_kinds(prompt),
        "prefix_tokens": count_tokens(prompt.prefix),
        **({"verify_examples": len(second.examples), "verify_tokens": count_tokens(second.prefix)} if second else {}),
        "sha256": prompt.sha256,
        "files_sha256": prompt.files_sha256,
    }


def _compare_facts(prompt_id: str) -> dict[str, Any]:
    """What there is to say of a comparative prompt, which reads images and has no examples."""
    from lgdea.comparison.references.prompt import load_compare_prompt
    from lgdea.evidence.prompts.coverage import count_tokens

    found = load_compare_prompt(prompt_id)
    words = ({"role": "user", "content": " ".join(part["text"] for part in found.parts("nodule", [], {"text": ""}))},)
    return {
        "prompt_id": prompt_id,
        "about": found.texts.about,
        "reads": "images",
        "passes": 1,
        "examples": 0,
        "prefix_tokens": count_tokens(words),
        "files_sha256": found.files_sha256,
    }


def _notes(prompt: Prompt) -> list[str]:
    facts = _facts(prompt)
    missing = [kind for kind, count in facts["examples_show"].items() if not count]
    notes = [f"no example shows: {', '.join(missing)}"] if missing else []
    for name in ("prefix_tokens", "verify_tokens"):
        if facts.get(name, 0) > LONG:
            notes.append(f"about {facts[name]:,} tokens before the text; the window of a small model is soon full")
    return notes


def _cell(value: Any) -> str:
    return ", ".join(f"{name} {n}" for name, n in value.items()) if isinstance(value, dict) else str(value)


def _show_pass(name: str, system: str, user: str, examples: Any) -> None:
    for title, text in ((f"{name}: system", system), (f"{name}: user", user)):
        console.rule(title, align="left")
        console.print(text, markup=False, highlight=False)
    for number, (text, answer) in enumerate(examples, start=1):
        console.rule(f"{name}: example {number}", align="left")
        console.print(f"{text}\n=> {answer}", markup=False, highlight=False)
