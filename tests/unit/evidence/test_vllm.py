"""What the vllm backend says and does before an engine runs; tests/integration/test_vllm_backend.py runs one."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Literal

import pytest
from pydantic import ValidationError

from lgdea.config import Config
from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.base import Request, get_backend
from lgdea.evidence.backends.vllm import create
from lgdea.evidence.backends.vllm_engine import explain_death, explain_start, vllm_version
from lgdea.foreign_code import list_foreign_code, trusting

needs_no_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes a backend of a folder that holds no weights: enough for all that comes before the engine."""
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    return lambda **options: create(str(tmp_path), **options)


@needs_no_vllm
def test_without_vllm_one_line_says_what_to_install(tmp_path):
    with pytest.raises(UsageError, match=r"needs vLLM, which is not installed here; pip install 'lgdea\[vllm\]'"):
        get_backend("vllm", model=str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a model"),
        ({"model": "m", "max_tokens": 0}, "options.max_tokens is 0, at least 1 is needed"),
        ({"model": "m", "temperature": -1}, "options.temperature is -1, at least 0 is needed"),
        ({"model": "m", "max_num_seqs": 4}, "no option 'max_num_seqs'; .* options.engine_max_num_seqs"),
        ({"model": "m", "chat_template_kwargs": "[1]"}, "is not a JSON object"),
        ({"model": "m", "chat_template_kwargs": "{thinking}"}, "'chat_template_kwargs' is not valid JSON"),
        ({"model": "m", "engine_hf_overrides": "{no"}, "'engine_hf_overrides' is not valid JSON"),
        (
            {"model": "m", "engine_trust_remote_code": True},
            "a configuration cannot let .* --trust-remote-code",
        ),
        ({"model": "m", "engine_trust_remote_code": False}, "a configuration cannot let a model run Python code"),
    ],
)
def test_a_wrong_option_is_named_with_its_remedy(options, message):
    with pytest.raises(UsageError, match=message):
        get_backend("vllm", **options)


def test_code_of_a_model_runs_only_when_it_was_said(make, tmp_path):
    assert make()._arguments()["trust_remote_code"] is False
    with trusting():
        assert make()._arguments()["trust_remote_code"] is False  # it has none
        (tmp_path / "config.json").write_text('{"auto_map": {"AutoModelForCausalLM": "modeling_own.Model"}}')
        (tmp_path / "modeling_own.py").write_text("class Model: pass")
        arguments = make()._arguments()
        assert (arguments["trust_remote_code"], arguments["model"]) == (True, str(tmp_path))
        assert [code["model"] for code in list_foreign_code()] == [str(tmp_path)]
    assert make()._arguments()["trust_remote_code"] is False


def test_the_description_holds_what_shapes_an_answer_and_nothing_else(make):
    shaped = make(temperature=0.5, seed=3, max_tokens=99, engine_quantization="fp8").describe()
    assert shaped["sampling"] == {"temperature": 0.5, "max_tokens": 99, "seed": 3}
    assert shaped["engine"] == {"dtype": "auto", "quantization": "fp8"}
    assert shaped["revision"].startswith("sha256:")
    # A run that ran out of memory resumes with other values of these.
    roomy = make(tensor_parallel_size=2, max_model_len=4096, gpu_memory_utilization=0.5, engine_max_num_seqs=8)
    assert roomy.describe() == make().describe()
    assert make(dtype="half").describe() != make().describe()


def test_an_engine_option_reaches_the_engine_and_json_is_parsed(make):
    arguments = make(engine_hf_overrides='{"a": [1]}', engine_max_num_seqs=8, max_model_len=512)._arguments()
    assert arguments["hf_overrides"] == {"a": [1]}
    assert (arguments["max_num_seqs"], arguments["max_model_len"]) == (8, 512)
    assert arguments["structured_outputs_config"] == {"backend": "guidance", "disable_any_whitespace": True}
    assert arguments["enable_prefix_caching"] is True
    assert arguments["revision"] is None
    assert "gpu_memory_utilization" not in arguments


def test_a_refused_system_turn_opens_the_first_user_turn(make):
    backend = make()
    turns = (("system", "Be brief."), ("user", "one"), ("assistant", "1"), ("user", "two"))
    request = Request("r", "two", tuple({"role": role, "content": content} for role, content in turns))
    assert [m["role"] for m in backend._messages(request)] == ["system", "user", "assistant", "user"]
    backend._merge_system = True
    merged = backend._messages(request)
    assert [m["role"] for m in merged] == ["user", "assistant", "user"]
    assert merged[0]["content"] == "Be brief.\n\none"
    assert request.prompt[1]["content"] == "one"


@pytest.mark.parametrize(
    ("reason", "prompt", "tokens", "failure"),
    [
        ("stop", 90, 10, None),
        ("length", 90, 9, "length"),
        ("length", 90, 10, "too_long"),
        ("abort", 9, 3, "backend_error"),
    ],
)
def test_an_answer_that_ends_where_the_window_ends_needs_no_second_attempt(make, reason, prompt, tokens, failure):
    backend = make()
    backend._llm = SimpleNamespace(model_config=SimpleNamespace(max_model_len=100))
    completion = SimpleNamespace(finish_reason=reason, token_ids=[0] * tokens, text="{}")
    output = SimpleNamespace(outputs=[completion], prompt_token_ids=[0] * prompt)
    response = backend._answer(Request("r", "text"), output)
    assert (response.failure, response.tokens) == (failure, tokens)
    assert response.text == (None if failure else "{}")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            TypeError("EngineArgs.__init__() got an unexpected keyword argument 'nonsense'"),
            UsageError,
            "vLLM does not take an option .*'nonsense'.*; check the names of options.engine_",
        ),
        (
            ValueError(
                "To serve at least one request with the models's max seq len (131072), (16.0 GiB KV cache is needed,\n"
                "which is larger than the available KV cache memory (1.0 GiB)."
            ),
            EvidenceError,
            "the model does not fit .*131072.*; lower options.max_model_len",
        ),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), EvidenceError, "the model does not fit"),
        (
            RuntimeError("Engine core initialization failed.\nSee root cause above."),
            EvidenceError,
            r"could not start .*initialization failed\. See root cause above\.\); its own messages are above",
        ),
    ],
)
def test_what_the_engine_says_at_start_becomes_one_line(error, kind, message):
    explained = explain_start(error)
    assert type(explained) is kind
    assert "\n" not in str(explained)
    with pytest.raises(kind, match=message):
        raise explained


def test_a_value_that_vllm_refuses_is_named():
    class Engine(Config):
        dtype: Literal["auto", "half"]

    with pytest.raises(ValidationError) as refused:
        Engine(dtype="bogus")
    assert str(explain_start(refused.value)).startswith("vLLM refuses an option (dtype: Input should be 'auto' or")


def test_an_engine_that_dies_says_how_to_go_on():
    line = str(explain_death(RuntimeError("EngineCore encountered an issue.")))
    assert "EngineCore encountered an issue" in line
    assert "what was answered is kept" in line


@needs_no_vllm
def test_the_version_is_unknown_without_vllm():
    assert vllm_version() == "unknown"
