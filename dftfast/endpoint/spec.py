"""Which model behind which address, what it costs, and where its key comes from."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from dftfast.runtime.errors import UserError

FORM = "NAME=URL,MODEL or NAME=URL,MODEL,PRICE_IN,PRICE_OUT"


def is_url(text: str) -> bool:
    return text.startswith(("http://", "https://"))


def named(option: str, text: str) -> tuple[str, str]:
    """(name, rest) of NAME=REST.

    Raises:
        UserError: the text has another form.
    """
    name, equals, rest = text.partition("=")
    if not equals or not rest or not re.fullmatch(r"[\w.-]+", name):
        raise UserError(
            f"{option}: {text!r} must begin with a name of letters, digits, '.', '-' and an "
            "equals sign"
        )
    return name, rest


@dataclass(frozen=True)
class Endpoint:
    """A model of an OpenAI-compatible API.

    Attributes:
        name: what the user calls it; its key is the environment variable NAME_API_KEY.
        url: base URL, such as https://api.openai.com/v1.
        prices: US dollars for a million tokens of input and of output; None where not given.
    """

    name: str
    url: str
    model: str
    prices: tuple[float, float] | None = None

    @classmethod
    def parse(cls, option: str, text: str) -> Endpoint:
        """From NAME=URL,MODEL[,PRICE_IN,PRICE_OUT].

        Raises:
            UserError: the text has another form; it names the option.
        """
        name, rest = named(option, text)
        url, *parts = (part.strip() for part in rest.split(","))
        if not is_url(url) or len(parts) not in (1, 3) or not parts[0]:
            raise UserError(
                f"{option}: {text!r} must have the form {FORM} (prices in US dollars for a "
                "million tokens)"
            )
        try:
            address = urlsplit(url)
            _ = address.port  # raises for one that is no number
            prices = (float(parts[1]), float(parts[2])) if len(parts) == 3 else None
        except ValueError as error:
            raise UserError(f"{option}: {text!r}: {error}") from None
        if not address.hostname or address.username or address.password:
            raise UserError(
                f"{option}: the URL must name a host and hold no user or password; keys come from "
                "the environment"
            )
        if prices and not all(math.isfinite(p) and p >= 0 for p in prices):
            raise UserError(f"{option}: prices must be 0 or more, not {', '.join(parts[1:])}")
        return cls(name, url.rstrip("/"), parts[0], prices)

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def key_variable(self) -> str:
        return re.sub(r"\W", "_", self.name).upper() + "_API_KEY"

    def key(self) -> str | None:
        """NAME_API_KEY of the environment; at api.openai.com also OPENAI_API_KEY.

        The latter is sent to no other host.
        """
        key = os.environ.get(self.key_variable, "").strip()
        if not key and urlsplit(self.url).hostname == "api.openai.com":
            key = os.environ.get("OPENAI_API_KEY", "").strip()
        return key or None

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """In US dollars; 0 without prices."""
        into, out = self.prices or (0.0, 0.0)
        return (prompt_tokens * into + completion_tokens * out) / 1e6
