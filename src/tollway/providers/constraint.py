"""What the answer may look like, as one grammar: from response_format, tools and tool_choice."""

from functools import lru_cache

import msgspec
from msgspec import Struct

from tollway.constrain import alternatives, compile_schema, json_object_grammar, tool_calls_grammar
from tollway.providers.conversation import (
    CALL_CLOSING,
    CALL_MIDDLE,
    CALL_OPENING,
    CALL_OPENING_MARK,
    callable_tools,
    must_call,
)
from tollway.wire.chat import ChatRequest, JsonObjectFormat, JsonSchemaFormat, NamedToolChoice

# A small model that may call in parallel sometimes does not stop; OpenAI's models stay far below this.
PARALLEL_CALLS_MAX = 8


class Constraint(Struct, frozen=True):
    """A grammar for the answer; "" = free text.

    `from_start`: it holds from the first token. Otherwise the answer is free text until `trigger` is generated, and the
    grammar describes what follows, the trigger included.
    """

    grammar: str = ""
    from_start: bool = False
    trigger: str = ""


_FREE = Constraint()
