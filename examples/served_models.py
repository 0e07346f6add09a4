"""A server of models on this machine, to try what asks one: embeddings, reranking and a judge, in the form of each API.

    python examples/served_models.py --port 8080
    curl -d '{"model": "all-MiniLM-L6-v2", "input": ["a text"]}' http://127.0.0.1:8080/v1/embeddings

It serves the packaged model, answers 127.0.0.1 alone, and has faults that can be switched on, by flag or while it runs:

    curl -d '{"kind": "busy", "after": 3, "times": 2}' http://127.0.0.1:8080/faults

For tests and demonstrations: requests are computed one after another.
"""

from __future__ import annotations

import argparse
import importlib
import ipaddress
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np

__all__ = ["FAULTS", "PackagedModels", "ServedModels"]

# Without further fields, each answers so until it is switched off; `after` requests of models are answered first, then `times` have the
# fault. "busy" has `seconds` (or `milliseconds`, or a `date`) to wait, "failing" a `status`, "redirect" a `location`, "huge" `bytes`.
FAULTS = (
    "busy", "failing", "wrong_key", "redirect", "hang", "cut", "not_json", "huge",
    "wrong_dimensions", "nan", "fewer", "duplicated", "swapped",
    # of a judge
    "no_schema", "no_temperature", "no_max_tokens", "content_filter", "refusal", "prose", "no_grade", "two_grades", "thinking", "no_usage",
    "no_choices", "long",
)  # fmt: skip
EMBEDDERS, RERANKERS, CHAT = ("/v1/embeddings", "/embed"), ("/rerank", "/v1/rerank", "/score"), "/v1/chat/completions"
# Seconds that a request hangs at most.
HANG = 600.0

# The body of a chat completion and a fault, to a status and an answer.
Chat = Callable[[dict[str, Any], str], tuple[int, dict[str, Any]]]


class Models(Protocol):
    """What is served: `name`, the most tokens of a text, and three functions of texts."""

    name: str
    max_tokens: int

    def counts(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, before any is cut."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors, (n, d) float32; texts are cut at `max_tokens`."""

    def scores(self, query: str, passages: Sequence[str]) -> np.ndarray:
        """Return raw logits, (n,) float32; pairs are cut at `max_tokens`."""


class PackagedModels:
    """The packaged all-MiniLM-L6-v2 in float32, and a reranker: a cross-encoder in a folder, else similarities of that model."""

    def __init__(self, *, max_tokens: int = 256, reranker: str | None = None) -> None:
        from tokenizers import Tokenizer

        from hnmine.models.cards import PACKAGED_NAME, ModelSettings, packaged_folder
        from hnmine.models.encoder import FlagEncoder, encode
        from hnmine.models.flag_reranker import CrossEncoder
        from hnmine.models.reranker import RerankerSettings

        self.name, self.max_tokens = PACKAGED_NAME, max_tokens
        self._tokenizer = Tokenizer.from_file(str(packaged_folder() / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._encode = encode
        settings = ModelSettings(devices=("cpu",), precision="fp32", query_max_length=max_tokens, passage_max_length=max_tokens)
        self._encoder = FlagEncoder.load(settings)
        self._reranker = None
        if reranker is not None:
            self._reranker = CrossEncoder.load(
                RerankerSettings(name_or_path=reranker, devices=("cpu",), precision="fp32", max_length=max_tokens)
            )

    def counts(self, texts: Sequence[str]) -> list[int]:
        return [len(each) for each in self._tokenizer.encode_batch_fast(list(texts))]

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode(self._encoder, texts, "passages")

    def scores(self, query: str, passages: Sequence[str]) -> np.ndarray:
        if self._reranker is None:
            vectors = self.vectors([query, *passages])
            return 12 * vectors[1:] @ vectors[0] - 4
        found = np.empty(len(passages), dtype=np.float32)
        for places, scores in self._reranker.score([(query, passage) for passage in passages]):
            found[places] = scores
        return found


class Refusal(Exception):
    """An answer other than 200: a status, and what the server says in the words of the one that it stands for."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


class ServedModels:
    """The server, in a thread of its own; use it in a `with`.

    Attributes:
        address: such as http://127.0.0.1:8080.
    """

    def __init__(
        self,
        models: Models | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        key_variable: str | None = None,
        max_batch: int = 32,
        owned_by: str = "vllm",
        sha: str = "5c38ec7c405ec4b44b94cc5a9bb96e735b38267a",
        chat: Chat | None = None,
    ) -> None:
        """Begin to answer.

        Args:
            models: what to serve; None is the packaged model.
            key_variable: the environment variable with the key that a request must bring; None asks for none.
            max_batch: texts that one request may have.
            owned_by: "vllm" refuses a text that is too long unless it is asked to cut it; "openai" always refuses it, and empty ones.
            sha: the commit of the weights that TEI's /info states.
            chat: answers the body of a chat completion; None has no such page.

        Raises:
            ValueError: the host is not of this machine.
        """
        if not ipaddress.ip_address(host).is_loopback:
            raise ValueError(f"{host} can be reached from other machines; this server is for 127.0.0.1 alone")
        self.models = models or PackagedModels()
        self.max_batch, self.owned_by, self.sha, self.chat = max_batch, owned_by, sha, chat
        self.key = os.environ[key_variable] if key_variable else None
        self.asked: list[tuple[str, Any]] = []  # (path, body) of each request of a model
        self.headers: list[dict[str, str]] = []
        self._texts: dict[str, Counter[Any]] = {}
        self._faults: list[dict[str, Any]] = []
        self._lock, self._computing, self._closing = threading.Lock(), threading.Lock(), threading.Event()
        served = self

        class Handler(_Handler):
            models_server = served

        self._http = _Http((host, port), Handler)
        self.address = f"http://{host}:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="served-models", daemon=True)
        self._thread.start()

    def fail(self, kind: str, *, after: int = 0, times: int | None = None, **more: Any) -> None:
        """Switch a fault on, one of FAULTS: after so many requests, so many times (None: until `heal`)."""
        if kind not in FAULTS:
            raise ValueError(f"{kind} is not one of {', '.join(FAULTS)}")
        with self._lock:
            self._faults.append({"kind": kind, "after": after, "times": times, **more})

    def heal(self) -> None:
        """Switch all faults off."""
        with self._lock:
            self._faults.clear()

    def texts(self, path: str) -> Counter[Any]:
        """Return how often each text, or each (query, passage), was answered at a path such as "/embed"."""
        with self._lock:
            return Counter(self._texts.get(path, {}))

    @property
    def seen(self) -> dict[str, dict[str, Any]]:
        """By path, of what was answered: how many `texts`, and `different` ones; how many were `repeated`, and the first of these."""
        with self._lock:
            found = {
                path: (texts.total(), len(texts), [text for text, count in texts.items() if count > 1])
                for path, texts in self._texts.items()
            }
        return {
            path: {"texts": texts, "different": different, "repeated": len(again), "first_repeated": again[:100]}
            for path, (texts, different, again) in found.items()
        }

    def close(self) -> None:
        """End it, and what hangs in it."""
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> ServedModels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fault(self) -> dict[str, Any]:
        """Return the fault of the next request, {} for none; the first that is due counts."""
        with self._lock:
            for each in self._faults:
                if each["after"] > 0:
                    each["after"] -= 1
                elif each["times"] is None or each["times"] > 0:
                    each["times"] = None if each["times"] is None else each["times"] - 1
                    return dict(each)
        return {}

    def hang(self) -> None:
        self._closing.wait(HANG)

    # What each path answers.

    def get(self, path: str) -> dict[str, Any]:
        if path == "/v1/models":
            names = [self.models.name, *(["judge-by-rule"] if self.chat is not None else [])]
            model: dict[str, Any] = {"object": "model", "owned_by": self.owned_by}
            model |= {"max_model_len": self.models.max_tokens} if self.owned_by == "vllm" else {}
            return {"object": "list", "data": [{"id": name} | model for name in names]}
        if path == "/info":
            limits = {"max_client_batch_size": self.max_batch, "max_input_length": self.models.max_tokens, "max_batch_tokens": 16_384}
            return {"model_id": self.models.name, "model_sha": self.sha, "model_dtype": "float32", "auto_truncate": False} | limits
        if path == "/seen":
            return self.seen
        if path == "/health":
            return {}
        raise Refusal(404, {"error": {"message": f"no such page: {path}", "code": 404}})

    def post(self, path: str, body: dict[str, Any], fault: str) -> Any:
        with self._lock:
            self.asked.append((path, body))
        if path == CHAT and self.chat is not None:
            status, answer = self.chat(body, fault)
            if status != 200:
                raise Refusal(status, answer)
            self._count(path, [json.dumps(body["messages"])])
            return answer
        if path in EMBEDDERS:
            return self._embed(path, body, fault)
        if path in RERANKERS:
            return self._rerank(path, body, fault)
        raise Refusal(404, {"error": {"message": f"no such page: {path}", "code": 404}})

    def _embed(self, path: str, body: dict[str, Any], fault: str) -> Any:
        tei = path == "/embed"
        texts = body["inputs" if tei else "input"]
        texts = [texts] if isinstance(texts, str) else texts
        if not tei:
            self._check_name(body)
        self._check_batch(len(texts), tei)
        counts = self._check_lengths(texts, self._truncates(body, tei), tei)
        with self._computing:
            vectors = np.array(self.models.vectors(texts), dtype=np.float32)
        if body.get("dimensions"):
            if not 0 < body["dimensions"] <= vectors.shape[1]:
                raise Refusal(400, {"error": {"message": f"dimensions must be 1 to {vectors.shape[1]}", "code": 400}})
            vectors = vectors[:, : body["dimensions"]]
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        if fault == "swapped":  # an orthogonal matrix: as good vectors of another model
            vectors = vectors[:, ::-1] * np.where(np.arange(vectors.shape[1]) % 2, -1, 1)
        if fault == "wrong_dimensions":
            vectors = vectors[:, :-1]
        rows: list[Any] = vectors.tolist()
        if fault == "nan":
            rows[0] = [float("nan"), *rows[0][1:]]
        if fault == "fewer":
            rows.pop()
        self._count(path, texts)
        if tei:
            return rows
        data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
        if fault == "duplicated":
            data[-1]["index"] = 0
        tokens = sum(min(count, self.models.max_tokens) for count in counts)
        return {"object": "list", "data": data[::-1], "model": self.models.name, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}}

    def _rerank(self, path: str, body: dict[str, Any], fault: str) -> Any:
        tei = path == "/rerank"
        if tei:
            query, passages = body["query"], body["texts"]
        elif path == "/score":
            query = body["text_1"] if "text_1" in body else body["queries"]
            passages = body["text_2"] if "text_2" in body else body["documents"]
        else:
            query, passages = body["query"], body["documents"]
        if not tei:
            self._check_name(body)
        passages = [passages] if isinstance(passages, str) else passages
        queries = query if isinstance(query, list) else [query]
        if len(queries) > 1 and len(queries) != len(passages):
            raise Refusal(400, {"error": {"message": "as many queries as documents, or one", "code": 400}})
        self._check_batch(len(passages), tei)
        pairs = list(zip(queries * (len(passages) if len(queries) == 1 else 1), passages, strict=True))
        counts = self._check_lengths([f"{query} {passage}" for query, passage in pairs], self._truncates(body, tei), tei)
        with self._computing:
            if len(queries) == 1:
                scores = np.array(self.models.scores(queries[0], passages), dtype=np.float32)
            else:
                scores = np.array([self.models.scores(query, [passage])[0] for query, passage in pairs], dtype=np.float32)
        if fault == "swapped":
            scores = -scores - 1
        if not (body.get("raw_scores") if tei else path == "/score" and body.get("use_activation") is False):
            scores = (1 / (1 + np.exp(-scores.astype(np.float64)))).astype(np.float32)
        numbered: list[tuple[int, float]] = list(enumerate(scores.tolist()))
        if path != "/score":
            numbered.sort(key=lambda each: -each[1])
        if fault == "nan":
            numbered[0] = (numbered[0][0], float("nan"))
        if fault == "fewer":
            numbered.pop()
        if fault == "duplicated":
            numbered[-1] = (numbered[0][0], numbered[-1][1])
        self._count(path, pairs)
        if tei:
            return [{"index": index, "score": score} for index, score in numbered]
        tokens = sum(min(count, self.models.max_tokens) for count in counts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        if path == "/score":
            return {"object": "list", "data": [{"object": "score", "index": i, "score": each} for i, each in numbered], "usage": usage}
        results = [{"index": index, "relevance_score": score} for index, score in numbered]
        return {"model": self.models.name, "usage": usage, "results": results[: body.get("top_n") or None]}

    def _truncates(self, body: dict[str, Any], tei: bool) -> bool:
        return bool(body.get("truncate")) if tei else self.owned_by == "vllm" and body.get("truncate_prompt_tokens") is not None

    def _check_name(self, body: dict[str, Any]) -> None:
        if body.get("model") != self.models.name:
            raise Refusal(404, {"error": {"message": f"The model `{body.get('model')}` does not exist.", "code": 404}})

    def _check_batch(self, count: int, tei: bool) -> None:
        if count > self.max_batch:
            said = f"batch size {count} > maximum allowed batch size {self.max_batch}"
            raise Refusal(422 if tei else 413, {"error": said, "error_type": "Validation"} if tei else {"error": {"message": said}})

    def _check_lengths(self, texts: Sequence[str], truncates: bool, tei: bool) -> list[int]:
        counts, most = self.models.counts(texts), self.models.max_tokens
        if max(counts, default=0) > most and not truncates:
            if tei:
                said = f"`inputs` must have less than {most} tokens. Given: {max(counts)}"
                raise Refusal(413, {"error": said, "error_type": "Validation"})
            said = (
                f"This model's maximum context length is {most} tokens. However, you requested {max(counts)} tokens in the input for "
                "embedding generation. Please reduce the length of the input."
            )
            raise Refusal(400, {"error": {"message": said, "type": "BadRequestError", "code": 400}})
        if not all(texts) and self.owned_by == "openai":
            raise Refusal(400, {"error": {"message": "input cannot be an empty string", "type": "invalid_request_error"}})
        return counts

    def _count(self, path: str, texts: Sequence[Any]) -> None:
        with self._lock:
            self._texts.setdefault(path, Counter()).update(texts)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that clients end are no news."""


class _Handler(BaseHTTPRequestHandler):
    """One connection; answers are complete before their first byte is sent."""

    protocol_version = "HTTP/1.1"
    models_server: ServedModels

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        served = self.models_server
        try:
            self._answer(200, served.get(self.path))
        except Refusal as refusal:
            self._answer(refusal.status, refusal.body)

    def do_POST(self) -> None:
        served = self.models_server
        self.path = urlsplit(self.path).path  # a client that takes this server for a proxy asks for a whole address
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            body = json.loads(content)
        except ValueError:
            self._answer(400, {"error": {"message": "the body is no JSON"}})
            return
        if self.path == "/faults":
            try:
                served.heal() if body.get("kind") == "none" else served.fail(**body)
                self._answer(200, {})
            except (TypeError, ValueError) as error:
                self._answer(400, {"error": {"message": str(error)}})
            return
        fault = served.fault()
        kind = fault.get("kind", "")
        with served._lock:
            served.headers.append(dict(self.headers.items()))
        if kind == "hang":
            served.hang()
            self.close_connection = True
            return
        if kind == "huge":
            self._huge(int(fault.get("bytes", 2**30)))
            return
        try:
            if kind in ("busy", "failing", "wrong_key", "redirect"):
                raise _refusal(kind, fault)
            if served.key is not None and self.headers.get("Authorization") != f"Bearer {served.key}":
                given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
                raise Refusal(401, {"error": {"message": f"Incorrect API key provided: {given}.", "code": "invalid_api_key"}})
            answer = served.post(self.path, body, kind)
        except Refusal as refusal:
            self._answer(refusal.status, refusal.body, refusal.headers)
        except (KeyError, TypeError, AttributeError) as error:
            self._answer(422, {"error": {"message": f"{type(error).__name__}: {error}"}})
        else:
            self._answer(200, answer, fault=kind)

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None, *, fault: str = "") -> None:
        content = b"<html><body>504 Gateway</body></html>" if fault == "not_json" else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if fault == "cut":
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)

    def _huge(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        self.close_connection = True
        block = b" " * 2**20
        while size > 0:
            self.wfile.write(block[:size])
            size -= len(block)


def _refusal(kind: str, fault: dict[str, Any]) -> Refusal:
    if kind == "busy":
        if "milliseconds" in fault:
            headers = {"Retry-After-Ms": str(fault["milliseconds"])}
        else:
            headers = {"Retry-After": str(fault.get("date", fault.get("seconds", 0)))}
        return Refusal(429, {"error": {"message": "Model is overloaded", "type": "overloaded"}}, headers)
    if kind == "failing":
        return Refusal(int(fault.get("status", 503)), {"error": {"message": "the engine has died"}})
    if kind == "redirect":
        return Refusal(307, {}, {"Location": str(fault.get("location", "http://127.0.0.1:9/"))})
    return Refusal(401, {"error": {"message": "Incorrect API key provided.", "code": "invalid_api_key"}})


def _chat() -> Chat | None:
    """Return the judge by rule that stands beside this file, if it does."""
    for name in ("served_judge", "examples.served_judge"):
        try:
            found: Chat = importlib.import_module(name).completion
            return found
        except (ImportError, AttributeError):
            continue
    return None


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Serve the packaged model on this machine, in the form of each API.")
    parser.add_argument("--port", type=int, default=8080, help="0 takes a free one, which the first line of output names")
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine")
    parser.add_argument("--reranker", metavar="FOLDER", help="folder of a cross-encoder; without, similarities are scores")
    parser.add_argument("--max_tokens", type=int, default=256, help="longer texts are refused, or cut where the request allows it")
    parser.add_argument("--max_batch", type=int, default=32, help="texts that one request may have")
    parser.add_argument("--owned_by", choices=("vllm", "openai"), default="vllm", help="whose limits it has")
    parser.add_argument("--key_variable", metavar="NAME", help="environment variable with the key that requests must bring")
    parser.add_argument("--fault", choices=FAULTS, action="append", default=[], help="switch a fault on; may be repeated")
    options = parser.parse_args()
    models = PackagedModels(max_tokens=options.max_tokens, reranker=options.reranker)
    models.vectors(["The model loads now."])
    served = ServedModels(
        models,
        host=options.host,
        port=options.port,
        key_variable=options.key_variable,
        max_batch=options.max_batch,
        owned_by=options.owned_by,
        chat=_chat(),
    )
    for kind in options.fault:
        served.fail(kind)
    print(served.address, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        served.close()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # hnmine, beside which this folder is
    main()
