"""Who may make pictures now: a few at a time. Whoever waits holds no thread, and doesn't wait for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from medfake_pacs.console.errors import BusyError

_RETRY_AFTER_S = 5


@dataclass(slots=True)
class _Account:
    """One account's own turns, and how many of its requests have one or wait."""

    turns: asyncio.Semaphore
    requests: int = 0


class Turns:
    """Turns for ``at_a_time`` requests; for use in one event loop.

    An account never has more of them in the queue of all than there are turns, so that it doesn't keep others
    waiting for whatever it wants.
    """

    def __init__(
        self, at_a_time: int, *, wait_s: float = 60.0, most_of_account: int = 64, most_of_all: int = 256
    ) -> None:
        self._at_a_time = at_a_time
        self._wait_s = wait_s
        self._most_of_account = most_of_account
        self._most_of_all = most_of_all
        self._turns = asyncio.Semaphore(at_a_time)
        self._accounts: dict[int, _Account] = {}

    @asynccontextmanager
    async def taken(self, account_id: int) -> AsyncIterator[None]:
        """Wait for a turn and hold it.

        Raises
        ------
        BusyError
            If too many wait already, or it takes too long.
        """
        mine = self._accounts.setdefault(account_id, _Account(turns=asyncio.Semaphore(self._at_a_time)))
        if mine.requests >= self._most_of_account or self._all() >= self._most_of_all:
            raise BusyError(_RETRY_AFTER_S)
        mine.requests += 1
        try:
            async with AsyncExitStack() as held:
                try:
                    async with asyncio.timeout(self._wait_s):
                        await held.enter_async_context(mine.turns)
                        await held.enter_async_context(self._turns)
                except TimeoutError as error:
                    raise BusyError(_RETRY_AFTER_S) from error
                yield
        finally:
            mine.requests -= 1
            if not mine.requests:
                self._accounts.pop(account_id, None)

    def _all(self) -> int:
        return sum(account.requests for account in self._accounts.values())
