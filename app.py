"""Entry of the app. `streamlit run app.py` imports it for `app`, what it serves, and runs it as the script of each session.

Start it with `make app`.
"""

from functools import partial
from pathlib import Path

import streamlit as st
from streamlit.starlette import App

from hnmine.core import garbage
from pages.review import exchange
from pages.shared import frame, serve, sign_in, state, tour

if __name__ != "__main__":
    app = App(Path(__file__), middleware=serve.prepared())
else:
    icon = str(Path(__file__).parent / "docs" / "icon.png")
    st.set_page_config(page_title="hnmine", layout="wide")
    sign_in.admit()
    st.set_page_config(page_icon=icon)
    st.logo(icon)
    page = st.navigation(
        [
            st.Page(
                "pages/views/data.py",
                title="Data",
                icon=":material/dataset:",
                help="Load training data and a candidate pool.",
                default=True,
            ),
            st.Page("pages/views/mine.py", title="Mine", icon=":material/filter_alt:", help="Rank passages and select hard negatives."),
            st.Page(
                "pages/views/inspect.py",
                title="Inspect",
                icon=":material/search:",
                help="See each query's negatives and why they were selected.",
            ),
            st.Page("pages/views/review.py", title="Review", icon=":material/rate_review:", help="Decide whether negatives are relevant."),
            st.Page(
                "pages/views/quality.py",
                title="Quality",
                icon=":material/verified:",
                help="Measure the false-negative rate and check the data.",
            ),
            st.Page("pages/views/runs.py", title="Runs", icon=":material/history:", help="Open, name, compare and delete runs."),
            st.Page("pages/views/export.py", title="Export", icon=":material/download:", help="Download the training file."),
        ],
        position="top",
    )
    state.restore(page.url_path)
    frame.bar(page, partial(exchange.draw_leftovers, page.url_path))
    tour.bar(page.url_path)
    page.run()
    garbage.keep()
