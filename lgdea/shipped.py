"""The files that ship beside the code: prompts, configurations, data cards, the demo's image tower.

In a source checkout they stand at the top of the repository; the wheel carries them inside the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from lgdea.errors import UsageError

_TEXT = "tag:yaml.org,2002:str"


def shipped(kind: str) -> Traversable:
    """The folder of shipped files of one ``kind``: ``prompts``, ``configs``, ``data_cards`` or ``towers``.

    Raises:
        UsageError: The installation lacks it.
    """
    package = resources.files("lgdea")
    in_wheel = package / "_shipped" / kind
    if in_wheel.is_dir():
        return in_wheel
    in_checkout = Path(str(package)).parent / kind
    if in_checkout.is_dir():
        return in_checkout
    raise UsageError(f"this installation ships no {kind}", remedy="reinstall lgdea")


def read_table(file: Traversable) -> Any:
    """Read a YAML table that ships inside the package, with libyaml where PyYAML has it: five to ten times as fast."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(file.read_text(encoding="utf-8"))
    try:
        return _read_node(loader.get_single_node(), loader)
    finally:
        loader.dispose()


def _read_node(node: yaml.Node, loader: yaml.SafeLoader) -> Any:
    """The value of a node; PyYAML's own way takes twice as long, since a value may hold itself there."""
    if isinstance(node, yaml.MappingNode):
        return {_read_node(key, loader): _read_node(value, loader) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_read_node(value, loader) for value in node.value]
    return node.value if node.tag == _TEXT else loader.construct_object(node)


def config_files(kind: str, names: Sequence[str] | None) -> list[Path]:
    """Resolve the configuration files of a stage: each a path as given, or a shipped one by its bare name.

    Args:
        kind: ``extract``, ``pretrain``, ``eval`` or ``suites``.
        names: Paths or bare names (``demo-lgdea``), in the order in which they are merged.
    """
    return resolve_configs(Path(str(shipped("configs"))) / kind, names)


def resolve_configs(folder: Path, names: Sequence[str] | None) -> list[Path]:
    """Resolve configuration files as :func:`config_files` does, with bare names looked up in ``folder``.

    Raises:
        UsageError: A bare name is neither a file nor in ``folder``.
    """
    files = []
    for name in names or ():
        path, named = Path(name), folder / f"{name}.yaml"
        if path.exists() or path.suffix or len(path.parts) > 1:
            files.append(path)
        elif named.exists():
            files.append(named)
        else:
            known = sorted(file.stem for file in folder.glob("*.yaml"))
            raise UsageError(f"no configuration {name!r}", remedy=f"give a YAML file, or one of {', '.join(known)}")
    return files
