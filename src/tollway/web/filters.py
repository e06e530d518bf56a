"""What the forms above a list say: strict like the API's parameters, but a field that was left empty is not there."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from tollway.accounts.checks import refuse_control_characters
from tollway.api.query import CURSOR, Query
from tollway.api.table import Parameter
from tollway.errors import InvalidRequest
from tollway.storage.texts import is_storable
from tollway.usage.recording import DAY_SECONDS
from tollway.web.frame import Visit


def typed(visit: Visit, names: Sequence[str]) -> dict[str, str]:
    """What stands in the form above a list, right or wrong: it is shown again beside what is wrong with it."""
    texts = {name: visit.request.query_params.get(name, "").strip()[:200] for name in names}
    return {name: text for name, text in texts.items() if text and is_storable(text)}


class Filters:
    """The query string of a page with a list. Raises InvalidRequest naming the field."""

    def __init__(self, visit: Visit, *names: str) -> None:
        parameters = (*(Parameter(name, "", schema={}) for name in names), CURSOR)
        self._query = Query(visit.request, parameters, form=True)
        self._names = names

    def text(self, name: str) -> str:
        """As it was typed, or nothing."""
        text = (self._query.text(name) or "").strip()[:200]
        refuse_control_characters(text, name)
        return text

    def one_of(self, name: str, options: Any) -> Any:
        """One of the values of a Literal type; None = nothing was chosen."""
        return self._query.one_of(name, options)

    def cursor(self) -> tuple[float, int] | None:
        """Where the page before ended: (time, number) of its last row; None = the newest rows."""
        return self._query.cursor()

    def times(self) -> tuple[float | None, float | None]:
        """`from` and `to`, in UTC; a day is meant as a whole, the last one too."""
        start, end = self._query.moment("from"), self._query.moment("to")
        if end is not None and re.fullmatch(r"\d{4}-\d{2}-\d{2}", self.text("to")):
            end += DAY_SECONDS
        if start is not None and end is not None and end <= start:
            raise InvalidRequest("The last day is before the first one.", param="to")
        return start, end

    @property
    def given(self) -> dict[str, str]:
        """What is filtered by; empty = nothing."""
        return {name: self.text(name) for name in self._names if self.text(name)}

    def link(self, **more: str) -> str:
        """A query string with these filters."""
        return "?" + urlencode(self.given | more)
