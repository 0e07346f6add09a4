"""Widgets of a model that a server offers: its address, its name, and a check that asks the server once.

Nothing is asked while the page is drawn. What a server says (names, errors) is shown literally.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, NamedTuple, TypeVar

import msgspec
import streamlit as st

from hnmine.core.errors import EncodeError, HnmineError, SettingsError
from hnmine.core.text import visible
from hnmine.models.cards import ModelSettings
from hnmine.models.encoder import encode
from hnmine.models.opening import load_encoder, load_reranker
from hnmine.models.reranker import RerankerSettings
from hnmine.models.served.client import offered_names
from hnmine.models.served.server import EMBEDDER_APIS, RERANKER_APIS, Api, Server, embedder_api, require_path, reranker_api
from pages.shared import limits, servers
from pages.shared.widgets import failed

__all__ = ["SERVED", "ask_encoder", "ask_reranker", "box", "check", "missing", "model_name", "nothing_missing", "server_choice"]

T = TypeVar("T")

SERVED = "Served by a server"
_KINDS = {EMBEDDER_APIS: "an embedding model", RERANKER_APIS: "a reranker"}
_EMBEDDER_FORMS: dict[Api, str] = {"openai": "OpenAI: /v1/embeddings", "tei": "TEI: /embed"}
_RERANKER_FORMS: dict[Api, str] = {"tei": "TEI: /rerank", "jina": "Jina, Cohere: /v1/rerank", "vllm": "vLLM: /score"}
# Seconds that a check waits for one answer.
SECONDS = 20.0
# Seconds that a check takes at most.
WAIT = 45.0
TEXT = "How do I end a ride?"
# Returns lines that say what the model of a server and a name is.
Ask = Callable[[Server, str], tuple[str, ...]]


class Answer(NamedTuple):
    """What a check found: lines that say it, and the names that the server offers; `error` where it failed."""

    server: Server
    name: str | None
    lines: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    error: str = ""


def box(
    key: str, whose: str, before: ModelSettings | RerankerSettings | None, apis: tuple[Api, ...], ask: Ask
) -> tuple[Server, str] | None:
    """Draw the server and the name of a model, with a check that asks by `ask`; return both, None while one is missing.

    Args:
        whose: the model in words: labels name it, because several such boxes can be open.
        before: the model of the last run, the first choice if it is served.
    """
    held = None if before is None else before.server
    server = server_choice(key, held, apis, f" ({whose})")
    if server is None:
        return None
    name = model_name(key, None if before is None or held is None else before.name_or_path, server, f"Name of the {whose}")
    check(key, whose, server, name, ask)
    return None if name is None else (server, name)


def server_choice(key: str, initial: Server | None, apis: tuple[Api, ...], of: str = "") -> Server | None:
    """Draw the address of a server, the form of its API (one of `apis`), its key variable and, for embeddings, dimensions.

    Each label ends with `of`. Returns None while there is no valid address, and where no server may be chosen, with the reason.
    """
    if reason := servers.refusal():
        st.text(reason)
        return None
    try:
        found = _address(key, initial, of) if servers.any_address() else _listed(key, initial, of)
        if found is None:
            st.session_state[f"missing-{key}"] = "Enter the address of the server" if servers.any_address() else "Choose a server"
            return None
        return _form(key, initial, apis, found, of)
    except HnmineError as error:
        failed("Cannot use this server", error)
        return None


def _address(key: str, initial: Server | None, of: str) -> Server | None:
    """Draw the address and the key variable as they are entered."""
    address = st.text_input(
        f"Address of the server{of}",
        value="" if initial is None else initial.address,
        placeholder="http://127.0.0.1:8000/v1",
        key=f"address-{key}",
        max_chars=limits.ADDRESS,
        persist_state="session",
        help="With or without the path of the request. This server asks it, not your browser.",
    ).strip()
    variable = st.text_input(
        f"Variable with the key{of}",
        value=(initial.key_variable if initial is not None else None) or "",
        placeholder="none",
        key=f"key-variable-{key}",
        max_chars=limits.NAME,
        persist_state="session",
        help="Name of the environment variable that holds the key: it ends with _API_KEY, such as OPENAI_API_KEY. The key itself is never "
        "stored, shown or logged.",
    ).strip()
    if not address:
        return None
    found = Server(address=address, key_variable=variable or None)
    found.key()  # a variable that is not set is found now, not by the queue
    return found


def _listed(key: str, initial: Server | None, of: str) -> Server | None:
    """Draw the choice of the addresses in HNMINE_SERVERS."""
    options = {f"{each.address}{f' (key in {each.key_variable})' if each.key_variable else ''}": each for each in servers.listed()}
    before = None if initial is None else (initial.address, initial.key_variable)
    places = [place for place, each in enumerate(options.values()) if (each.address, each.key_variable) == before]
    chosen = st.selectbox(
        f"Address of the server{of}",
        list(options),
        index=places[0] if places else None,
        placeholder="choose one of the listed servers",
        key=f"listed-{key}",
        persist_state="session",
        help=f"The servers that {servers.LISTED} lists.",
    )
    if chosen is None and before is not None:
        servers.require(initial)
    return options.get(chosen or "")


def _form(key: str, initial: Server | None, apis: tuple[Api, ...], found: Server, of: str) -> Server | None:
    """Draw the form of the API and the dimensions; return the server with them, None while the form is not known."""
    require_path(found, _KINDS.get(apis, "a judge"))
    if len(apis) == 1:
        return msgspec.structs.replace(initial or found, address=found.address, key_variable=found.key_variable)
    forms = _EMBEDDER_FORMS if apis == EMBEDDER_APIS else _RERANKER_FORMS
    detected = _detected(found, apis)
    dimensions = None
    left, right = st.columns(2)
    known = initial.api if initial is not None and initial.address == found.address else None
    api = left.selectbox(
        f"Form of the API{of}",
        list(apis),
        index=apis.index(known) if known in apis else None,
        format_func=forms.__getitem__,
        placeholder="choose one" if detected is None else f"{forms[detected]} (detected)",
        key=f"api-{key}-{found.address}",
        persist_state="session",
        help="Detected from the path of the address.",
    )
    if api is None and detected is None:
        left.warning("Choose the form of the API.", icon=":material/warning:")
        st.session_state[f"missing-{key}"] = "Choose the form of the API"
        return None
    if apis == EMBEDDER_APIS:
        dimensions = right.number_input(
            f"Dimensions{of}",
            min_value=1,
            max_value=65_536,
            value=None if initial is None else initial.dimensions,
            placeholder="those of the model",
            key=f"dimensions-{key}",
            persist_state="session",
            help="Only for a model that can shorten its vectors.",
        )
    more = {"api": api, "dimensions": None if dimensions is None else int(dimensions)}
    return msgspec.structs.replace(initial or found, address=found.address, key_variable=found.key_variable, **more)


def _detected(server: Server, apis: tuple[Api, ...]) -> Api | None:
    """Return the form that the path of an address shows; None if it shows none."""
    try:
        return reranker_api(server) if apis == RERANKER_APIS else embedder_api(server)
    except SettingsError:
        return None


def model_name(key: str, initial: str | None, server: Server, label: str = "Name of the model") -> str | None:
    """Draw the name of the model, with those that the last check found on offer; return None until there is one."""
    answer = _last(key, server)
    names = () if answer is None else answer.names
    field = f"name-{key}"
    if len(names) == 1 and initial is None and st.session_state.get(field) is None:
        st.session_state[field] = names[0]
    name = st.selectbox(
        label,
        list(dict.fromkeys([*([] if initial is None else [initial]), *names])),
        index=None if initial is None else 0,
        accept_new_options=True,
        placeholder="enter it, or press Check",
        format_func=visible,
        key=field,
        persist_state="session",
        help="As the server knows the model. After a check, the names that the server offers can be chosen.",
    )
    name = (name or "").strip()[: limits.ADDRESS]
    if not name:
        st.session_state[f"missing-{key}"] = "Enter the name of the model"
    elif names and name not in names:
        st.warning("The server's list of models lacks this name. Choose one of the list, unless the server knows it by another name.")
    return name or None


def nothing_missing(*keys: str) -> None:
    """Forget what was missing; called before the choices are drawn."""
    for key in keys:
        st.session_state.pop(f"missing-{key}", None)


def missing(key: str) -> str:
    """Return what has to be entered before the chosen server can be used; empty if nothing is missing."""
    return str(st.session_state.get(f"missing-{key}", ""))


def check(key: str, whose: str, server: Server, name: str | None, ask: Ask) -> None:
    """Draw the button that asks the server, and what the last check of this server and name found.

    `ask` returns lines that say what a model of this name is; the server that it gets has a short timeout.
    """
    if st.button(f"Check the {whose}", icon=":material/network_check:", key=f"check-{key}", help="Asks the server once."):
        with st.spinner("Asking the server"):
            st.session_state[f"checked-{key}"] = _answer(server, name, ask)
        st.rerun()
    answer = _last(key, server)
    if answer is None or (answer.name != name and (answer.error or answer.lines)):
        return
    if answer.error:
        failed("The check failed", answer.error)
    elif answer.lines:
        st.success("The server answers.", icon=":material/check_circle:")
        st.text("\n".join(answer.lines))
    elif name is None:
        st.info("The server answers. Choose the name of the model, and check again.", icon=":material/info:")


def _last(key: str, server: Server) -> Answer | None:
    answer = st.session_state.get(f"checked-{key}")
    return answer if isinstance(answer, Answer) and answer.server == server else None


def _answer(server: Server, name: str | None, ask: Ask) -> Answer:
    """Ask a server for its models, then the model; its only name is taken where none is chosen."""
    quick = msgspec.structs.replace(server, timeout=min(server.timeout, SECONDS))
    names: tuple[str, ...] = ()
    try:
        servers.require(server)
        names = offered_names(quick)
        name = names[0] if name is None and len(names) == 1 else name
        if name is None:
            error = "" if names else "The server does not answer, or has no list of models. Enter the name of the model, and check again."
            return Answer(server, None, names=names, error=error)
        lines = _in_time(lambda: ask(quick, name))
    except HnmineError as error:
        return Answer(server, name, names=names, error=str(error))
    return Answer(server, name, lines, names)


def _in_time(work: Callable[[], T]) -> T:
    """Return what `work` returns; a busy server is asked again for minutes, and nobody waits for a check that long.

    Raises:
        EncodeError: it takes longer than WAIT; or what `work` raises.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, name="hnmine-check", daemon=True).start()
    try:
        return future.result(WAIT)
    except FutureTimeout:
        if future.done():
            raise
        raise EncodeError(f"the server has not answered after {WAIT:.0f} seconds; it hangs, or is busy. Check again later") from None


def ask_encoder(server: Server, name: str) -> tuple[str, ...]:
    """Ask an embedding model for one text, and return what it is, in lines."""
    encoder = load_encoder(ModelSettings(name_or_path=name, server=server))
    began = time.monotonic()
    dimensions = encode(encoder, [TEXT], "passages").shape[1]
    return _lines(encoder.describe(), "text", began, "passage_max_length", f"Dimensions: {dimensions:,}")


def ask_reranker(server: Server, name: str) -> tuple[str, ...]:
    """Ask a reranker for one pair, and return what it is, in lines."""
    reranker = load_reranker(RerankerSettings(name_or_path=name, server=server))
    began = time.monotonic()
    (_, scores), *_ = reranker.score([(TEXT, TEXT)])
    return _lines(reranker.describe(), "pair", began, "max_length", f"Score of a text with itself: {float(scores[0]):.3f}")


def _lines(found: Mapping[str, Any], what: str, began: float, length: str, more: str) -> tuple[str, ...]:
    """Return what a model is: `length` names the field of `found` with its maximum, `more` is a line of its own."""
    milliseconds, longest = 1000 * (time.monotonic() - began), found.get(length)
    return (
        f"Model: {visible(str(found.get('name')))}",
        more,
        f"Time of one {what}: {milliseconds:,.0f} ms",
        f"Longest {what}: {f'{longest:,} tokens' if isinstance(longest, int) else 'the server does not state it'}",
    )
