"""Train a small language model from scratch that extracts evidence, sentence by sentence, from the phantom's reports.

Launch: python pipelines/train_small_extractor.py --out runs/small-extractor
(one CPU core, no download; writes OUT/model and OUT/prompt, then: lgdea extract ARCHIVE --backend vllm
--prompt OUT/prompt --model OUT/model)

It is no model for real reports: it knows the words of one generator. It is small enough for a repository (about a
million weights), so that a test can run the whole road - prompt, engine, grammar, parsing, scoring - with a model whose
answers are right for a reason. Every field of an answer is one token, so nothing has to be spelt or copied.

The grammar of the sentences is the phantom's, for training and for testing alike. What is held out: patients (other
seeds), and one in ten of the distinct sentences, by the hash of their words, which no training step ever shows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lgdea.evidence.prompts import Prompt, load_prompt
from lgdea.evidence.schema import Unit
from lgdea.phantom import PhantomConfig
from lgdea.phantom.patients import count_visits, plan_patient
from lgdea.phantom.reports import write_report

PROMPT_FILES = {
    "prompt.yaml": "about: one sentence at a time, as pipelines/train_small_extractor.py teaches it\nreads: sentence\n",
    "system.txt": "State the evidence.\n",
    "user.txt": "{sentence}\n",
    "examples.jsonl": "",
}
END, ROLES = "<|end|>", ["<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
HELD_OUT = 10
"""One in so many distinct sentences is never trained on."""
TRAIN_SEED, CHECK_SEED = 1000, 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write: model/, prompt/, training.json")
    parser.add_argument("--reports", type=int, default=24_000, help="phantom reports to take training sentences from")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    run(arguments.out, arguments.reports, arguments.steps, arguments.seed)


def run(out: Path, reports: int, steps: int, seed: int) -> None:
    torch.manual_seed(seed)
    prompt = write_prompt(out / "prompt")
    every = collect(prompt, TRAIN_SEED, reports)
    train = {sentence: seen for sentence, seen in every.items() if not held_out(sentence)}
    check = {s: seen for s, seen in collect(prompt, CHECK_SEED, 2000).items() if held_out(s)}
    print(f"{len(train)} distinct sentences to train on, {len(check)} held out")

    tokenizer = build_tokenizer([prompt.system, *train], answer_pieces(train))
    data = encode(prompt, tokenizer, train)
    held = encode(prompt, tokenizer, check)
    model = build_model(tokenizer)
    print(f"{model.num_parameters():,} weights, {len(tokenizer)} tokens")
    began = time.process_time()
    exact = fit(model, data, held, weights=np.sqrt([n for _, n in train.values()]), steps=steps, seed=seed)
    minutes = (time.process_time() - began) / 60

    model.to(torch.bfloat16).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    record = {
        "weights": model.num_parameters(),
        "steps": steps,
        "cpu_minutes": round(minutes, 1),
        "train_sentences": len(train),
        "held_out_sentences": len(check),
        "held_out_exact_match": round(exact, 4),
    }
    (out / "training.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(record)


# Sentences and their answers


def write_prompt(folder: Path) -> Prompt:
    """The prompt of this model: a word of instruction, the sentence, no example."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in PROMPT_FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return load_prompt(str(folder))


def collect(prompt: Prompt, seed: int, reports: int) -> dict[str, tuple[str, int]]:
    """Distinct sentences of phantom reports, each with its answer and how often it occurs; no picture is drawn."""
    config = PhantomConfig(studies=reports, seed=seed)
    fields = list(prompt.json_schema()["properties"]["units"]["items"]["properties"])
    answers: dict[str, Counter[str]] = {}
    for patient, visits in enumerate(count_visits(config)):
        for appointment in plan_patient(patient, visits, config):
            report = write_report("report", appointment, config)
            for question in prompt.questions(report.text):
                units = [u for u in report.units if question.start <= u.start < question.end]
                sentence = report.text[question.start : question.end]
                answers.setdefault(sentence, Counter())[answer(units, fields)] += 1
    return {s: (counts.most_common(1)[0][0], counts.total()) for s, counts in answers.items()}


def answer(units: list[Unit], fields: list[str]) -> str:
    """What the model is to write, in the order and with the separators that the grammar enforces."""
    stated = [{name: getattr(unit, name) or "unspecified" for name in fields} for unit in units]
    return json.dumps({"units": stated}, separators=(",", ":"))


def held_out(sentence: str) -> bool:
    """Whether training must never see this sentence; the same for any case, spacing and final stop."""
    words = " ".join(re.findall(r"[a-z0-9-]+", sentence.lower()))
    return int(hashlib.sha256(words.encode()).hexdigest(), 16) % HELD_OUT == 0


# Model and tokenizer


def answer_pieces(train: dict[str, tuple[str, int]]) -> list[str]:
    """The pieces that answers are made of, one token each.

    A piece begins where the schema leaves a choice and runs on to the next choice: a value with the key that follows
    it. The grammar engine spells text without a choice as the tokenizer would, so a token that began with a key and
    ended with a value would never be allowed.
    """
    pattern = re.compile(r'\{"units":\[|,?\{"\w+":"|\w+"(?:,"\w+":"|\})|\]\}')
    return sorted({piece for text, _ in train.values() for piece in pattern.findall(text)})


def build_tokenizer(texts: list[str], pieces: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE over the sentences, so that any text can be read, and one token for each piece of an answer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=[END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(piece, normalized=False) for piece in pieces])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, chat_template=CHAT_TEMPLATE, model_max_length=512
    )


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of three layers."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=8 * math.ceil(len(tokenizer) / 8),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


# Training

Example = tuple[list[int], int]
"""Token ids of question and answer, and where the answer begins."""


def encode(prompt: Prompt, tokenizer: PreTrainedTokenizerFast, table: dict[str, tuple[str, int]]) -> list[Example]:
    """Questions as the engine will ask them, each with its answer and the end mark."""
    examples = []
    for sentence, (text, _) in table.items():
        asked = tokenizer.apply_chat_template(
            list(prompt.messages(sentence)), add_generation_prompt=True, return_dict=False
        )
        examples.append((asked + tokenizer.encode(text + END), len(asked)))
    return examples


def collate(examples: list[Example], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, T) and labels (B, T), which are -100 outside the answers."""
    longest = max(len(ids) for ids, _ in examples)
    tokens = torch.full((len(examples), longest), pad)
    labels = torch.full((len(examples), longest), -100)
    for row, (ids, start) in enumerate(examples):
        tokens[row, : len(ids)] = torch.tensor(ids)
        labels[row, start : len(ids)] = tokens[row, start : len(ids)]
    return tokens, labels


def batches(data: list[Example], weights: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[list[Example]]:
    """Endless batches; every sixteen are drawn together and cut by length, so that little is padding."""
    chance = weights / weights.sum()
    while True:
        drawn = sorted(rng.choice(len(data), 16 * size, p=chance), key=lambda i: len(data[i][0]))
        for number in rng.permutation(16):
            yield [data[i] for i in drawn[number * size : (number + 1) * size]]


def fit(
    model: LlamaForCausalLM, data: list[Example], held: list[Example], *, weights: np.ndarray, steps: int, seed: int
) -> float:
    """Train in place; the share of held-out answers that are right to the last token."""
    pad = int(model.config.pad_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.98), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 100, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    exact = 0.0
    drawn = batches(data, weights, 64, np.random.default_rng(seed))
    for step, batch in zip(range(1, steps + 1), drawn, strict=False):
        tokens, labels = collate(batch, pad)
        loss = model(input_ids=tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == steps:
            exact = exact_match(model, held, pad)
            print(f"step {step}: loss {loss.item():.4f}, held-out exact match {exact:.3f}", flush=True)
    return exact


@torch.no_grad()
def exact_match(model: LlamaForCausalLM, examples: list[Example], pad: int) -> float:
    """The share of answers that greedy decoding would get right to the last token."""
    right = 0
    for start in range(0, len(examples), 256):
        tokens, labels = collate(sorted(examples, key=lambda e: len(e[0]))[start : start + 256], pad)
        said = model(input_ids=tokens).logits[:, :-1].argmax(-1)
        right += int(((said == labels[:, 1:]) | (labels[:, 1:] == -100)).all(dim=1).sum())
    return right / len(examples)


if __name__ == "__main__":
    main()
