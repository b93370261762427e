"""The instructions that a language model gets: a folder of text files, checked before any call.

``prompts/<id>`` ships with lgdea; a user's own folder works the same way (see ``prompts/README.md``).
"""

from __future__ import annotations

from lgdea.evidence.prompts.folder import PromptProblem, inspect_prompt, load_prompt, shipped_prompts
from lgdea.evidence.prompts.prompt import Prompt, Question
from lgdea.evidence.prompts.verify import Verdict, Verifier

__all__ = [
    "Prompt",
    "PromptProblem",
    "Question",
    "Verdict",
    "Verifier",
    "inspect_prompt",
    "load_prompt",
    "shipped_prompts",
]
