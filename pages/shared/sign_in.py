"""What a person sees of sign-in: the page before it, the page of somebody without access, and the menu with Sign out."""

from __future__ import annotations

import logging
from functools import partial

import streamlit as st

from hnmine.core.errors import HnmineError
from hnmine.core.text import visible
from pages.shared import access, gate
from pages.shared.printable import literal

_log = logging.getLogger(__name__)


def admit() -> None:
    """Go on only for a person who is let in, or without sign-in; else draw why, and end the script."""
    try:
        rules = access.rules()
        signed_in = not rules.required or bool(st.user.is_logged_in)
        allowed = not rules.required or access.is_allowed(st.user.to_dict())
    except HnmineError as error:
        _log.error("Nobody is let in: %s", error)
        st.error("The sign-in of this server is not complete. Its log says what is missing.", icon=":material/error:")
        st.stop()
    if allowed:
        if gate.open_to_network():
            st.warning("This server has no sign-in: everybody who reaches it can see and change everything.", icon=":material/public:")
        return
    with st.container(horizontal_alignment="center", key="sign-in"):
        st.title("hnmine", anchor=False, width="content")
        if not signed_in:
            for provider in rules.providers:
                label = f"Sign in with {provider}" if len(rules.providers) > 1 else "Sign in"
                st.button(label, type="primary", icon=":material/login:", on_click=partial(st.login, provider), key=f"sign-in-{provider}")
        else:
            st.text("You have no access to this server.", width="content")
            st.text(f"You are signed in as {visible(str(st.user.get('email') or 'a person without an e-mail address'))}.", width="content")
            st.button("Sign out", icon=":material/logout:", on_click=st.logout, key="sign-out")
    st.stop()


def menu() -> None:
    """Draw who is signed in, with Sign out; nothing without sign-in."""
    if who := access.person():
        with st.popover(f":material/person: {literal(visible(who))}", type="tertiary", key="person"):
            st.text("An admin of this server, who may delete." if access.may_delete() else "You may mine and review. An admin may delete.")
            st.button("Sign out", icon=":material/logout:", on_click=st.logout, key="sign-out")
