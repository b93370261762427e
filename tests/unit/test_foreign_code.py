"""No code of a model's repository runs that was not admitted, and no pickle is loaded: every call says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lgdea

SOURCES = sorted(Path(lgdea.__file__).parent.rglob("*.py"))
ASKS = {"from_pretrained", "from_config", "load_dataset", "pipeline"}
"""Functions of transformers and datasets that run a repository's code when they are told, or asked, to."""
WITHOUT_CODE = {"PeftConfig.from_pretrained", "PeftModel.from_pretrained", "LgdeaModel.from_pretrained"}
"""Those that have no such option: an adapter is a JSON file and safetensors, and so is a model of lgdea."""
PICKLES = {"pickle.load", "pickle.loads", "cPickle.load", "dill.load", "cloudpickle.load", "joblib.load",
           "pd.read_pickle", "pandas.read_pickle", "shelve.open", "marshal.loads", "torch.jit.load"}  # fmt: skip


ADMITTED = "admitted.trusted"
"""What may stand for False: an answer of ``lgdea.foreign_code``, which asks whether it was said on the command line."""


def _names_called(node: ast.AST) -> Iterator[str]:
    return (ast.unparse(part.func) for part in ast.walk(node) if isinstance(part, ast.Call))


def _calls(source: str) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))


def _problems(source: str, *, admits: bool = False) -> list[str]:
    found = [
        f"{ADMITTED.partition('.')[0]} is not what admit() gave, line {node.lineno}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Assign) and "admitted" in [ast.unparse(target) for target in node.targets]
        and not set(_names_called(node.value)) & {"admit", "readmit", "Admitted"}
    ]  # fmt: skip
    for call in _calls(source):
        name, given = ast.unparse(call.func), {word.arg: word.value for word in call.keywords}
        trust = given.get("trust_remote_code")
        is_false = (isinstance(trust, ast.Constant) and trust.value is False) or (
            isinstance(trust, ast.Attribute) and ast.unparse(trust) == ADMITTED
        )
        # lgdea's own functions of these names take no such option: they are called on lgdea's classes, in small letters
        if name.rpartition(".")[2] in ASKS and name[0].isupper() and not is_false and name not in WITHOUT_CODE:
            found.append(f"{name} without trust_remote_code, line {call.lineno}")
        if name.rpartition(".")[2] == "Admitted" and "trusted" in given and not admits:
            found.append(f"{name} that trusts, line {call.lineno}")
        if trust is not None and not is_false:
            found.append(f"{name} with trust_remote_code={ast.unparse(trust)}, line {call.lineno}")
        if name in PICKLES:
            found.append(f"{name}, line {call.lineno}")
        allow = given.get("allow_pickle")
        if allow is not None and not (isinstance(allow, ast.Constant) and allow.value is False):
            found.append(f"{name} with allow_pickle, line {call.lineno}")
        only = given.get("weights_only")
        if name == "torch.load" and not (isinstance(only, ast.Constant) and only.value is True):
            found.append(f"torch.load without weights_only=True, line {call.lineno}")
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(SOURCES[0].parent)))
def test_no_call_runs_foreign_code(file: Path) -> None:
    assert _problems(file.read_text(encoding="utf-8"), admits=file.name == "foreign_code.py") == []


@pytest.mark.parametrize(
    "source",
    [
        "AutoModel.from_pretrained(name)",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
        "transformer.load(name, trust_remote_code=flag)",
        "AutoModel.from_pretrained(name, trust_remote_code=trusted)",
        "admitted = Anything(True)\nAutoModel.from_pretrained(name, trust_remote_code=admitted.trusted)",
        "admitted = Admitted(name, name, trusted=True)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "pickle.load(stream)",
    ],
)
def test_the_check_can_fail(source: str) -> None:
    assert _problems(source)


def test_the_check_sees_the_calls() -> None:
    names = [ast.unparse(call.func) for file in SOURCES for call in _calls(file.read_text(encoding="utf-8"))]
    assert sum(name.endswith(".from_pretrained") for name in names) >= 10
    assert names.count("torch.load") >= 3
