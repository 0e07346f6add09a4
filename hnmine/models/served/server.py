"""Where a served model answers: its address, the form of its questions, and the environment variable with its key."""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from typing import Literal, get_args

import httpx2
import msgspec

from hnmine.core.errors import ModelError, SettingsError

__all__ = ["APIS", "EMBEDDER_APIS", "RERANKER_APIS", "Api", "Server", "embedder_api", "require_path", "reranker_api"]

# The forms of request: OpenAI's /v1/embeddings and /v1/chat/completions; /embed and /rerank of Text Embeddings Inference; /v1/rerank of
# Jina and Cohere; /score of vLLM.
Api = Literal["openai", "tei", "jina", "vllm"]
APIS: tuple[Api, ...] = get_args(Api)
EMBEDDER_APIS: tuple[Api, ...] = ("openai", "tei")
RERANKER_APIS: tuple[Api, ...] = ("tei", "jina", "vllm")

# Only such variables are read: a manifest or a screen that names another must not send what it holds to an address.
_KEY_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*_API_KEY")


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The server of a model. What decides a result: address, api and dimensions.

    Attributes:
        address: http or https, with or without the path of the question, such as http://127.0.0.1:8000/v1.
        api: one of APIS; None takes it from the path of the address.
        key_variable: the environment variable that holds the key, such as OPENAI_API_KEY; None sends no key.
        dimensions: asked of an embedding model that can shorten its vectors; None for its own.
        concurrency: requests at once.
        timeout: seconds that one request may take.
    """

    address: str
    api: Api | None = None
    key_variable: str | None = None
    dimensions: int | None = None
    concurrency: int = 4
    timeout: float = 120.0

    def __post_init__(self) -> None:
        try:
            url = httpx2.URL(self.address.strip())
        except (httpx2.InvalidURL, TypeError, ValueError) as error:
            raise SettingsError(f"the server's address {self.address!r} is not valid ({error}); write one such as {_EXAMPLE}") from error
        if url.scheme not in ("http", "https") or not url.host:
            raise SettingsError(f"the server's address {self.address!r} has no http:// or no host; write one such as {_EXAMPLE}")
        if url.userinfo or url.query or url.fragment:
            raise SettingsError(
                "the server's address has a user name, a password or a query, which would be stored with the settings; leave them out, and "
                "give a key by the name of the environment variable that holds it"
            )
        msgspec.structs.force_setattr(self, "address", str(url).rstrip("/"))
        if self.api is not None and self.api not in APIS:
            raise SettingsError(f"api is {self.api!r}; it is one of: {', '.join(APIS)}")
        if self.key_variable is not None and not _KEY_VARIABLE.fullmatch(self.key_variable):
            raise SettingsError(
                "the variable with the key must be the name of an environment variable that ends with _API_KEY, such as OPENAI_API_KEY; "
                "give that name, and never the key itself"
            )
        for name, least, most in (("dimensions", 1, 2**16), ("concurrency", 1, 256), ("timeout", 0.1, 3600.0)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise SettingsError(f"the server's {name} is {value}; it must be {least:g} to {most:g}")

    def url(self, path: str) -> str:
        """Return the address of a path such as "/v1/embeddings", which the address may have in whole or in part."""
        own = httpx2.URL(self.address).path.rstrip("/")
        root = self.address.removesuffix(own) if own else self.address
        if own.endswith(path.removeprefix("/v1")):
            return self.address
        for end in sorted({*_ENDS}, key=len, reverse=True):  # another question of the same server
            if own.endswith(end):
                own = own.removesuffix(end)
                break
        if own.endswith("/v1"):  # of paths that may or may not begin with it
            own = own.removesuffix("/v1")
        return root + own + path

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        host = httpx2.URL(self.address).host
        with suppress(ValueError):
            return ipaddress.ip_address(host).is_loopback
        return host == "localhost" or host.endswith(".localhost")

    def key(self) -> str | None:
        """Return the key, or None without `key_variable`.

        Raises:
            ModelError: the variable is not set, or holds what cannot be sent.
        """
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise ModelError(f"the environment variable {self.key_variable} is not set; set it to the key of {self.address}")
        if not key.isascii() or not key.isprintable():
            raise ModelError(f"the environment variable {self.key_variable} holds characters that no key has; set it again")
        return key


_EXAMPLE = "http://127.0.0.1:8000/v1"
_ENDS = ("/v1/embeddings", "/embeddings", "/embed", "/v1/rerank", "/rerank", "/score", "/v1/chat/completions", "/chat/completions")


# The ends of an address by the kind of the model that is asked there.
_PATHS = {"an embedding model": ("/embeddings", "/embed"), "a reranker": ("/rerank", "/score"), "a judge": ("/chat/completions",)}


def require_path(server: Server, kind: str) -> None:
    """Check the path of the address of "an embedding model", "a reranker" or "a judge".

    Raises:
        SettingsError: it is the path of another kind.
    """
    for other, ends in _PATHS.items():
        if other != kind and server.address.endswith(ends):
            raise SettingsError(
                f"the address {server.address} is given for {kind}, and this is the path of {other}; end it with "
                f"{' or '.join(_PATHS[kind])}, or leave the path out"
            )


def embedder_api(server: Server) -> Api:
    """Return the form of an embedder's questions: as set, else as the address ends, else "openai".

    Raises:
        SettingsError: no embedder has the form that is set, or the path of the address.
    """
    require_path(server, "an embedding model")
    api = server.api or ("tei" if server.address.endswith("/embed") else "openai")
    if api not in EMBEDDER_APIS:
        raise SettingsError(f"the api of the embedding model's server is {api!r}, which is a reranker's; set {' or '.join(EMBEDDER_APIS)}")
    return api


def reranker_api(server: Server) -> Api:
    """Return the form of a reranker's questions: as set, else as the address ends.

    Raises:
        SettingsError: neither, or no reranker has the form that is set, or the path of the address.
    """
    require_path(server, "a reranker")
    ends: tuple[tuple[str, Api], ...] = (("/v1/rerank", "jina"), ("/v2/rerank", "jina"), ("/rerank", "tei"), ("/score", "vllm"))
    api = server.api or next((found for end, found in ends if server.address.endswith(end)), None)
    if api is None:
        raise SettingsError(
            f"the address of the reranker's server, {server.address}, does not say which form its questions have; end it with /rerank, "
            f"/v1/rerank or /score, or set --reranker_api to {', '.join(RERANKER_APIS)}"
        )
    if api not in RERANKER_APIS:
        raise SettingsError(f"the api of the reranker's server is {api!r}, which is no reranker's; set {', '.join(RERANKER_APIS)}")
    return api
