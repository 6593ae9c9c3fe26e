"""Addresses and numbers of people, replaced by what they are."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable

_MAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_IP = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[\da-f]{0,4}(?::[\da-f]{0,4}){3,7})(?![\w.:])"
)


class Mask:
    """Replaces e-mail addresses, IBANs, card numbers, IP addresses and phone numbers.

    Phone numbers are those that Google's libphonenumber holds for possible ones, IBANs and cards
    those whose check digits are right (python-stdnum).

    Args:
        region: country of numbers without a country's code (ISO 3166).

    Attributes:
        counts: how many of each kind were replaced.
    """

    def __init__(self, region: str):
        self.region, self.counts = region, Counter[str]()
        import phonenumbers
        from stdnum import iban, luhn

        self._phones, self._iban, self._luhn = phonenumbers, iban, luhn

    def row(self, row: dict, fields: tuple[str, ...]) -> dict:
        """The row with these fields masked: strings, or lists of strings."""
        masked = {}
        for name in fields:
            value = row.get(name)
            if isinstance(value, str):
                masked[name] = self.text(value)
            elif isinstance(value, list):
                masked[name] = [self.text(item) for item in value]
        return row | masked

    def text(self, text: str) -> str:
        text = self._replace(_MAIL, "e-mail", text, lambda found: True)
        text = self._replace(_IBAN, "IBAN", text, lambda found: self._iban.is_valid(found))
        text = self._replace(_CARD, "card number", text, self._is_card)
        text = self._replace(_IP, "IP address", text, _is_address)
        return self._without_phones(text)

    def _replace(self, pattern: re.Pattern, kind: str, text: str, valid: Callable) -> str:
        def mask(match: re.Match) -> str:
            if not valid(match.group()):
                return match.group()
            self.counts[kind] += 1
            return f"[{kind}]"

        return pattern.sub(mask, text)

    def _is_card(self, number: str) -> bool:
        return self._luhn.is_valid(re.sub(r"\D", "", number))

    def _without_phones(self, text: str) -> str:
        if sum(map(str.isdigit, text)) < 7:
            return text
        leniency = self._phones.Leniency.VALID
        pieces, end = [], 0
        for match in self._phones.PhoneNumberMatcher(text, self.region, leniency=leniency):
            pieces += [text[end : match.start], "[phone]"]
            end = match.end
            self.counts["phone"] += 1
        return "".join([*pieces, text[end:]])


def _is_address(found: str) -> bool:
    try:
        ipaddress.ip_address(found)
    except ValueError:
        return False
    return True
