"""Start the server: `python -m pages.shared.serve`, followed by options of `streamlit run`.

Like `streamlit run app.py`, with one difference: until app.py has run once, Streamlit takes any folder named `pages` for a
multi-page app of the old kind, and a screen's address shows "Page not found" above the screen. This start prevents that.
"""

from __future__ import annotations

import sys
from pathlib import Path

from streamlit.runtime.pages_manager import PagesManager
from streamlit.web import cli

from pages.shared import sessions, uploads

if __name__ == "__main__":
    PagesManager.uses_pages_directory = False
    uploads.on_disk()
    sessions.end_in_time()
    cli.main(["run", str(Path(__file__).parents[2] / "app.py"), *sys.argv[1:]])
