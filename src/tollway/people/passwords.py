"""Passwords: argon2id, in few threads, because each check takes 64 MiB and some 50 ms on purpose."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import argon2

from tollway.errors import InvalidRequest
from tollway.ids import random_text

T = TypeVar("T")

LENGTH_MIN = 12
LENGTH_MAX = 200
_AT_A_TIME = 2


class Passwords:
    """Hashes and checks. Both cost time and memory; what comes in meanwhile waits."""

    def __init__(self) -> None:
        self._hasher = argon2.PasswordHasher()  # argon2id with the parameters of RFC 9106 for little memory
        self._threads = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="passwords")
        self._nobodys: str | None = None

    async def hash(self, password: str) -> str:
        return await self._run(self._hasher.hash, password)

    async def check(self, hashed: str | None, password: str) -> bool:
        """Whether it is the password. For nobody (None) it takes as long and says no, so that time tells nothing."""
        if hashed is None:
            if self._nobodys is None:
                self._nobodys = await self.hash(random_text(30))
            await self._run(self._matches, self._nobodys, password)
            return False
        return await self._run(self._matches, hashed, password)

    def close(self) -> None:
        self._threads.shutdown()

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _run(self, function: Callable[..., T], *given: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *given)


def checked_password(password: str, email: str) -> str:
    """The password, if it may be one. Raises InvalidRequest. Length is what counts; rules about signs do not."""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        raise InvalidRequest(f"A password has {LENGTH_MIN} to {LENGTH_MAX} characters.", param="password")
    if password.lower() == email.lower() or len(set(password)) < 5:
        raise InvalidRequest("This password is too easy to guess.", param="password")
    return password
