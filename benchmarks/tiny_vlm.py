"""A Qwen3-VL of one or two million parameters, made on the spot: learns to compare pictures on a CPU, knows no words.

It has the architecture and processor of models that people have, so that whatever fine-tunes, merges or serves those
does the same with it. Its tokenizer is a byte-level BPE trained on the words that it is to read and say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PATCH, MERGE, HEAD = 8, 2, 32
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SPECIAL = [
    "<|pad|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def build_tiny_vlm(
    folder: str | Path,
    words: Sequence[str],
    *,
    side: int = 64,
    width: int = 128,
    layers: int = 3,
    initializer_range: float = 0.02,
    seed: int = 0,
    chat_template: str = CHAT_TEMPLATE,
) -> Path:
    """Write a Qwen3-VL with random weights, its processor and tokenizer; a second, no download.

    Args:
        folder: Where to write; a model name for transformers and vLLM.
        words: Texts that the tokenizer is trained on.
        side: Longest side of a picture of square shape; larger ones are made smaller.
        width: Width of both towers, a multiple of 32: vLLM on CPUs has no smaller heads.
        layers: Layers of each tower.
        initializer_range: Standard deviation of the weights.
        seed: Of the weights.
        chat_template: Jinja template of the prompts.

    Returns:
        ``folder``.
    """
    import torch
    from transformers import (
        Qwen2VLImageProcessor,
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    folder, heads = Path(folder), width // HEAD
    tokenizer = _tokenizer(words, chat_template)
    token = {name: int(tokenizer.convert_tokens_to_ids(name)) for name in _SPECIAL}
    # "edges" are numbers of pixels in these processors
    pixels: dict[str, Any] = {
        "patch_size": PATCH,
        "merge_size": MERGE,
        "temporal_patch_size": 2,
        "size": {"shortest_edge": (2 * PATCH * MERGE) ** 2, "longest_edge": side * side},
    }
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessor(**pixels), tokenizer, Qwen3VLVideoProcessor(**pixels), chat_template=chat_template
    )
    third = HEAD // 6
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 3 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": HEAD,
        "max_position_embeddings": 4096,
        "pad_token_id": token["<|pad|>"],
        "eos_token_id": token["<|im_end|>"],
        "bos_token_id": None,
        "tie_word_embeddings": True,
        "initializer_range": initializer_range,
        # time, height and width share the rotary dimensions, half of a head's
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [HEAD // 2 - 2 * third, third, third],
        },
    }
    vision = {
        "depth": layers,
        "hidden_size": width,
        "out_hidden_size": width,
        "num_heads": heads,
        "intermediate_size": 3 * width,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
        "num_position_embeddings": (side // PATCH) ** 2,
        "deepstack_visual_indexes": [layers // 2],
        "initializer_range": initializer_range,
    }
    config = Qwen3VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=True,
        image_token_id=token["<|image_pad|>"],
        video_token_id=token["<|video_pad|>"],
        vision_start_token_id=token["<|vision_start|>"],
        vision_end_token_id=token["<|vision_end|>"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(config)
    # the defaults are ids of a vocabulary of 150 thousand, with which generation never ends
    model.generation_config.eos_token_id = token["<|im_end|>"]
    model.generation_config.pad_token_id = token["<|pad|>"]
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _tokenizer(words: Sequence[str], chat_template: str) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([text for text in words for _ in range(20)], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<|pad|>", eos_token="<|im_end|>", model_max_length=4096
    )
    tokenizer.chat_template = chat_template
    return tokenizer
