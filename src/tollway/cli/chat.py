"""`tollway chat`: talk to a running Tollway in the terminal."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tollway.cli.house import on_accounts
from tollway.cli.terminal import err, fail, settings_in_force

if TYPE_CHECKING:
    import aiohttp

    from tollway.accounts import Accounts, NewKey

_KEY_VARIABLE = "TOLLWAY_API_KEY"
_KEY_SECONDS = 24 * 3600
_CONNECT_SECONDS = 10


def chat(
    prompt: Annotated[str | None, typer.Argument(help="What to say; left out: a conversation, until Ctrl-D.")] = None,
    model: Annotated[str, typer.Option(help="The model that answers.")] = "google/gemini-2.5-flash-lite-preview",
    system: Annotated[str | None, typer.Option(help="Instructions for the model.")] = None,
    url: Annotated[str | None, typer.Option(help="Base URL; default: the service on this machine.")] = None,
    key: Annotated[str | None, typer.Option(envvar=_KEY_VARIABLE, help="API key; default: one made for this chat.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy; higher is more random.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer in tokens; default: the model's own.")] = None,
) -> None:
    """Talk to a model; the answer streams into the terminal.

    Examples: `tollway chat "Why is the sky blue?"`, `echo "Translate: good morning" | tollway chat -`, `tollway chat`
    """
    if prompt in (None, "-") and sys.stdin is None:
        fail("The standard input is closed: there is nobody to read from.", 2)
    if prompt == "-":
        prompt = sys.stdin.read()
    fields: dict[str, Any] = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    fields |= {name: value for name, value in (("temperature", temperature), ("max_tokens", max_tokens)) if value is not None}
    messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
    try:
        with _address(url, key) as (base_url, bearer):
            _talk(prompt, messages, fields, base_url, bearer)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _talk(prompt: str | None, messages: list[dict[str, str]], fields: dict[str, Any], base_url: str, bearer: str) -> None:
    while True:
        text = prompt if prompt is not None else _read_line()
        if text is None:
            return
        messages.append({"role": "user", "content": text})
        said = asyncio.run(_answer({**fields, "messages": messages}, base_url, bearer))
        messages.append({"role": "assistant", "content": said})
        if prompt is not None:
            return


async def _answer(body: dict[str, Any], base_url: str, bearer: str) -> str:
    """Prints the answer as it comes, and returns it."""
    import aiohttp  # 130 ms of processor time, which no other command should spend

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)  # an answer may take as long as it takes
    headers = {"Authorization": f"Bearer {bearer}"}
    async with aiohttp.ClientSession(read_bufsize=2**20, timeout=timeout, headers=headers) as session:
        try:
            async with session.post(f"{base_url}/chat/completions", json=body) as response:
                if response.status != 200:
                    fail(_refusal(await response.read(), response.status, base_url))
                return await _print_stream(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            fail(f"Nothing answers at {base_url}. `tollway serve` starts the service.")
        except (aiohttp.ClientError, ValueError) as error:
            fail(f"The answer broke off: {error}")


def _read_line() -> str | None:
    """The next thing to say; None at the end of input. Outside of an event loop, in which Ctrl-C would not end the waiting."""
    while True:
        err.print("[bold cyan]you>[/bold cyan] ", end="")
        try:
            line = input().strip()
        except EOFError:
            err.print()
            return None
        if line:
            return line


def _refusal(body: bytes, status: int, base_url: str) -> str:
    """What the service says why it does not answer."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{base_url} answers {status}, and not as this API would. Is it the base URL? It ends with /v1."


async def _print_stream(response: "aiohttp.ClientResponse") -> str:
    """Prints the answer as it comes, what it took on stderr, and returns it."""
    said = ""
    async for line in response.content:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if "error" in event:
            print()
            fail(event["error"]["message"])
        for choice in event["choices"]:
            piece = choice["delta"].get("content") or ""
            # Reasoning is shown to people, but it is no part of the answer.
            if thought := choice["delta"].get("reasoning_content"):
                err.print(thought, end="", style="dim", markup=False)
            print(piece, end="", flush=True)
            said += piece
        if event.get("usage"):
            print()
            facts = [event["model"], f"{event['usage']['completion_tokens']} tokens"]
            if "meta" in event:  # another OpenAI-compatible service tells no credits
                facts.append(f"{event['meta']['usage']['credits_used']} credits")
            err.print(", ".join(facts), style="dim", markup=False)
    return said


@contextmanager
def _address(url: str | None, key: str | None) -> Iterator[tuple[str, str]]:
    """Base URL and key. Without a key, one is made in this machine's database, and deleted afterwards."""
    settings = settings_in_force()
    base_url = (url or f"{settings.local_address}/v1").rstrip("/")
    if key:
        yield base_url, key
        return
    if url or (isinstance(settings.database, Path) and not settings.database.exists()):
        fail(f"An API key is needed: --key, or {_KEY_VARIABLE} in the environment. `tollway keys create` makes one.", 2)
    made = on_accounts(None, _make_key)
    try:
        yield base_url, made.secret
    finally:
        on_accounts(None, lambda accounts: accounts.delete_key(made.record.id))


async def _make_key(accounts: "Accounts") -> "NewKey":
    from tollway import clock
    from tollway.accounts import KeyChanges
    from tollway.ids import random_text
    from tollway.usage import CHAT

    owner = await accounts.first_account()
    name = f"{CHAT} {random_text(6)}"
    return await accounts.create_key(owner.id, name, KeyChanges(expires_at=clock.now() + _KEY_SECONDS))
