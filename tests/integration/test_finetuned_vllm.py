"""A fine-tuned vision-language model answers the same in vLLM as in transformers, adapter merged, held to a choice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.vllm_environment import ENVIRONMENT, PYTHON, needs_vllm

pytest.importorskip("trl", reason="lgdea[finetune] is not installed")

import torch

from benchmarks.tiny_vlm import build_tiny_vlm
from lgdea.comparison.finetune.config import FinetuneConfig
from lgdea.comparison.finetune.model import load_vlm
from lgdea.comparison.finetune.train import finetune
from lgdea.comparison.references.prompt import ANSWERS, load_compare_prompt
from lgdea.config import load_config

pytestmark = needs_vllm

FINDINGS = ("pleural_effusion", "nodule")
REFERENCES = (0, 1, 3)
TOLERANCE = 0.05
SERVE = """
import json, sys
from pathlib import Path
from lgdea.comparison.references.prompt import ANSWERS, load_compare_prompt
from lgdea.errors import UsageError
from lgdea.evidence.backends.base import Request, get_backend
from lgdea.evidence.backends.parts import with_pictures

model, folder = sys.argv[1], Path(sys.argv[2])
backend = get_backend(
    "vllm", model=model, dtype="float", max_model_len=512, max_tokens=64, engine_enforce_eager=True,
    engine_max_num_seqs=4, engine_limit_mm_per_prompt='{"image": 4, "video": 0}',
)
prompt, png = load_compare_prompt(), lambda name: (folder / name).read_bytes()
requests = [
    Request(str(n), "", prompt.messages(q["finding"], [png(r) for r in q["references"]], png(q["query"])),
            prompt.json_schema(), choices=ANSWERS)
    for n, q in enumerate(json.loads((folder / "questions.json").read_text()))
]
answers = {r.request_id: [r.text, r.failure, r.logprobs] for r in backend.respond(requests)}
from vllm import SamplingParams
free = SamplingParams(temperature=0, max_tokens=1, logprobs=20)
raw = []
for request in requests:
    first = backend.llm.chat([with_pictures(request.prompt)], free, use_tqdm=False)[0].outputs[0].logprobs[0]
    raw.append({token.decoded_token: token.logprob for token in first.values()})
try:
    five = prompt.messages("nodule", [png("0.png")] * 4, png("1.png"))
    list(backend.respond([Request("many", "", five, prompt.json_schema(), choices=ANSWERS)]))
    refused = None
except UsageError as error:
    refused = str(error)
print("RESULT " + json.dumps({"answers": answers, "raw": raw, "refused": refused}))
"""


def test_a_merged_adapter_is_served_with_the_same_log_probabilities_and_held_to_the_choice(tmp_path):
    questions = _questions(tmp_path)
    base, merged = _finetuned(tmp_path, questions)
    ours, before = _log_probabilities(merged, tmp_path, questions), _log_probabilities(base, tmp_path, questions)
    # An engine that left out the adapter, or an image, or mixed them up, would be found out.
    assert (ours - before).abs().max() > 5 * TOLERANCE
    assert ours.std(0).min() > 3 * TOLERANCE

    served = _serve(merged, tmp_path)
    raw = torch.tensor([[found[word] for word in ANSWERS] for found in served["raw"]])
    torch.testing.assert_close(raw, ours, atol=TOLERANCE, rtol=0)
    answers = [served["answers"][str(n)] for n in range(len(questions))]
    assert not [failure for _, failure, _ in answers if failure]
    assert [text for text, _, _ in answers] == [ANSWERS[best] for best in ours.argmax(1).tolist()]
    chosen = torch.tensor([[found[word] for word in ANSWERS] for _, _, found in answers])  # among the choices
    torch.testing.assert_close(chosen, ours.log_softmax(1), atol=TOLERANCE, rtol=0)
    assert "is started for 4 images in one message, 5 are needed" in served["refused"]


def _questions(folder: Path) -> list[dict]:
    """A question of each finding with no, one and three references, about stripes of different width."""
    across = np.arange(48)
    for n in range(8):
        stripes = 127 * (1 + np.sin(across[:, None] * (n + 1) / 8 + across[None, :] * n / 8))
        Image.fromarray(stripes.astype(np.uint8)).save(folder / f"{n}.png")
    questions = [
        {"finding": finding, "references": [f"{r}.png" for r in range(k)], "query": f"{4 + k}.png"}
        for finding in FINDINGS
        for k in REFERENCES
    ]
    (folder / "questions.json").write_text(json.dumps(questions))
    return questions


def _finetuned(folder: Path, questions: list[dict]) -> tuple[Path, Path]:
    """A tiny model whose weights have learned answers, and what LoRA makes of it on the opposite answers, merged."""
    words = [*_rows(folder, questions, 0), *ANSWERS]
    random = build_tiny_vlm(folder / "random", words, side=48, layers=2, initializer_range=0.06)
    same = {"data": folder / "rows.jsonl", "rows_per_step": 6, "rows_per_device": 6, "optimizer": {"lr": 2e-3}}
    full = {"model": str(random), "method": "full", "max_steps": 40, **same}
    base = finetune(load_config(FinetuneConfig, overrides=[full]), folder / "base")
    _rows(folder, questions, 1)
    lora = {"model": str(base), "merge": True, "max_steps": 20, "lora": {"rank": 8, "dropout": 0.0}, **same}
    return base, finetune(load_config(FinetuneConfig, overrides=[lora]), folder / "run")


def _rows(folder: Path, questions: list[dict], first: int) -> list[str]:
    """Write the questions as rows whose answers alternate; returns the texts around the images."""
    prompt = load_compare_prompt()
    rows = [
        prompt.training_row(q["finding"], q["references"], q["query"], (n + first) % 2 == 0)
        for n, q in enumerate(questions)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [part["text"] for row in rows for part in row["prompt"][0]["content"]]


def _log_probabilities(folder: Path, pictures: Path, questions: list[dict]) -> torch.Tensor:
    """Of yes and no as the first token, (questions, 2), by transformers."""
    model, processor = load_vlm(str(folder))
    words = [processor.tokenizer(word)["input_ids"][0] for word in ANSWERS]
    found = []
    for question in questions:
        files = [*question["references"], question["query"]]
        row = load_compare_prompt().training_row(question["finding"], question["references"], question["query"], True)
        text = processor.apply_chat_template(row["prompt"], add_generation_prompt=True)
        images = [Image.open(pictures / file).convert("RGB") for file in files]
        with torch.no_grad():
            scores = model.eval()(**processor(images=images, text=[text], return_tensors="pt")).logits[0, -1]
        found.append(scores.log_softmax(-1)[words])
    return torch.stack(found)


def _serve(model: Path, folder: Path) -> dict:
    (folder / "serve.py").write_text(SERVE)
    command = [str(PYTHON), str(folder / "serve.py"), str(model), str(folder)]
    done = subprocess.run(
        command, env=ENVIRONMENT, cwd=folder, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(
        next(line for line in done.stdout.splitlines() if line.startswith("RESULT ")).removeprefix("RESULT ")
    )
