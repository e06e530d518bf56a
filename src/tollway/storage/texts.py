"""Which text may be stored, and asked for."""

import unicodedata


def is_storable(text: str) -> bool:
    """Whether a query may carry the text: every other one would be a name that nothing has."""
    # what moves a terminal's cursor or breaks a line, and half characters that no encoding can store
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in text)
