"""A small OpenID Connect provider on this machine: discovery, authorization, token, keys. `claims` is who signs in next."""

from __future__ import annotations

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

SECRET = "0123456789abcdef" * 4


class Provider:
    """An identity provider that lets everybody in without a question."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {"email": "ann@firm.example", "email_verified": True, "name": "Ann"}
        self.key = RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, dict[str, Any]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path, query = urlsplit(self.path).path, {name: each[0] for name, each in parse_qs(urlsplit(self.path).query).items()}
                if path == "/authorize":
                    code = secrets.token_hex(8)
                    provider.codes[code] = {"nonce": query.get("nonce"), "aud": query["client_id"], **provider.claims}
                    self.send_response(302)
                    self.send_header("Location", f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}")
                    self.end_headers()
                elif path == "/keys":
                    self.say({"keys": [provider.key.as_dict(private=False)]})
                else:
                    self.say(provider.discovery())

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                now = int(time.time())
                claims = {"iss": provider.url, "sub": "1", "iat": now, "exp": now + 600, **provider.codes.pop(form["code"][0])}
                token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, provider.key)
                self.say({"access_token": secrets.token_hex(8), "token_type": "Bearer", "expires_in": 600, "id_token": token})

            def say(self, found: dict[str, Any]) -> None:
                body = json.dumps(found).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def secrets_toml(self, port: int, *, allowed: list[str], admins: list[str] | None = None) -> str:
        """Return secrets.toml for a server on a port."""
        return (
            f'[auth]\nredirect_uri = "http://127.0.0.1:{port}/oauth2callback"\ncookie_secret = "{SECRET}"\n'
            f'client_id = "hnmine"\nclient_secret = "not secret"\n'
            f'server_metadata_url = "{self.url}/.well-known/openid-configuration"\n'
            f"[hnmine]\nallowed = {json.dumps(allowed)}\nadmins = {json.dumps(admins or [])}\n"
        )

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def write(path: Path, text: str) -> None:
    """Replace secrets.toml in one step, as an editor does."""
    new = path.with_suffix(".new")
    new.write_text(text, "utf-8")
    new.replace(path)
