"""Servers that come and go while a test runs."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Stoppable(ABC):
    """A server that is there within `async with`, but for the time between `stop` and `start`."""

    async def __aenter__(self) -> Self:
        """Start it."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        await self.stop()

    @abstractmethod
    async def start(self) -> None:
        """Be there; again on the same port after `stop`."""

    @abstractmethod
    async def stop(self) -> None:
        """Be away; whoever is connected is cut off."""
