"""Images per second on one GPU: ViT-B/16 and a text tower of BERT-base size, a whole step beside the bare towers.

Launch: python pipelines/gpu_check.py --out runs/gpu_check
(one GPU of 40 GB or more; random weights and a synthetic archive, so nothing is downloaded)

Writes ``gpu_check.json``: per setting of the ``speed:`` block and precision, seconds a step, images a second and the
ratio to forward, backward and optimiser of the towers alone on the same batch. A setting that fails is in the table
with its error.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.archive import PhantomSettings
from benchmarks.train import make_inputs, measure_step
from lgdea import runs
from lgdea.config import load_config
from lgdea.pretraining.config import PretrainConfig
from lgdea.shipped import shipped

TOWERS = [
    "image.tower=vit_base_patch16_224",
    "image.pretrained=false",
    "text.tower=small-bert",
    "text.pretrained=false",
    "text.hidden=768",
    "text.layers=12",
    "trainer.strategy=auto",
    "validation.max_images=0",
    "schedule.evidence_share=0",
]
SETTINGS = {
    "float32": ["trainer.precision=32-true", "speed.compile=false", "speed.tf32=false"],
    "tf32": ["trainer.precision=32-true", "speed.compile=false"],
    "bf16": ["trainer.precision=bf16-mixed", "speed.compile=false"],
    "bf16, compiled": ["trainer.precision=bf16-mixed", "speed.compile=true"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=128, help="images per step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--accelerator", default="gpu", help="cpu tries the script without a GPU")
    parser.add_argument("--set", action="append", default=[], help="override one key of the configuration")
    arguments = parser.parse_args()
    out: Path = arguments.out
    inputs = make_inputs(PhantomSettings(studies=1500, size=256, difficulty="easy"), out)
    file = Path(str(shipped("configs"))) / "pretrain" / "vitb16-bert.yaml"
    shared = [f"data.batch_size_per_device={arguments.batch}", f"trainer.accelerator={arguments.accelerator}"]
    rows = []
    for objective in ("clip", "lgdea"):
        for name, setting in SETTINGS.items():
            chosen = [f"objective.name={objective}", *TOWERS, *shared, inputs, *setting, *arguments.set]
            row: dict[str, object] = {"objective": objective, "setting": name, "batch": arguments.batch}
            try:
                row |= measure_step(load_config(PretrainConfig, [file], chosen), out, arguments.steps)
            except (RuntimeError, torch.OutOfMemoryError) as error:
                row["error"] = " ".join(str(error).split())[:300]
            print(row, flush=True)
            rows.append(row)
    device = torch.cuda.get_device_name() if arguments.accelerator != "cpu" else "CPU"
    runs.write_json(out / "gpu_check.json", {"device": device, "torch": torch.__version__, "rows": rows})


if __name__ == "__main__":
    main()
