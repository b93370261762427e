"""A language model in this process: ``vllm.LLM`` with the chat template, held to the schema, fed without a pause.

vLLM pins its own torch, so it lives in an environment of its own; nothing here needs lgdea's training libraries.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.base import Failure, Request, Response
from lgdea.evidence.backends.choices import choice_logprobs
from lgdea.evidence.backends.model_id import resolve_revision
from lgdea.evidence.backends.parts import count_images, text_part, with_pictures
from lgdea.evidence.backends.sampling import Sampling
from lgdea.evidence.backends.schema_check import check_schema_answer, schema_check_request
from lgdea.evidence.backends.vllm_engine import (
    check_images,
    explain_death,
    one_line,
    read_tokens,
    sampling_params,
    start_engine,
    vllm_version,
)
from lgdea.foreign_code import FLAG, admit, is_trusting

_ENGINE = "engine_"
# How fast and how long, not what: a run that ran out of memory must be allowed to resume with other values of these.
_RUN_ONLY = frozenset(
    {
        "block_size",
        "cpu_offload_gb",
        "enforce_eager",
        "gpu_memory_utilization",
        "kv_cache_memory_bytes",
        "max_model_len",
        "max_num_batched_tokens",
        "max_num_seqs",
        "tensor_parallel_size",
    }
)


class VllmBackend:
    """Asks a model through vLLM's offline engine; the engine starts with the first request.

    Requests flow in one by one and the engine always has twice as many as it runs at a time, so that it never waits
    for a batch to end. Every request has a response of its own: a prompt that does not fit, a schema that the grammar
    refuses or a cut answer is that request's failure and nobody else's.
    """

    name = "vllm"
    needs_prompt = True

    def __init__(
        self,
        *,
        model: str,
        revision: str | None,
        sampling: Sampling,
        structured_outputs: str,
        chat_template_kwargs: Mapping[str, Any],
        engine: Mapping[str, Any],
    ) -> None:
        self._model = model
        self._given = revision is not None
        self._revision = resolve_revision(model, revision)
        self._sampling = sampling
        self._structured_outputs = structured_outputs
        self._template_kwargs = dict(chat_template_kwargs)
        self._engine_args = dict(engine)
        self._merge_system = False
        self._llm: Any = None

    def describe(self) -> dict[str, Any]:
        """Model, revision, vLLM's version, sampling and the engine options that can change an answer."""
        shaping = {key: value for key, value in self._engine_args.items() if key not in _RUN_ONLY}
        return {
            "backend": self.name,
            "version": vllm_version(),
            "model": self._model,
            "revision": self._revision,
            "sampling": self._sampling.describe(),
            "structured_outputs": self._structured_outputs,
            "chat_template_kwargs": self._template_kwargs,
            "engine": shaping,
        }

    def respond(self, requests: Iterable[Request]) -> Iterator[Response]:
        """Answer the requests in the order in which the engine ends them.

        Raises:
            EvidenceError: vLLM does not start, the model has no chat template, its answers are not held to the
                schema, or the engine died.
            UsageError: The first request has more images than the model takes.
        """
        source = iter(requests)
        first = next(source, None)
        if first is None:
            return
        if self._llm is None:
            self.start()
        check_images(self._llm, self._model, count_images(first.prompt))
        yield from self._feed(chain([first], source))

    def start(self) -> None:
        """Load the model and prove that its answers are held to the schema; :meth:`respond` does so when needed."""
        self._llm = start_engine(self._arguments())
        check = schema_check_request()
        (answer,) = self._feed([check])
        if answer.failure == "refused":
            # Some templates (Gemma's) refuse a system turn; its words then open the first user turn.
            self._merge_system = True
            (answer,) = self._feed([check])
        check_schema_answer(
            answer, backend=self.name, remedy="try options.structured_outputs=xgrammar or another model"
        )

    @property
    def llm(self) -> Any:
        """The ``vllm.LLM``, None before :meth:`start`."""
        return self._llm

    def _arguments(self) -> dict[str, Any]:
        pinned = self._given and not self._revision.startswith("sha256:")
        admitted = admit(f"{self._model}@{self._revision}" if pinned and is_trusting() else self._model)
        in_folder = self._revision.startswith("sha256:") or admitted.place != self._model
        return {
            "model": admitted.place,
            "revision": None if in_folder else self._revision,
            "seed": self._sampling.seed,
            "trust_remote_code": admitted.trusted,
            "enable_prefix_caching": True,
            # Without the second key a model may emit white space until its budget ends; it works on the engine only.
            "structured_outputs_config": {"backend": self._structured_outputs, "disable_any_whitespace": True},
            **self._engine_args,
        }

    def _feed(self, requests: Iterable[Request]) -> Iterator[Response]:
        engine = self._llm.llm_engine
        window = 2 * engine.vllm_config.scheduler_config.max_num_seqs
        flight: dict[str, Request] = {}
        try:
            for request in requests:
                failed = self._enqueue(request, flight)
                if failed is not None:
                    yield failed
                while len(flight) >= window:
                    yield from self._step(flight)
            while flight:
                yield from self._step(flight)
        finally:
            if flight:  # the reader left early; the next feed starts with an idle engine
                engine.abort_request(list(flight))

    def _enqueue(self, request: Request, flight: dict[str, Request]) -> Response | None:
        """Hand one request to the engine; what vLLM says against it is its response."""
        from vllm.exceptions import VLLMValidationError
        from vllm.renderers.chat_utils import ChatTemplateResolutionError
        from vllm.v1.engine.exceptions import EngineDeadError

        schema = json.dumps(request.json_schema, separators=(",", ":"))
        budget = self._sampling.budget(request.attempt)
        try:
            (key,) = self._llm.enqueue_chat(
                [self._messages(request)],
                sampling_params(schema, budget, self._sampling.temperature, request.choices),
                use_tqdm=False,
                chat_template_kwargs=self._template_kwargs,
            )
        except EngineDeadError as error:
            raise explain_death(error) from error
        except ChatTemplateResolutionError:
            raise EvidenceError(
                f"model {self._model!r} has no chat template",
                remedy="choose its instruction-tuned version, or give a Jinja file as options.engine_chat_template",
            ) from None
        except Exception as error:
            parameter = error.parameter if isinstance(error, VLLMValidationError) else None
            failure: Failure = "too_long" if parameter in ("input_tokens", "input_text") else "refused"
            return Response(request.request_id, failure=failure, detail=one_line(error))
        # The engine calls it "7-0a1b2c3d", its outputs "7".
        flight[key.partition("-")[0]] = request
        return None

    def _messages(self, request: Request) -> list[dict[str, Any]]:
        messages = with_pictures(request.prompt)
        if self._merge_system and messages[0]["role"] == "system" and len(messages) > 1:
            system, content = messages.pop(0)["content"], messages[0]["content"]
            is_text = isinstance(content, str)
            messages[0]["content"] = f"{system}\n\n{content}" if is_text else [text_part(system), *content]
        return messages

    def _step(self, flight: dict[str, Request]) -> Iterator[Response]:
        try:
            outputs = self._llm.llm_engine.step()
        except Exception as error:
            raise explain_death(error) from error
        for output in outputs:
            if output.finished:
                yield self._answer(flight.pop(output.request_id), output)

    def _answer(self, request: Request, output: Any) -> Response:
        completion = output.outputs[0]
        tokens = len(completion.token_ids)
        if completion.finish_reason == "stop":
            logprobs = choice_logprobs(read_tokens(completion), request.choices) if request.choices else None
            return Response(request.request_id, completion.text, tokens=tokens, logprobs=logprobs)
        if completion.finish_reason != "length":
            detail = f"vLLM ended the answer: {completion.finish_reason}"
            return Response(request.request_id, failure="backend_error", detail=detail, tokens=tokens)
        window, prompt = self._llm.model_config.max_model_len, len(output.prompt_token_ids)
        if prompt + tokens >= window:  # vLLM cuts the budget to the window silently; a larger one would change nothing
            detail = f"the prompt's {prompt} tokens leave {tokens} of the model's {window}, too few for the answer"
            return Response(request.request_id, failure="too_long", detail=detail, tokens=tokens)
        return Response(request.request_id, failure="length", detail=f"cut after {tokens} tokens", tokens=tokens)


def create(
    model: str = "",
    *,
    revision: str | None = None,
    tensor_parallel_size: int = 1,
    max_model_len: int | None = None,
    max_tokens: int = 2048,
    temperature: float = 0.0,
    seed: int = 0,
    dtype: str = "auto",
    gpu_memory_utilization: float | None = None,
    structured_outputs: str = "guidance",
    chat_template_kwargs: str = "{}",
    **engine: Any,
) -> VllmBackend:
    """Entry point.

    Args:
        model: Name on the Hugging Face hub, or a local folder.
        revision: Branch, tag or commit of a hub model.
        tensor_parallel_size: GPUs that share the model.
        max_model_len: Longest prompt plus answer in tokens; the model's own by default.
        max_tokens: Longest answer on the first attempt, in tokens; each further attempt has twice as many.
        temperature: 0 takes the likeliest token; above it an answer also depends on those that are made beside it.
        seed: Of the engine.
        dtype: Of the weights: ``auto``, ``bfloat16``, ``half`` or ``float``.
        gpu_memory_utilization: Share of the GPU's memory that vLLM takes; vLLM's own default if None.
        structured_outputs: Who holds answers to the schema: ``guidance``, or ``xgrammar``, which lets raw control
            characters into strings.
        chat_template_kwargs: JSON object for the template, e.g. ``{"enable_thinking": false}``.
        engine: ``engine_NAME=value`` is handed to ``vllm.LLM(NAME=value)``; a value that is a JSON object or array is
            parsed.

    Raises:
        UsageError: vLLM is not installed, no model is named, or an option is unknown or out of range.
        EvidenceError: The model is not found.
    """
    if not model:
        raise UsageError(
            "backend 'vllm' needs a model",
            remedy="name one with --model: a name on the Hugging Face hub, or a local folder",
        )
    sampling = Sampling(max_tokens, temperature, seed)
    unknown = [key for key in engine if not key.startswith(_ENGINE)]
    if unknown:
        raise UsageError(
            f"backend 'vllm' has no option {unknown[0]!r}",
            remedy=f"an argument of vllm.LLM is given as options.{_ENGINE}{unknown[0]}",
        )
    if f"{_ENGINE}trust_remote_code" in engine:
        remedy = f"leave it out; who wants that says {FLAG} on the command line"
        raise UsageError("a configuration cannot let a model run Python code of its own", remedy=remedy)
    arguments: dict[str, Any] = {"tensor_parallel_size": tensor_parallel_size, "dtype": dtype}
    if max_model_len is not None:
        arguments["max_model_len"] = max_model_len
    if gpu_memory_utilization is not None:
        arguments["gpu_memory_utilization"] = gpu_memory_utilization
    arguments.update({key.removeprefix(_ENGINE): _parse(key, value) for key, value in engine.items()})
    template = _parse("chat_template_kwargs", chat_template_kwargs)
    if not isinstance(template, dict):
        raise UsageError(f"chat_template_kwargs is not a JSON object: {chat_template_kwargs!r}")
    if importlib.util.find_spec("vllm") is None:
        raise UsageError(
            "backend 'vllm' needs vLLM, which is not installed here",
            remedy="pip install 'lgdea[vllm]' in an environment of its own (docs/extraction-models.md)",
        )
    return VllmBackend(
        model=model,
        revision=revision,
        sampling=sampling,
        structured_outputs=structured_outputs,
        chat_template_kwargs=template,
        engine=arguments,
    )


def _parse(key: str, value: Any) -> Any:
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise UsageError(f"option {key!r} is not valid JSON: {value[:80]!r}") from None
