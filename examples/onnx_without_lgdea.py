"""Findings and a heat map of a chest X-ray from `lgdea model export MODEL --out exported`, without lgdea and torch.

    pip install numpy pillow onnxruntime
    python onnx_without_lgdea.py exported chest.png

For research only: not for diagnosis.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


def read_grey(file):
    """Read a PNG or JPEG of 8 bits as bytes (H, W), bright where the body is dense; transparency lies on black."""
    image = Image.open(file)
    if image.mode.startswith(("I", "F")):
        raise SystemExit(f"{file}: has more than 8 bits; scale it to 8 bits first")
    if image.mode in {"P", "PA", "LA", "RGBA"} or "transparency" in image.info:
        colour = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colour.size, (0, 0, 0, 255)), colour)
    return np.asarray(image.convert("L"))


def preprocess(grey, size, mean, std, mode):
    """Bring a picture (H, W) into the model's frame: (1, 1, size, size) float32."""
    height, width = grey.shape
    side = max(width, height) if mode == "letterbox" else min(width, height)
    left, top = (side - width) // 2, (side - height) // 2  # negative where it is cropped
    square = np.zeros((side, side), np.uint8)
    shown = grey[max(-top, 0) : max(-top, 0) + side, max(-left, 0) : max(-left, 0) + side]
    square[max(top, 0) : max(top, 0) + shown.shape[0], max(left, 0) : max(left, 0) + shown.shape[1]] = shown
    frame = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BILINEAR))
    return ((frame.astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std))[None, None]


def main(folder, picture, most=5):
    """Print the most probable phrases, and where the first of them is."""
    about = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    classes = np.load(folder / "classes.npz")
    grey = read_grey(picture)
    pixels = preprocess(grey, **about["preprocess"])

    towers = onnxruntime.InferenceSession(folder / "image_tower.onnx", providers=["CPUExecutionProvider"])
    found = dict(zip(about["image_outputs"], towers.run(about["image_outputs"], {"images": pixels}), strict=True))
    scorer = onnxruntime.InferenceSession(folder / "scores.onnx", providers=["CPUExecutionProvider"])
    given = {name: found[name] if name in found else classes[name] for name in about["score_inputs"]}
    scores = scorer.run(["scores"], given)[0][0]

    best = np.argsort(-scores, kind="stable")[:most]
    heat_map = (found["map_patches"][0] @ classes["map_phrases"][best[0]]).reshape(about["grid"])
    row, column = np.unravel_index(heat_map.argmax(), heat_map.shape)
    for i in best:
        print(f"{scores[i]:.4f}  {about['classes'][i]['phrase']}")
    print(f"the first is warmest in row {row + 1} of {about['grid'][0]}, column {column + 1} of {about['grid'][1]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
