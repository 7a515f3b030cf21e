"""Whether a column looks like personal data: by its name, and by what its values are. Points, never proves. Pure."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence

LIKELY, SOME = 0.5, 0.02  # shares of the values that are not empty
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_PHONE = re.compile(r"(?:\+\d{1,3}[ ./-]?|\(0?\d+\)[ ./-]?|0)\d{1,4}(?:[ ./-]?\d{2,4}){2,4}")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"\d(?:[ -]?\d){12,18}")
_SOCIAL = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}")
_NAMES = {
    "e-mail address": "e?mail|email_?address",
    "telephone number": "phone|mobile|cell|fax|tel|telephone|msisdn",
    "name of a person": "(first|last|middle|full|sur|given|family|maiden|customer|user|patient|contact)_?name|surname|forename",
    "postal address": "address|street|zip|zip_?code|postcode|postal_?code|house_?number",
    "date of birth": "birth|dob|birth_?(date|day)|date_?of_?birth",
    "national or tax number": "ssn|social_?security.*|passport.*|national_?id|tax_?id|tin|driver_?licen[cs]e.*",
    "account number": "iban|account_?(number|no)|card_?(number|no)|credit_?card|pan",
    "network address": "ip|ip_?address|client_?ip|remote_?addr|mac_?address",
    "place of a person": "lat|latitude|lon|lng|longitude|geo_?location",
    "special category": "religion|ethnicity|race|sexual_?orientation|diagnosis|disability|health.*|union_?member.*|political.*",
}
_BY_NAME = {kind: re.compile("(?:.*[_.])?(?:{})(?:_\\w+)?".format(words)) for kind, words in _NAMES.items()}


class PersonalColumn(NamedTuple):
    """A column that looks like personal data: as what, by how much of it (None: by its name alone)."""

    column: str
    kind: str
    share: float
    why: str


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip())
    except ValueError:
        return False
    return "." in text or text.count(":") >= 2


def _luhn(text: str) -> bool:
    if _CARD.fullmatch(text.strip()) is None:
        return False
    digits = [int(each) for each in text if each.isdigit()][::-1]
    doubled = (sum(divmod(2 * each, 10)) for each in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _iban(text: str) -> bool:
    plain = text.replace(" ", "").upper()
    if _IBAN.fullmatch(plain) is None:
        return False
    return int("".join(str(int(each, 36)) for each in plain[4:] + plain[:4])) % 97 == 1


_BY_VALUE: Mapping[str, Callable[[str], bool]] = {
    "e-mail address": lambda text: _EMAIL.search(text) is not None,
    "network address": _address,
    "account number": lambda text: _iban(text) or _luhn(text),
    "national or tax number": lambda text: _SOCIAL.fullmatch(text.strip()) is not None,
    "telephone number": lambda text: _PHONE.fullmatch(text.strip()) is not None,
}


def pointed(rows: Sequence[Mapping[str, Any]]) -> List[PersonalColumn]:
    """The columns of the rows that look like personal data, the most certain first; one line for each column and kind."""
    values: Dict[str, List[str]] = {}
    for row in rows:
        for column, value in row.items():
            if value is not None and not isinstance(value, (list, dict)) and str(value).strip():
                values.setdefault(str(column), []).append(str(value))
    found = [each for column in sorted({str(c) for row in rows for c in row}) for each in _column(column, values)]
    return sorted(found, key=lambda each: (-each.share, each.column))


def _column(column: str, values: Mapping[str, Sequence[str]]) -> List[PersonalColumn]:
    held = values.get(column, ())
    found: List[PersonalColumn] = []
    for kind, test in _BY_VALUE.items():
        share = sum(map(test, held)) / len(held) if held else 0.0
        if share >= SOME:
            how = "its values" if share >= LIKELY else "some of its values"
            found.append(PersonalColumn(column, kind, round(share, 4), how))
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|[\s-]+", "_", column).lower()
    told = {each.kind for each in found}
    found += [
        PersonalColumn(column, kind, 0.0, "its name")
        for kind, word in _BY_NAME.items()
        if kind not in told and word.fullmatch(name)
    ]
    return found
