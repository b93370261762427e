"""One OpenAI-compatible server over HTTP: what is sent, and what each kind of answer means."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx

from lgdea.errors import EvidenceError, UsageError
from lgdea.evidence.backends.choices import Token
from lgdea.evidence.backends.http_address import Address

Kind = Literal["busy", "gone", "lost", "broken"]

_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 3.0  # uvicorn, vLLM's server, closes idle connections after 5 s: never send into one that is closing
_LISTING_SECONDS = 30.0
_SHOWN_CHARACTERS = 300
_MOST_BYTES = 16 << 20  # of an answer; the longest that a model gives is well below 1 MB
_CHUNK_BYTES = 64 << 10
_TRANSFER_HEADERS = {"content-length", "transfer-encoding"}
_RUN = 3  # words
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|max_model_len|maximum (input|prompt) length|too many (input )?tokens|"
    r"prompt is too long|input is too long|exceeds? the (available )?context",
    re.IGNORECASE,
)


class TransientServerError(Exception):  # it is caught and mended, not shown
    """A try that failed where another may not; caught and retried, never shown.

    Args:
        kind: ``busy`` (429), ``gone`` (nobody is there: no connection, 502-504), ``lost`` (the connection broke before
            the answer was whole) or ``broken`` (a server error, no answer in time, an answer that is none).
        detail: What happened, in a few words.
        retry_after: Seconds that the server asks to wait.
    """

    def __init__(self, kind: Kind, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after


class RequestRefusedError(Exception):
    """The server will not answer this request, however often it is asked; the others may be fine."""

    def __init__(self, detail: str, *, too_long: bool) -> None:
        super().__init__(detail)
        self.detail = detail
        self.too_long = too_long


@dataclass(frozen=True)
class Answer:
    """A chat completion: its text, why it ended, how many tokens were made, and the tokens themselves if asked for."""

    text: str
    finish_reason: str
    refusal: str
    tokens: int | None
    listed: Sequence[Token] = ()


class Server:
    """A connection pool to one server; it belongs to the event loop that first uses it.

    Args:
        address: Where it is.
        key: Bearer token, kept out of every message.
        key_variable: Where the key came from, for remedies.
        connections: How many requests are under way at most.
        timeout_seconds: How long one completion may take, from sending to the last byte.
    """

    def __init__(
        self, address: Address, *, key: str | None, key_variable: str, connections: int, timeout_seconds: float
    ) -> None:
        self._address = address
        self._key = key
        self._key_variable = key_variable
        self._timeout = timeout_seconds
        self._extensions = {"sni_hostname": urlsplit(f"//{address.host}").hostname} if address.is_encrypted else {}
        headers = {"Host": address.host, "Content-Type": "application/json", "Accept": "application/json"}
        headers["Accept-Encoding"] = "identity"  # a megabyte of gzip can hold a gigabyte
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=address.is_encrypted,  # without TLS there is nothing to verify, and reading certificates takes time
            follow_redirects=False,  # a redirect could lead to a server that was not checked
            trust_env=not address.is_loopback,  # a proxy from the environment would carry the text away
            timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(
                max_connections=connections + 1,
                max_keepalive_connections=connections + 1,
                keepalive_expiry=_IDLE_SECONDS,
            ),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def models(self) -> list[dict[str, Any]] | None:
        """The entries of ``/models``; None where a server does not list them."""
        response = await self._send("GET", f"{self._address.base}/models", None, _LISTING_SECONDS)
        if response.status_code == 404:
            return None
        self._check_status(response)
        content = self._parse_json(response)
        entries = content.get("data") if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise TransientServerError("broken", "its list of models cannot be read")
        return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("id"), str)]

    async def version(self) -> str | None:
        """Return what vLLM says under ``/version``; None for other servers."""
        response = await self._send("GET", f"{self._address.root}/version", None, _LISTING_SECONDS)
        try:
            content = response.json() if response.status_code == 200 else None
        except (ValueError, RecursionError):
            return None
        return str(content["version"]) if isinstance(content, dict) and "version" in content else None

    async def chat(self, body: Mapping[str, Any]) -> Answer:
        """One chat completion.

        Raises:
            TransientServerError: It failed, another try may not.
            RequestRefusedError: The server will not answer this request.
            UsageError: It refuses the key, or knows no such model or address.
            EvidenceError: It sends us elsewhere.
        """
        content = json.dumps(body, separators=(",", ":")).encode()
        response = await self._send("POST", f"{self._address.base}/chat/completions", content, self._timeout)
        if response.status_code == 404:
            await self._explain_not_found(str(body["model"]))
        try:
            self._check_status(response)
        except (TransientServerError, RequestRefusedError) as error:
            error.detail = without_prompt(error.detail, body)
            raise
        return _read_answer(self._parse_json(response))

    async def _send(self, method: str, url: str, content: bytes | None, seconds: float) -> httpx.Response:
        """Send and read the whole answer, up to a size that no completion has."""
        try:
            async with (
                asyncio.timeout(seconds),
                self._client.stream(method, url, content=content, extensions=self._extensions) as response,
            ):
                if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
                    raise TransientServerError(
                        "broken", f"the answer is compressed ({encoding}), which nobody asked for"
                    )
                body = bytearray()
                async for part in response.aiter_raw(_CHUNK_BYTES):
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise TransientServerError("broken", f"the answer is longer than {_MOST_BYTES >> 20} MB")
                plain = {k: v for k, v in response.headers.items() if k.lower() not in _TRANSFER_HEADERS}
                return httpx.Response(response.status_code, headers=plain, content=bytes(body))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise TransientServerError("gone", self._clean(str(error)) or "no connection") from None
        except TimeoutError:
            raise TransientServerError("broken", f"no whole answer within {seconds:g} s") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TransientServerError("lost", f"the connection broke ({type(error).__name__})") from None

    def _check_status(self, response: httpx.Response) -> None:
        """Return for a success; say what anything else means."""
        status = response.status_code
        if response.is_success:
            return
        if response.is_redirect:
            target = urlsplit(response.headers.get("Location", ""))
            raise EvidenceError(
                f"the server {self._address.shown} redirects to {target.hostname or ''}{target.path}",
                remedy="redirects are not followed; give the URL of the server itself",
            )
        if status in (401, 403):
            what = "refuses the key" if self._key else "asks for a key"
            raise UsageError(
                f"the server {self._address.shown} {what} ({status})",
                remedy=f"put the right one in the variable {self._key_variable}",
            )
        detail = f"{status} {self._clean(_read_message(response))}".strip()
        if status == 429:
            raise TransientServerError("busy", detail, _read_retry_after(response))
        if status in (502, 503, 504):
            raise TransientServerError("gone", detail, _read_retry_after(response))
        if status == 408 or status >= 500:
            raise TransientServerError("broken", detail, _read_retry_after(response))
        raise RequestRefusedError(detail, too_long=status == 413 or bool(_TOO_LONG.search(detail)))

    def _parse_json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except RecursionError:
            raise TransientServerError("broken", "the answer is nested too deeply") from None
        except ValueError:
            kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
            raise TransientServerError("broken", f"the answer is {kind}, not JSON: is a proxy in between?") from None

    async def _explain_not_found(self, model: str) -> None:
        listed = await self.models()
        if listed is None:
            raise UsageError(
                f"the server {self._address.shown} has no {urlsplit(self._address.base).path}/chat/completions",
                remedy="check the URL; that of `vllm serve` ends in /v1",
            )
        raise unknown_model(self._address, model, listed)

    def _clean(self, text: str) -> str:
        """One short line without the key: some servers repeat it in their complaint."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:_SHOWN_CHARACTERS]


def unknown_model(address: Address, model: str | None, listed: list[dict[str, Any]]) -> UsageError:
    """The error for a model that must be named, or that the server does not have."""
    names = ", ".join(entry["id"][:80] for entry in listed[:10]) or "none"
    names += f" and {len(listed) - 10:,} more" if len(listed) > 10 else ""
    what = "has more than one model or none" if model is None else f"does not have the model {model!r}"
    return UsageError(f"the server {address.shown} {what}", remedy=f"name one of those it lists: {names}")


def _read_answer(content: Any) -> Answer:
    try:
        choice = content["choices"][0]
        message = choice["message"]
        reason = choice.get("finish_reason") or "stop"
        answer = Answer(
            text=message.get("content") or "",
            finish_reason=reason,
            refusal=message.get("refusal") or "",
            tokens=_read_count((content.get("usage") or {}).get("completion_tokens")),
            listed=_read_tokens(choice.get("logprobs")),
        )
        if not all(isinstance(part, str) for part in (reason, answer.text, answer.refusal)):
            raise TypeError
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise TransientServerError("broken", "the answer is JSON but no chat completion") from None
    if reason in ("abort", "error"):
        raise TransientServerError("broken", f"the server ended the answer early ({reason})")
    return answer


def _read_tokens(logprobs: Any) -> list[Token]:
    """The answer's tokens with the log-probabilities at their places; none where the server gives none."""
    entries = (logprobs or {}).get("content") or []
    return [
        (entry["token"], {**{o["token"]: float(o["logprob"]) for o in entry.get("top_logprobs") or []},
                          entry["token"]: float(entry["logprob"])})
        for entry in entries
    ]  # fmt: skip


def _read_count(value: Any) -> int | None:
    """A number of tokens; None for what is none, as JSON lets a server say NaN, Infinity or "many"."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_BYTES else None


def without_prompt(detail: str, body: Mapping[str, Any]) -> str:
    """A server's complaint, but for one that repeats the prompt: report text must reach no terminal and no log.

    Three words in a row that the prompt has as well are taken for a repetition.
    """
    prompt = _words(re.sub(r"data:[^\"]+", "", json.dumps(body.get("messages"), ensure_ascii=False)))  # no pictures
    asked = {tuple(prompt[at : at + _RUN]) for at in range(len(prompt) - _RUN + 1)}
    words = _words(detail)
    if any(tuple(words[at : at + _RUN]) in asked for at in range(len(words) - _RUN + 1)):
        return f"{detail.partition(' ')[0]} (the server repeats the prompt; its message is in its own log)"
    return detail


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", re.sub(r"\\[nrt]", " ", text).lower())


def _read_message(response: httpx.Response) -> str:
    """Read the message of an error response: OpenAI's ``error.message``, or the start of a plain text."""
    try:
        content = response.json()
    except (ValueError, RecursionError):
        is_page = "html" in response.headers.get("Content-Type", "")
        return "(a web page, not JSON: is a proxy in between?)" if is_page else response.text[:_SHOWN_CHARACTERS]
    error = content.get("error", content) if isinstance(content, dict) else content
    return str(error.get("message", error)) if isinstance(error, dict) else str(error)


def _read_retry_after(response: httpx.Response) -> float | None:
    """Seconds of the header ``Retry-After``, which holds seconds or a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
