"""The vision-language model that is fine-tuned: loading, what it takes, saving without pickles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import Any

from lgdea.errors import UsageError
from lgdea.foreign_code import admit
from lgdea.models.own_code import require_place, unasked

MERGED, ADAPTER, FULL = "merged", "adapter", "model"
_NEEDED = ("trl", "peft", "accelerate", "datasets")
_IMAGE_TOKENS = (
    *("image_token_id", "image_token_index", "video_token_id", "video_token_index"),
    *("vision_start_token_id", "vision_end_token_id", "boi_token_index", "eoi_token_index"),
)


def require_libraries() -> None:
    """Check that the libraries of the extra ``finetune`` are installed.

    Raises:
        UsageError: One is not.
    """
    missing = [name for name in _NEEDED if util.find_spec(name) is None]
    if missing:
        problem = f"fine-tuning needs {', '.join(missing)}"
        raise UsageError(problem, remedy="pip install 'lgdea[finetune]'")


def load_vlm(name: str, *, dtype: Any = None) -> tuple[Any, Any]:
    """Load a vision-language model and its processor.

    Args:
        name: Folder, or name on the Hugging Face Hub.
        dtype: Of the weights; as they are stored by default.

    Returns:
        The model, and its processor with a chat template.

    Raises:
        UsageError: There is no such model, weights are missing, it takes no images, or it has no chat template.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, ProcessorMixin

    admitted = admit(name)
    place = admitted.place
    require_place(place, "vision-language model")
    try:
        with unasked(name):
            # The quickest way to learn that there is none.
            AutoConfig.from_pretrained(place, trust_remote_code=admitted.trusted)
            processor = AutoProcessor.from_pretrained(place, trust_remote_code=admitted.trusted)
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                place, dtype=dtype or "auto", output_loading_info=True, trust_remote_code=admitted.trusted
            )
    except UsageError:
        raise
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        problem = f"is no vision-language model that transformers loads ({first})"
        raise UsageError(
            problem, file=name, remedy="give a folder or a name on the Hub, such as Qwen/Qwen3-VL-4B-Instruct"
        ) from None
    model, found = loaded
    if not isinstance(processor, ProcessorMixin) or not hasattr(processor, "image_processor"):
        raise UsageError("has no processor of images", file=name, remedy="choose a vision-language model")
    if found["missing_keys"]:
        problem = f"lacks weights, which would be random: {', '.join(sorted(found['missing_keys'])[:3])}"
        raise UsageError(problem, file=name, remedy="get the whole model, of an architecture that transformers knows")
    if processor.chat_template is None:
        raise UsageError("has no chat template", file=name, remedy="choose its instruction-tuned version")
    return model, processor


def image_token_ids(model: Any, processor: Any) -> set[int]:
    """Ids of the tokens that stand for images, with which no loss may be computed."""
    tokens = {getattr(model.config, name, None) for name in _IMAGE_TOKENS} | {
        getattr(processor, "image_token_id", None)
    }
    return {int(token) for token in tokens if token is not None}


def window(model: Any) -> int | None:
    """Most tokens of a prompt and its answer; null where the model does not say."""
    value = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(value) if value else None


def save_vlm(model: Any, processor: Any, folder: str | Path) -> Path:
    """Write a model folder: safetensors, JSON and a Jinja template, which transformers and vLLM load."""
    folder = Path(folder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def merge_adapter(adapter: str | Path, out: str | Path, base: str | None = None) -> Path:
    """Add an adapter to the weights of its model and write the whole.

    Args:
        adapter: Folder of the adapter.
        out: Model folder to write.
        base: The model that was adapted; by default the one that the adapter names.

    Returns:
        ``out``.

    Raises:
        UsageError: There is no adapter, or its model is not there.
    """
    require_libraries()
    from peft import PeftConfig, PeftModel

    adapter = Path(adapter)
    if not (adapter / "adapter_config.json").is_file():
        raise UsageError("holds no adapter", file=adapter, remedy="make one with `lgdea compare finetune`")
    model, processor = load_vlm(base or str(PeftConfig.from_pretrained(str(adapter)).base_model_name_or_path))
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    return save_vlm(merged, processor, out)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the bars and advice of transformers, datasets and TRL; warnings of the run itself are lgdea's."""
    import logging
    import warnings

    import datasets
    import transformers

    level = transformers.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    logs = [logging.getLogger(name) for name in ("trl", "huggingface_hub")]
    before = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torch|transformers|trl|peft|accelerate")
            yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
        datasets.enable_progress_bars()
        for log, its in zip(logs, before, strict=True):
            log.setLevel(its)
