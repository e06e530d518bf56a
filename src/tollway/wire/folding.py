"""From the chunks of a stream to one completion."""

from msgspec import UNSET, structs

from tollway import ids
from tollway.errors import InternalError
from tollway.wire.chat import (
    AnswerMessage,
    AnswerToolCall,
    Choice,
    ChunkChoice,
    Delta,
    FinishReason,
    FunctionCall,
    FunctionCallDelta,
    Logprobs,
    TokenLogprob,
    ToolCallDelta,
)


class Fold:
    """The chunks of one choice, added up."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: list[ToolCallDelta] = []
        self._arguments: list[list[str]] = []
        self._function: list[str] = []
        self._function_arguments: list[str] = []
        self._logprobs: list[TokenLogprob] = []
        self._refusal_logprobs: list[TokenLogprob] = []
        self._finish_reason: FinishReason | None = None

    def add(self, chunk: ChunkChoice) -> None:
        delta = chunk.delta
        if delta.content:
            self._content.append(delta.content)
        if delta.reasoning_content:
            self._reasoning.append(delta.reasoning_content)
        if delta.refusal:
            self._refusal.append(delta.refusal)
        for call in delta.tool_calls or ():
            if call.index == len(self._calls):
                self._calls.append(call)
                self._arguments.append([])
            if call.function:
                self._arguments[call.index].append(call.function.arguments or "")
        if delta.function_call:
            self._function.append(delta.function_call.name or "")
            self._function_arguments.append(delta.function_call.arguments or "")
        if chunk.logprobs:
            self._logprobs += chunk.logprobs.content or ()
            self._refusal_logprobs += chunk.logprobs.refusal or ()
        self._finish_reason = chunk.finish_reason or self._finish_reason

    def choice(self, index: int) -> Choice:
        """The whole answer. Raises InternalError for chunks without a finish_reason."""
        if self._finish_reason is None:
            raise InternalError("The provider left a choice unfinished.")
        calls = [
            AnswerToolCall(
                id=call.id or ids.tool_call_id(),
                function=FunctionCall(name=(call.function.name or "") if call.function else "", arguments="".join(arguments)),
                extra_content=call.extra_content,
            )
            for call, arguments in zip(self._calls, self._arguments, strict=True)
        ]
        function = FunctionCall("".join(self._function), "".join(self._function_arguments)) if self._function else UNSET
        content = "".join(self._content)
        message = AnswerMessage(
            content=None if not content and (calls or function) else content,
            reasoning_content="".join(self._reasoning) or UNSET,
            refusal="".join(self._refusal) or None,
            tool_calls=calls or None,
            function_call=function,
        )
        logprobs = None
        if self._logprobs or self._refusal_logprobs:
            logprobs = Logprobs(self._logprobs, self._refusal_logprobs or None)
        return Choice(index=index, message=message, finish_reason=self._finish_reason, logprobs=logprobs)


def in_legacy_shape(choice: ChunkChoice) -> ChunkChoice:
    """For callers that sent `functions`: the one call as `function_call`."""
    if choice.finish_reason == "tool_calls":
        return structs.replace(choice, finish_reason="function_call")
    if choice.delta.tool_calls:
        pieces = [call.function for call in choice.delta.tool_calls if call.function]
        name = next((piece.name for piece in pieces if piece.name), UNSET)
        arguments = "".join(piece.arguments or "" for piece in pieces)
        return structs.replace(choice, delta=Delta(function_call=FunctionCallDelta(name=name, arguments=arguments)))
    return choice
