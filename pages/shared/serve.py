"""Start the server: `python -m pages.shared.serve`, with the options of `streamlit run` behind it.

The same as `streamlit run app.py`, but for one thing. Until app.py has run once, Streamlit takes any folder named
`pages` for its older kind of multi-page app; whoever opens the address of a screen on a server that has just started (a
tab left open over a restart) then gets the right screen under a "Page not found" message. Saying beforehand that the
folder is not that kind prevents it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from streamlit.runtime.pages_manager import PagesManager
from streamlit.web import cli

if __name__ == "__main__":
    PagesManager.uses_pages_directory = False
    cli.main(["run", str(Path(__file__).parents[2] / "app.py"), *sys.argv[1:]])
