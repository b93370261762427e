"""The table of settings in docs/evaluation.md is that of the configurations.

``PYTHONPATH=. python tests/unit/evaluation/test_settings_table.py`` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path

from lgdea.evaluation.config import list_settings

PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"
BEGIN, END = "<!-- settings: begin -->\n", "<!-- settings: end -->\n"


def make_table() -> str:
    lines = ["| task | setting | default | meaning |", "|---|---|---|---|"]
    for task, name, default, description in list_settings():
        shown = json.dumps(default) if default is None or isinstance(default, bool) else default
        if isinstance(default, tuple):
            shown = f"[{', '.join(_plain(item) for item in default)}]"
        cells = [task, f"`{name}`", f"`{shown}`", description.replace("|", "\\|")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _plain(item: object) -> str:
    return f"{item:g}" if isinstance(item, float) else str(getattr(item, "name", item))


def test_the_table_in_the_documentation_is_current() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0].strip() == make_table().strip()


if __name__ == "__main__":
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{make_table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
