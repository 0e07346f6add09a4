"""What a person sees and what is logged when the identity provider fails. Streamlit answers two words and logs a long traceback."""

from __future__ import annotations

import html
import logging

from starlette.types import Message, Send
from streamlit import config
from streamlit.url_util import make_url_path

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>hnmine</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 sans-serif; max-width: 30rem; margin: 20vh auto 0; padding: 0 1rem }}
</style>
<h1>hnmine</h1>
<p>The identity provider cannot be reached. Try again later.</p>
<p><a href="{home}">Back to the start page</a></p>
</html>
"""


def explained(send: Send) -> Send:
    """Return a sender that replaces an answer with status 400 or higher by a page with the reason and a way back."""
    failed = False

    async def explaining(message: Message) -> None:
        nonlocal failed
        if message["type"] == "http.response.start" and message["status"] >= 400:
            failed = True
            home = html.escape(make_url_path(config.get_option("server.baseUrlPath"), "/"))
            await send(message | {"headers": [(b"content-type", b"text/html; charset=utf-8")]})
            await send({"type": "http.response.body", "body": PAGE.format(home=home).encode()})
        elif not failed:
            await send(message)

    return explaining


def log_in_one_line() -> None:
    """Have failures at the provider logged with their cause in one line."""
    logging.getLogger("streamlit.web.server.starlette.starlette_auth_routes").addFilter(_in_one_line)


def _in_one_line(record: logging.LogRecord) -> bool:
    if record.exc_info and (error := record.exc_info[1]):
        record.msg, record.args = "%s %s: %s", (record.getMessage(), type(error).__name__, " ".join(str(error).split()))
        record.exc_info = record.exc_text = None
    return True
