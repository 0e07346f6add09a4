"""The choice of the LLM that judges: server, model, the grade that counts as relevant, and the prompt. Kept for the workspace."""

from __future__ import annotations

import msgspec
import streamlit as st

from hnmine import resources
from hnmine.core.errors import HnmineError
from hnmine.models.served.server import Server
from hnmine.review.judge_prompt import DEFAULT_PROMPT, GRADES, JudgePrompt
from hnmine.review.judge_settings import JudgeSettings
from hnmine.runs.judge_setup import write_judge
from pages.shared import judging, limits
from pages.shared.served import check, model_name, server_choice
from pages.shared.widgets import choice, failed

__all__ = ["draw"]

# What the name of an edited prompt begins as.
OWN = "own"
_TURN = "judge-form-turn"


def draw(settings: JudgeSettings | None) -> None:
    """Draw the form in a popover."""
    label = "Choose an LLM" if settings is None else "Change the judge or the prompt"
    turn = st.session_state.get(_TURN, 0)  # a saved form closes
    with st.popover(label, icon=":material/tune:", key=f"judge-form-{turn}"):
        st.text("Any server with the OpenAI API /v1/chat/completions.")
        server = server_choice("judge", None if settings is None else settings.server, ("openai",))
        model = None if server is None else model_name("judge", None if settings is None else settings.model, server)
        relevant_from = choice(
            "Relevant from grade",
            {grade: str(grade) for grade in range(1, len(GRADES))},
            "judge-relevant-from",
            2 if settings is None else settings.relevant_from,
            "The lowest grade that counts as relevant. " + " ".join(f"{grade}: {each}." for grade, each in enumerate(GRADES)),
        )
        prompt = _prompt(DEFAULT_PROMPT if settings is None else settings.prompt)
        if server and prompt:
            check("judge", "judge", server, model, lambda asked, name: judging.check(asked, name, prompt))
        if st.button("Save", type="primary", icon=":material/save:", key="judge-save", disabled=not (server and model and prompt)):
            assert server and model and prompt  # the button is disabled
            _save(settings, server, model, prompt, relevant_from)


def _prompt(held: JudgePrompt) -> JudgePrompt | None:
    """Draw the prompt; return it as it is written, None where it cannot be used."""
    with st.expander(f"Prompt {held.version}", key="judge-prompt-folded"):
        st.text("A changed prompt is another version. Pairs are judged again with it.")
        written = st.text_area(
            "Prompt",
            value=held.text,
            height=300,
            max_chars=limits.GUIDELINES,
            key="judge-prompt",
            help="With the placeholders {query}, {positives} and {passage}, each once.",
        )
        if held.text != DEFAULT_PROMPT.text or written != held.text:
            st.button("Use the default prompt", key="judge-prompt-default", on_click=_default)
        if written == held.text:
            return held
        if written == DEFAULT_PROMPT.text:
            return DEFAULT_PROMPT
        try:
            changed = JudgePrompt(OWN, written or "")
        except HnmineError as error:
            failed("Cannot use this prompt", error)
            return None
        st.text(f"Saved as the version {changed.version}.")
        return changed


def _default() -> None:
    st.session_state["judge-prompt"] = DEFAULT_PROMPT.text


def _save(settings: JudgeSettings | None, server: Server, model: str, prompt: JudgePrompt, relevant_from: int) -> None:
    try:
        if settings is None:
            new = JudgeSettings(model=model, server=server, prompt=prompt, relevant_from=relevant_from)
        else:
            new = msgspec.structs.replace(settings, model=model, server=server, prompt=prompt, relevant_from=relevant_from)
        write_judge(resources.workspace().root, new)
    except HnmineError as error:
        failed("The judge is not saved", error)
        return
    st.session_state.pop("judge-prompt", None)  # as it is stored
    st.session_state[_TURN] = st.session_state.get(_TURN, 0) + 1
    st.rerun()
