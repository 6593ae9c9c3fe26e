"""Who may ask: a cookie that the page's visitor has, and a token that only the page can read.

Both are signed with a secret that lies beside the drafts, so that a page that was open goes on when
the server is started again. Neither is stored.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

_KEY = "session.key"


class Sessions:
    """Cookies and tokens.

    Args:
        folder: where the secret is kept, readable by its owner alone.
        password: what must be given before a cookie is; None asks for none. A changed password ends
            the sessions that the old one began.
    """

    def __init__(self, folder: Path, password: str | None = None):
        secret = _secret(folder / _KEY)
        self._password = None if password is None else password.encode()
        self._secret = hashlib.sha256(secret + b"\0" + (self._password or b"")).digest()
        # cookies are shared by all ports of a host
        self.cookie = f"dftfast-write-{hashlib.sha256(secret).hexdigest()[:8]}"

    @property
    def asks_password(self) -> bool:
        return self._password is not None

    def admits(self, password: str) -> bool:
        given = password.encode("utf-8", "surrogatepass")
        return self._password is None or hmac.compare_digest(given, self._password)

    def begin(self) -> str:
        """A new cookie's value."""
        name = secrets.token_hex(16)
        return f"{name}.{self._signed('session', name)}"

    def valid(self, cookie: str | None) -> bool:
        name, _, signature = (cookie or "").partition(".")
        known = re.fullmatch("[0-9a-f]{32}", name) and re.fullmatch("[0-9a-f]{64}", signature)
        return bool(known) and hmac.compare_digest(signature, self._signed("session", name))

    def token(self, cookie: str) -> str:
        """What the page that this cookie came with sends along with every request."""
        return self._signed("page", cookie.partition(".")[0])

    def holds(self, cookie: str | None, token: str | None) -> bool:
        """Whether the request is of a page that this server gave out."""
        if cookie is None or token is None or not self.valid(cookie) or not token.isascii():
            return False
        return hmac.compare_digest(token, self.token(cookie))

    def _signed(self, kind: str, name: str) -> str:
        return hmac.new(self._secret, f"{kind}:{name}".encode(), hashlib.sha256).hexdigest()


def _secret(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()
