"""Fine-tuning of a tiny Qwen3-VL: rows, labels, resume, adapters without pickles, merging, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("trl", reason="lgdea[finetune] is not installed")

import torch
from safetensors.torch import load_file, save_file

from benchmarks.tiny_vlm import CHAT_TEMPLATE, build_tiny_vlm
from lgdea.comparison.finetune.batches import Collator, check_batches
from lgdea.comparison.finetune.callbacks import newest_checkpoint
from lgdea.comparison.finetune.config import FinetuneConfig
from lgdea.comparison.finetune.model import load_vlm, merge_adapter
from lgdea.comparison.finetune.rows import read_rows
from lgdea.comparison.finetune.train import finetune
from lgdea.comparison.questions.files import write_questions
from lgdea.comparison.questions.question import Question
from lgdea.config import load_config
from lgdea.errors import ConfigError, DataError, TrainingError, UsageError
from tests.helpers.command_line import run_lgdea

QUESTION = "Is there a finding in image 2?"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return build_tiny_vlm(tmp_path_factory.mktemp("vlm"), [QUESTION, "yes left", "no"], side=32, width=32, layers=2)


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    """24 rows of two pictures, paths relative to the file."""
    folder, rng = tmp_path_factory.mktemp("rows"), np.random.default_rng(0)
    for n in range(6):
        Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(folder / f"{n}.png")
    return write_rows(
        folder / "trl.jsonl",
        [row([f"{k % 6}.png", f"{(k + 1) % 6}.png"], "yes left" if k % 2 else "no") for k in range(24)],
    )


def row(images: list[str], answer: str) -> dict[str, Any]:
    parts = [part for _ in images for part in ({"type": "text", "text": "Image: "}, {"type": "image", "text": ""})]
    return {
        "images": images,
        "prompt": [{"role": "user", "content": [*parts, {"type": "text", "text": QUESTION}]}],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": answer}]}],
    }


def write_rows(file: Path, content: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in content))
    return file


def settings(base: Path, rows: Path, **more: Any) -> FinetuneConfig:
    small = {
        "rows_per_step": 4,
        "rows_per_device": 2,
        "max_steps": 4,
        "checkpoint": {"every_steps": 2},
        "lora": {"rank": 4},
    }
    return load_config(FinetuneConfig, overrides=[{"model": str(base), "data": rows, **small, **more}])


def logits(model: Any, processor: Any, rows: Path) -> torch.Tensor:
    batch = Collator(processor)(
        [
            {"images": [str(i) for i in r.images], "prompt": r.prompt, "completion": r.completion}
            for r in read_rows(rows)[:3]
        ]
    )
    batch.pop("labels")
    with torch.no_grad():
        return model.eval()(**batch).logits


@pytest.fixture(scope="module")
def trained(base, rows, tmp_path_factory) -> Path:
    """A whole LoRA run of four steps with a merged model."""
    out = tmp_path_factory.mktemp("runs") / "lora"
    finetune(settings(base, rows, merge=True), out)
    return out


def test_a_run_leaves_an_adapter_without_pickles_that_changes_the_model_and_not_its_vision_tower(trained, base, rows):
    names = {file.name for file in (trained / "adapter").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "processor_config.json", "chat_template.jinja"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert not list(trained.rglob("training_args.bin"))
    weights = load_file(trained / "adapter" / "adapter_model.safetensors")
    assert weights
    assert not [name for name in weights if "visual" in name]
    assert (trained / "_SUCCESS").exists()
    steps = {int(line.split(",")[0]) for line in (trained / "metrics.csv").read_text().splitlines()[1:]}
    assert 4 in steps


def test_the_merged_model_answers_as_the_model_with_its_adapter(trained, base, rows):
    from peft import PeftModel

    plain, processor = load_vlm(str(base))
    before = logits(plain, processor, rows)
    adapted = logits(PeftModel.from_pretrained(plain, str(trained / "adapter")), processor, rows)
    merged = logits(*load_vlm(str(trained / "merged")), rows)
    assert (adapted - before).abs().max() > 1e-3
    torch.testing.assert_close(merged, adapted, atol=1e-4, rtol=1e-4)


def test_the_loss_is_on_the_answer_alone(base, rows):
    model, processor = load_vlm(str(base))
    collator, read = Collator(processor), read_rows(rows)
    batch = collator(
        [{"images": [str(i) for i in r.images], "prompt": r.prompt, "completion": r.completion} for r in read[:2]]
    )
    said = [
        processor.tokenizer.decode(ids[labels != -100])
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True)
    ]
    assert said == ["no<|im_end|>\n", "yes left<|im_end|>\n"]
    assert check_batches(collator, read, model, processor, rows) == batch["input_ids"].shape[1]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        pytest.param(
            CHAT_TEMPLATE.replace(
                "{% for message in messages %}", "{% for message in messages if message['role'] != 'assistant' %}"
            ),
            "no token of its answer has loss",
            id="no assistant's turn",
        ),
        pytest.param(
            CHAT_TEMPLATE.replace(
                "{{ part['text'] }}", "{% if message['role'] == 'user' %}{{ part['text'] }}{% else %}well{% endif %}"
            ),
            "the answer is",
            id="other words",
        ),
        pytest.param(
            CHAT_TEMPLATE.replace(
                "{{ part['text'] }}",
                "{{ part['text'] }}{% if message['role'] == 'assistant' %}<|vision_start|>{% endif %}",
            ),
            "the loss is on tokens of images",
            id="image tokens",
        ),
    ],
)
def test_a_template_that_puts_the_loss_elsewhere_is_refused_before_training(template, message, rows, tmp_path):
    base = build_tiny_vlm(tmp_path / "vlm", [QUESTION], side=32, width=32, layers=2, chat_template=template)
    with pytest.raises(DataError, match=message):
        finetune(settings(base, rows), tmp_path / "run")


def test_a_stopped_run_goes_on_and_ends_where_an_unbroken_one_does(trained, base, rows, tmp_path, monkeypatch):
    from trl import SFTTrainer

    out, step, calls = tmp_path / "run", SFTTrainer.training_step, []

    def stopping(self, *arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 6:  # in the third step; there is a checkpoint of the second
            raise KeyboardInterrupt
        return step(self, *arguments, **more)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SFTTrainer, "training_step", stopping)
        finetune(settings(base, rows), out)
    assert not (out / "_SUCCESS").exists()
    finetune(settings(base, rows), out)
    ours, whole = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (out, trained))
    assert ours.keys() == whole.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, whole[name])
    with pytest.raises(UsageError, match="another config"):
        finetune(settings(base, rows, max_steps=6), out)
    assert finetune(settings(base, rows, merge=True), out) == out / "merged"  # of a finished run, without training


def test_all_weights_are_trained_and_loaded(base, rows, tmp_path):
    folder = finetune(settings(base, rows, method="full", max_steps=2, optimizer={"lr": 1e-3}), tmp_path / "run")
    assert not [file for file in folder.iterdir() if file.suffix in (".bin", ".pt")]
    before, after = (logits(*load_vlm(str(name)), rows) for name in (base, folder))
    assert (after - before).abs().max() > 1e-3


def test_rows_in_the_given_order_when_they_are_not_shuffled(base, rows, tmp_path, monkeypatch):
    seen: list[str] = []
    call = Collator.__call__

    def watching(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        if len(examples) == 2:  # not a check of one row
            seen.extend(Path(example["images"][0]).name for example in examples)
        return call(self, examples)

    monkeypatch.setattr(Collator, "__call__", watching)
    finetune(settings(base, rows, shuffle=False, method="full", max_steps=2), tmp_path / "run")
    assert seen[:8] == [f"{k % 6}.png" for k in range(8)]


def test_a_loss_that_is_no_number_stops_the_run(base, rows, tmp_path):
    with pytest.raises(TrainingError, match="the loss became"):
        finetune(
            settings(base, rows, method="full", max_steps=40, optimizer={"lr": 1e18}, trainer={"max_grad_norm": 1e30}),
            tmp_path / "run",
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"images": ["0.png", "gone.png"]}, "row 2: no such picture", id="no picture"),
        pytest.param({"images": ["0.png"]}, "row 2: has 1 images and 2 places", id="too few pictures"),
        pytest.param(
            {"completion": [{"role": "assistant", "content": " "}]}, "row 2: has an empty completion", id="empty answer"
        ),
        pytest.param({"completion": None}, "row 2: is no row of images, prompt and completion", id="no completion"),
        pytest.param(
            {"prompt": [{"role": "user", "content": [{"type": "video"}]}]}, "part of type 'video'", id="video"
        ),
    ],
)
def test_wrong_rows_are_named(change, message, rows):
    good = json.loads(rows.read_text().splitlines()[0])
    with pytest.raises(DataError, match=message):
        read_rows(write_rows(rows.with_name("wrong.jsonl"), [good, good | change]))


def test_a_folder_of_rows_names_the_file_in_it(tmp_path):
    with pytest.raises(UsageError, match="is a folder without rows"):
        read_rows(tmp_path)
    (tmp_path / "questions.jsonl").write_text("")
    (tmp_path / "trl.jsonl").write_text("")
    with pytest.raises(UsageError, match=r"is a folder, no file of rows; name the file in it: .*/trl\.jsonl"):
        read_rows(tmp_path)


def test_messages_instead_of_prompt_and_completion_are_refused(rows):
    good = json.loads(rows.read_text().splitlines()[0])
    chat = {"images": good["images"], "messages": [*good["prompt"], *good["completion"]]}
    with pytest.raises(DataError, match=r"lacks 'prompt'.*write the answer as completion"):
        read_rows(write_rows(rows.with_name("chat.jsonl"), [chat]))


def test_more_images_than_the_model_takes_are_one_line(base, rows, tmp_path, capsys):
    few = write_rows(
        rows.with_name("many.jsonl"), [row(["0.png", "1.png"], "no"), row([f"{k}.png" for k in range(5)], "no")]
    )
    command = ("compare", "finetune", "--model", base, "--data", few, "--out", tmp_path / "run")
    code, _, err = run_lgdea(capsys, *command, "--set", "max_images=4")
    assert code == 1
    assert err.strip().splitlines()[-1].startswith(f"lgdea: {few} row 2: has 5 images, the model takes 4")
    model, processor = load_vlm(str(base))
    model.config.text_config.max_position_embeddings = 40
    with pytest.raises(DataError, match=r"row 2: its 5 images and text are .* tokens, the model takes 40"):
        check_batches(Collator(processor), read_rows(few), model, processor, few)


def test_the_command_line_trains_and_says_where_the_model_is(base, rows, tmp_path, capsys):
    small = ("max_steps=1", "rows_per_step=2", "rows_per_device=2", "lora.rank=2")
    command = ["compare", "finetune", "--model", base, "--data", rows, "--out", tmp_path / "run", "--merge"]
    code, out, _ = run_lgdea(capsys, *command, *(word for one in small for word in ("--set", one)))
    assert code == 0
    assert "".join(out.split()).endswith("run/merged")


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        pytest.param({"model": "/nowhere"}, UsageError, "no such folder of the vision-language model", id="no model"),
        pytest.param(
            {"trainer": {"max_length": 3}}, ConfigError, "trainer.max_length is set by lgdea", id="an argument of ours"
        ),
        pytest.param({"trainer": {"learning_rat": 3}}, ConfigError, "has no such argument", id="an unknown argument"),
        pytest.param(
            {"rows_per_step": 3}, ConfigError, "is no multiple of rows_per_device", id="rows that do not divide"
        ),
    ],
)
def test_settings_that_cannot_be(more, error, message, base, rows, tmp_path):
    with pytest.raises(error, match=message):
        finetune(settings(base, rows, **more), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_whose_weights_are_not_whole_is_refused(base, tmp_path):
    broken = shutil.copytree(base, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    del weights["model.visual.patch_embed.proj.bias"]
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match=r"lacks weights, which would be random: model\.visual\.patch_embed"):
        load_vlm(str(broken))


def test_the_rows_of_a_question_set_find_their_pictures(rows, tmp_path):
    question = Question(
        qid="q1", kind="change", form="yes-no", finding="nodule", label="new", images=["0.png", "1.png"],
        image_ids=["a", "b"], patients=["p"], days=3.0, question="Is the nodule new in image 2?", options=[],
        answer="yes", reason='Image 2: "New nodule".',
    )  # fmt: skip
    folder = write_questions(tmp_path / "set", [question], [], image_root=rows.parent, facts={})
    (read,) = read_rows(folder / "trl.jsonl")
    assert read.images == (rows.parent / "0.png", rows.parent / "1.png")
    assert read.answer == 'yes\nImage 2: "New nodule".'
    with pytest.raises(DataError, match="no such picture"):
        read_rows(folder / "trl.jsonl", tmp_path)


def test_a_folder_without_an_adapter_is_not_merged(base, tmp_path):
    with pytest.raises(UsageError, match="holds no adapter"):
        merge_adapter(base, tmp_path / "merged")


def test_a_run_that_was_stopped_after_its_last_step_only_writes_what_is_missing(trained, base, rows, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    for folder in ("adapter", "merged"):
        shutil.rmtree(run / folder)
    (run / "_SUCCESS").unlink()
    newest = max(run.glob("checkpoints/checkpoint-*"), key=lambda folder: int(folder.name.rpartition("-")[2]))
    weights = newest / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")  # an older checkpoint is taken, or all is done again
    assert newest_checkpoint(newest.parent)[0] != newest
    finetune(settings(base, rows), run)
    ours, whole = (load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (run, trained))
    for name, value in ours.items():
        torch.testing.assert_close(value, whole[name], rtol=0, atol=0)
