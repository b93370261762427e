"""Security checks: bandit over the package, pip-audit over the versions that ``constraints.txt`` names.

A finding of bandit that was looked at stands in ``reviewed_findings.yaml``, by test and file, with how many there are
and why they stay. One that is not there, or one more than there, fails; so does one that is there and is gone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
LONGEST_WAIT_SECONDS = 300


def _report(*command: str) -> dict[str, Any] | None:
    """The JSON that a tool writes to stdout; None when it wrote none, as without the network."""
    try:
        made = subprocess.run(
            [sys.executable, "-m", *command], capture_output=True, text=True, timeout=LONGEST_WAIT_SECONDS, check=False
        )
        found: dict[str, Any] = json.loads(made.stdout)
    except (ValueError, subprocess.TimeoutExpired):
        return None
    return found


def check_code() -> list[str]:
    """Differences between what bandit finds and what was reviewed."""
    reviewed = yaml.safe_load((HERE / "reviewed_findings.yaml").read_text(encoding="utf-8"))
    skipped = ",".join(reviewed["skipped"])
    report = _report("bandit", "--quiet", "--recursive", "lgdea", "--format", "json", "--skip", skipped)
    if report is None:
        return ["bandit gave no report"]
    problems = [f"{error['filename']}: {error['reason']}" for error in report["errors"]]
    found = Counter((finding["test_id"], finding["filename"]) for finding in report["results"])
    known = {
        (test, file): count for test, files in reviewed["findings"].items() for file, count in files["files"].items()
    }
    for test, file in sorted(found.keys() | known.keys()):
        here, before = found[test, file], known.get((test, file), 0)
        lines = [f["line_number"] for f in report["results"] if (f["test_id"], f["filename"]) == (test, file)]
        if here > before:
            problems.append(f"{file}: {here} findings of {test} (lines {lines}), {before} of them reviewed")
        elif here < before:
            problems.append(f"{file}: {here} findings of {test}, {before} reviewed: lower the number")
    return problems


def check_packages() -> tuple[list[str], str]:
    """Known vulnerabilities, and a line about what was looked up."""
    report = _report("pip_audit", "--format", "json", "--no-deps", "--disable-pip", "--requirement", "constraints.txt")
    packages = [] if report is None else report["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        return [], "packages: SKIPPED, the vulnerability service cannot be reached or knows none of the packages"
    problems = [
        f"{package['name']} {package['version']}: {bug['id']}, mended in {', '.join(bug['fix_versions']) or 'none'}"
        for package in asked
        for bug in package["vulns"]
    ]
    return problems, f"packages: {len(asked)} of {len(packages)} looked up"


def main() -> None:
    """Print what is wrong; leave with 1 if anything is."""
    code = check_code()
    packages, said = check_packages()
    print("code: bandit finds nothing that was not reviewed" if not code else "code:")
    print(said)
    print(*code, *packages, sep="\n", end="\n" if code or packages else "")
    sys.exit(1 if code or packages else 0)


if __name__ == "__main__":
    main()
