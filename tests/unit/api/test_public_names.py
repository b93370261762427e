"""Every public name is documented with types and an example that runs, and costs nothing until it is used."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any, is_typeddict

import pytest
import torch

import lgdea
from lgdea.phantom import generate

MODULES = [name for name in lgdea.__all__ if inspect.ismodule(getattr(lgdea, name))]
CALLABLES = [name for name in lgdea.__all__ if name != "__version__" and name not in MODULES]
CALLABLES += [f"{name}.{member}" for name in MODULES for member in getattr(lgdea, name).__all__]
CALLABLES = [name for name in CALLABLES if not is_typeddict(attrgetter(name)(lgdea))]


@pytest.fixture(scope="session")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Names that every example may use: ``folder``, a phantom ``archive``, a small random ``model``, ``torch``."""
    folder = tmp_path_factory.mktemp("examples")
    archive = generate(folder / "archive", studies=60, size=64)
    torch.manual_seed(0)
    settings = {"image_size": 64, "hidden": 32, "dim": 16, "prototypes": 4, "lesion_queries": 2}
    model = lgdea.create_model("test_resnet", texts=["The heart is enlarged.", "No pneumothorax."], **settings)
    return {"lgdea": lgdea, "torch": torch, "folder": folder, "archive": archive, "model": model}


@pytest.mark.parametrize("name", CALLABLES)
def test_a_public_name_explains_itself_and_its_example_runs(
    name: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = attrgetter(name)(lgdea)
    doc = inspect.getdoc(target) or ""
    if inspect.isfunction(target):
        signature = inspect.signature(target)
        if signature.parameters:
            assert "Args:" in doc, f"{name} does not explain its arguments"
        missing = [p for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty]
        assert not missing, f"{name} has arguments without a type: {missing}"
        assert signature.return_annotation is not inspect.Signature.empty
    # An example may use what its own module has, as a reader of the file would.
    known = {**vars(inspect.getmodule(target) or lgdea), **names}
    if name == "scrub_archive":
        pytest.importorskip("philter_lite")
    examples = doctest.DocTestFinder(recurse=False).find(target, name, globs=known)
    assert sum(len(test.examples) for test in examples) > 0, f"{name} has no example"
    monkeypatch.chdir(names["folder"])
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags, verbose=False)
    for test in examples:
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


def test_importing_lgdea_loads_no_torch_and_no_pandas() -> None:
    code = "import sys, lgdea; print([m for m in ('torch', 'pandas', 'transformers', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_is_an_attribute_error_and_all_names_are_listed() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = lgdea.no_such_name
    assert set(lgdea.__all__) <= set(dir(lgdea))
