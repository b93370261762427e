"""A tiny Llama with random weights, made on the spot: proves plumbing and schema, knows nothing of radiology.

Its tokenizer is a byte-level BPE trained on the shipped prompt, so that the prompt's long prefix takes few tokens. The
weights are random but for one push: the tokens that close a string, a list or an object are likelier, or nearly every
answer would be one endless quote.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lgdea.shipped import shipped

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ["<|pad|>", "<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def build_tiny_llama(
    folder: str | Path,
    *,
    window: int = 8192,
    chat_template: str | None = CHAT_TEMPLATE,
    closing: float = 0.4,
    seed: int = 2,
) -> Path:
    """Write a Llama of about 0.7 million parameters with its tokenizer; a few seconds, no download.

    Args:
        folder: Where to write; usable as a model name by vLLM and transformers.
        window: Longest prompt plus answer, in tokens.
        chat_template: None writes a model that has no chat template.
        closing: How strongly tokens that close something are pushed; 0 hardly ever ends a quote, 1 ends it at once.
        seed: Of the weights; with the default, some answers to the tests' reports are empty, some whole, some endless.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = Path(folder)
    tokenizer = _tokenizer(chat_template)
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=window,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
    )
    generator = torch.Generator().manual_seed(seed)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.1, generator=generator)
        # Attention that is nearly even over a prompt of thousands of tokens answers every report alike.
        for name, parameter in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                parameter.mul_(6.0)
        # Small embeddings beside the constant below would make every answer the same.
        model.model.embed_tokens.weight.normal_(0.0, 1.0, generator=generator)
        # The first hidden dimension is a constant that only the head reads: a bias, which Llama has not.
        model.model.embed_tokens.weight[:, 0] = 4.0
        model.lm_head.weight[:, 0] = 0.0
        for token, number in tokenizer.get_vocab().items():
            if token.startswith(('"', "}")):
                model.lm_head.weight[number, 0] = closing
    model.save_pretrained(folder)
    return folder


def _tokenizer(chat_template: str | None) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompt = shipped("prompts") / "evidence-v1"
    raw.train_from_iterator([file.read_text(encoding="utf-8") for file in prompt.iterdir() if file.is_file()], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<|pad|>", bos_token="<|begin|>", eos_token="<|end|>"
    )
    tokenizer.chat_template = chat_template
    return tokenizer
