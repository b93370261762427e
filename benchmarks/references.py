"""Findings told alone and beside healthy references, within and across sites (``python -m benchmarks.references``).

One JSON per run in ``OUT``; a run that is there is not done again. The table is made of what is there. With
``--display G`` the pictures of the last site have another display curve, grey values to the power G.
"""

from __future__ import annotations

import argparse
import json
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.cells import format_metric

METRICS = ("balanced_accuracy", "f1", "auroc")


def runs_of(sites: list[str]) -> dict[str, dict[str, str]]:
    """Runs by name: all images, and thresholds of each site at each other one.

    >>> list(runs_of(["a", "b"]))
    ['all', 'a-to-b', 'b-to-a']
    """
    crossing = {f"{a}-to-{b}": {"threshold_site": a, "site": b} for a, b in permutations(sites, 2)}
    return {"all": {}, **crossing}


def run(arguments: argparse.Namespace, name: str, settings: dict[str, Any]) -> None:
    """Evaluate one setting unless its result is there."""
    import lgdea

    file = arguments.out / f"{arguments.name}-{name}.json"
    if file.exists():
        return
    given = {**settings, "bootstrap_replicates": arguments.replicates, "workers": 2}
    if name == "all":
        given["attribution"] = arguments.attribution
    if arguments.strategies:
        given |= {"strategies": arguments.strategies, "standardise": True, "counts": (1, 5, 30)}
    found = lgdea.evaluate(arguments.model, arguments.archive, ["references"], settings={"references": given})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found["references"].to_dict(), indent=1) + "\n", encoding="utf-8")


def shown_otherwise(archive: Any, site: str, power: float, out: Path) -> Path:
    """The archive with other pictures of one site, grey values to the power given; made when it is not there."""
    from lgdea.imaging.read import read_image
    from lgdea.records.archive import write_archive
    from lgdea.records.schema import TABLES
    from lgdea.runs import is_finished

    if is_finished(out):
        return out
    of_site = set(archive.studies.loc[archive.studies["site"] == site, "study_id"])
    images = archive.images.assign(path=[f"{number:06d}.png" for number in range(len(archive.images))])
    (out / "images").mkdir(parents=True, exist_ok=True)
    for row, path in zip(archive.images.to_dict("records"), images["path"], strict=True):
        pixels = np.asarray(read_image(archive.image_path(row)).pixels)
        pixels = pixels**power if row["study_id"] in of_site else pixels
        Image.fromarray(np.round(pixels * 255).astype(np.uint8)).save(out / "images" / path)
    tables = {name: getattr(archive, name) for name in TABLES}
    write_archive(out, archive.name, {**tables, "images": images}, image_root=out / "images")
    return out


def table(folder: Path) -> str:
    """Markdown of all results: macro balanced accuracy alone, gains beside references by method, strategy and K."""
    parts = []
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        metrics = content["metrics"]
        counts = content["config"]["counts"]
        rows = list(dict.fromkeys(name.rpartition("@")[0] for name in metrics if "@" in name))
        alone = [name for name in ("single", "self") if f"{name}/balanced_accuracy_macro" in metrics]
        for reading in alone:
            numbers = (f"{m} {format_metric(metrics.get(f'{reading}/{m}_macro'))}" for m in METRICS)
            parts += [f"{file.stem}: {reading} {' '.join(numbers)}", ""]
        parts += ["| gain in balanced accuracy | " + " | ".join(f"K = {k}" for k in counts) + " |"]
        parts += ["|---" * (len(counts) + 1) + "|"]
        for row in rows:
            cells = [format_metric(metrics.get(f"{row}@{k}/balanced_accuracy_gain")) for k in counts]
            parts.append(f"| {row} | " + " | ".join(cells) + " |")
        measured = {name: value for name, value in metrics.items() if name.startswith("attribution/")}
        parts += ["", *(f"{name.partition('/')[2]} {format_metric(value)}" for name, value in measured.items())]
        parts += [*(f"note: {note}" for note in content["notes"]), ""]
    return "\n".join(parts)


def main() -> None:
    """Run all settings and print the table."""
    from lgdea.records.archive import Archive

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model folder, or a folder of answers")
    parser.add_argument("archive", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--name", default="references")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--attribution", type=int, default=150)
    parser.add_argument("--strategies", nargs="*", help="only these, with standardised displays")
    parser.add_argument("--display", type=float, help="power of the grey values of the last site")
    parser.add_argument("--only", nargs="*", help="names of runs; all by default")
    arguments = parser.parse_args()
    archive = Archive.open(arguments.archive)
    sites = sorted(archive.studies["site"].dropna().unique())
    if arguments.display is not None:
        changed = arguments.out / f"display-{arguments.display}"
        arguments.archive = shown_otherwise(archive, str(sites[-1]), arguments.display, changed)
        arguments.name += f"-display-{arguments.display}"
    for name, settings in runs_of([str(site) for site in sites]).items():
        if not arguments.only or name in arguments.only:
            run(arguments, name, settings)
    print(table(arguments.out))


if __name__ == "__main__":
    main()
