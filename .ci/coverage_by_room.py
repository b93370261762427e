"""Print the share of lines that the tests ran, for each room of the package and in total (reads `.coverage`)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import coverage


def main() -> None:
    """Print one row per room: its name, its lines, the lines never run and the share that ran in percent."""
    data = coverage.Coverage()
    data.load()
    lines: dict[str, int] = defaultdict(int)
    missed: dict[str, int] = defaultdict(int)
    root = Path("lgdea").resolve()
    for name in data.get_data().measured_files():
        _, statements, _, missing, _ = data.analysis2(name)
        first, *rest = Path(name).relative_to(root).parts
        for row in (f"lgdea/{first}" if rest else "lgdea/*.py", "total"):
            lines[row] += len(statements)
            missed[row] += len(missing)
    width = max(map(len, lines))
    print(f"{'room':<{width}}  lines  missed  covered")
    for row in sorted(lines, key=lambda row: (row == "total", row)):
        print(f"{row:<{width}}  {lines[row]:5}  {missed[row]:6}  {1 - missed[row] / lines[row]:7.1%}")


if __name__ == "__main__":
    main()
