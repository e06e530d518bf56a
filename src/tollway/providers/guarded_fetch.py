"""Downloads from addresses that callers name, without letting them reach anything that only this machine can reach."""


class GuardedFetcher:
    """Fetches https URLs from public addresses only."""

    async def get(self, url: str, *, param: str) -> bytes:
        """The body behind the URL. Raises InvalidRequest naming `param`."""
        raise NotImplementedError

    async def close(self) -> None: ...
