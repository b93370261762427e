"""Let PyPI's torchvision be imported beside a CPU build of torch: `make vllm-env` copies this into vLLM's environment.

Every vision-language model of vLLM imports torchvision for the transforms of its image processor. PyPI's is built for
CUDA torch, so beside torch+cpu its compiled operators do not load, and the import ends at the Python code that tells of
two of them: "operator torchvision::nms does not exist". Declared here, they let it be imported; nothing calls them.

vLLM looks at a model's class in a process of its own, so a `.pth` file brings this into every Python of the
environment (`sitecustomize.py` would be hidden by the one of Debian's Python). Nothing happens before torchvision is
imported.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

OPERATORS = ("nms", "qnms")


class DeclareOperators(MetaPathFinder):
    """Declares the operators when torchvision is looked for, and finds nothing itself."""

    library: Any = None
    """Keeps the declarations alive."""

    @classmethod
    def find_spec(cls, fullname: str, *_: Any) -> None:
        """Called by the import system with every module's name."""
        if fullname != "torchvision":
            return
        sys.meta_path.remove(cls)
        import torch

        cls.library = torch.library.Library("torchvision", "DEF")
        for name in OPERATORS:
            cls.library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, DeclareOperators)
