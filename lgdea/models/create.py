"""Make an untrained model from the names of its towers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgdea.errors import ConfigError
from lgdea.imaging.transforms import Preprocess
from lgdea.models.freezing import freeze_tower
from lgdea.models.image_tower import build_image_tower
from lgdea.models.lgdea_model import LgdeaModel
from lgdea.models.text_tower import SMALL_BERT, Pooling, build_text_tower, load_tokenizer, train_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def create_model(
    image_tower: str = "resnet18",
    text_tower: str = SMALL_BERT,
    *,
    pretrained: bool | None = None,
    image_pretrained: bool | None = None,
    text_pretrained: bool | None = None,
    texts: Iterable[str] | None = None,
    tokenizer: PreTrainedTokenizerFast | str | Path | None = None,
    vocab_size: int = 4000,
    image_size: int = 224,
    stride: int = 16,
    preprocess: Preprocess | None = None,
    hidden: int = 128,
    layers: int = 2,
    dropout: float = 0.1,
    pooling: Pooling = "auto",
    image_freeze: str = "none",
    text_freeze: str = "none",
    **settings: Any,
) -> LgdeaModel:
    """Make an image-text model that has not been trained on pairs; its random weights follow ``torch.manual_seed``.

    Args:
        image_tower: Name of a timm model, also ``local-dir:FOLDER``; or ``hf:NAME`` or ``hf:FOLDER``, a vision encoder
            of transformers with patch tokens.
        text_tower: ``small-bert``, or the hub name or folder of a transformers model.
        pretrained: Whether the towers start from their published weights (timm's and Hugging Face's, downloaded where
            they are not in the cache; ``small-bert`` has none). None: the image tower from random weights, unless its
            name is that of weights (``hf:``, ``local-dir:``); the text tower from those of its folder where it has
            any, else from random ones with a warning.
        image_pretrained: The same for the image tower alone; None: as ``pretrained``.
        text_pretrained: The same for the text tower alone; None: as ``pretrained``.
        texts: Reports on which a tokenizer for ``small-bert`` is trained.
        tokenizer: Tokenizer, or its hub name or folder, in the place of the text tower's own or of a trained one.
        vocab_size: Tokens of a trained tokenizer, at most.
        image_size: Side S of the square input in pixels.
        stride: Pixels per patch for towers with a feature pyramid; a plain ViT keeps its own patch size.
        preprocess: How an image becomes a ``(1, S, S)`` tensor; by default the whole image, letterboxed, with grey
            values 0..1 brought to (x - 0.5) / 0.25, or what an ``hf:`` tower's image processor says.
        hidden: Width of ``small-bert``.
        layers: Layers of ``small-bert``.
        dropout: Dropout probability of ``small-bert``.
        pooling: ``mean`` of the tokens or the ``last`` token; ``auto``: mean for encoders, last for decoders.
        image_freeze: What of the image tower training leaves as it is: ``none``, ``all``, or ``all_but_last_N`` blocks.
        text_freeze: The same for the text tower.
        settings: Keyword arguments of :class:`~lgdea.models.lgdea_model.LgdeaModel`: ``dim=128``,
            ``lesion_queries=8``, ``prototypes=64``, ``scoring="presence"``, ``findings=[...]``, ``max_tokens=256`` ...

    Returns:
        The model, on the CPU, in training mode; its inference methods switch to evaluation mode by themselves.

    Raises:
        ConfigError: A tower does not exist or does not fit the image size, or ``small-bert`` has neither ``texts`` nor
            a tokenizer.
        UsageError: Weights or a tokenizer cannot be loaded.

    Example:
        >>> texts = ["Small left pleural effusion.", "The lungs are clear."]
        >>> model = lgdea.create_model("test_resnet", texts=texts, image_size=64, hidden=32, dim=16)
        >>> model.forward_text(**model.tokenize(texts))["pooled"].shape
        torch.Size([2, 16])
        >>> import numpy as np
        >>> model.heat_map(np.zeros((80, 60)), "left pleural effusion").shape
        (80, 60)
    """
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer)
    elif tokenizer is None and text_tower != SMALL_BERT:
        tokenizer = load_tokenizer(text_tower)
    elif tokenizer is None:
        if texts is None:
            raise ConfigError(
                f"text tower {SMALL_BERT!r} needs a tokenizer", remedy="give texts= to train one on, or tokenizer="
            )
        tokenizer = train_tokenizer(texts, vocab_size)
    if image_pretrained is None:
        image_pretrained = pretrained
    if text_pretrained is None and text_tower != SMALL_BERT:
        text_pretrained = pretrained
    image: Any = build_image_tower(image_tower, image_pretrained, image_size, stride)
    text = build_text_tower(
        text_tower, text_pretrained, tokenizer, hidden=hidden, layers=layers, dropout=dropout, pooling=pooling
    )
    freeze_tower(image, image_freeze)
    freeze_tower(text, text_freeze)
    if preprocess is None:
        mean, std = image.normalisation or (Preprocess.mean, Preprocess.std)
        preprocess = Preprocess(size=image_size, mean=mean, std=std)
    return LgdeaModel(image, text, tokenizer, preprocess=preprocess, **settings)
