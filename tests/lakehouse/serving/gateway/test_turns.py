from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from lakehouse.errors import QuotaError
from lakehouse.serving.gateway.turns import Turns


class Desk:
    """Queries that run until they are let go, and the order in which they began."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}

    def ask(self, name: str) -> asyncio.Task[None]:
        """Ask a query of the tenant that its name begins with."""

        async def query() -> None:
            self.gates[name] = asyncio.Event()
            async with self.turns.turn(name[0]):
                self.order.append(name)
                await self.gates[name].wait()

        return asyncio.create_task(query())

    async def let_go(self, *names: str) -> None:
        for name in names:
            self.gates[name].set()
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def at_a_desk(slots: int, at_once: int, waiting: int) -> Callable[[Callable[[Desk], Coroutine[Any, Any, None]]], None]:
    async def run(work: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
        desk = Desk(Turns(slots, at_once, waiting))
        await work(desk)
        assert not desk.turns._running
        assert not desk.turns._queues

    return lambda work: asyncio.run(run(work))


def test_tenants_take_turns() -> None:
    async def work(desk: Desk) -> None:
        tasks = [desk.ask(name) for name in ("a0", "a1", "a2", "a3", "b0", "b1", "c0")]
        await settle()
        assert desk.order == ["a0", "a1"]
        await desk.let_go("a0")
        await desk.let_go("a1")
        await desk.let_go("a2", "b0", "c0", "a3", "b1")
        await asyncio.gather(*tasks)
        assert desk.order == ["a0", "a1", "a2", "b0", "c0", "a3", "b1"]

    at_a_desk(slots=2, at_once=2, waiting=9)(work)


def test_a_tenant_leaves_slots_to_others() -> None:
    async def work(desk: Desk) -> None:
        tasks = [desk.ask(name) for name in ("a0", "a1", "a2", "b0")]
        await settle()
        assert desk.order == ["a0", "a1", "b0"]
        await desk.let_go("b0", "a0", "a1", "a2")
        await asyncio.gather(*tasks)

    at_a_desk(slots=3, at_once=2, waiting=9)(work)


def test_more_than_may_wait_are_refused() -> None:
    async def work(desk: Desk) -> None:
        tasks = [desk.ask(name) for name in ("a0", "a1")]
        await settle()
        with pytest.raises(QuotaError, match="1 queries of a wait already"):
            await desk.ask("a2")
        other = desk.ask("b0")
        await settle()
        assert desk.order == ["a0", "b0"]
        await desk.let_go("a0", "b0", "a1")
        await asyncio.gather(*tasks, other)

    at_a_desk(slots=2, at_once=1, waiting=1)(work)


def test_one_that_leaves_holds_nobody_up() -> None:
    async def work(desk: Desk) -> None:
        first, second, third = desk.ask("a0"), desk.ask("a1"), desk.ask("a2")
        await settle()
        second.cancel()  # as it waits
        await settle()
        desk.gates["a0"].set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        third.cancel()  # as its turn comes, or just after
        await settle()
        last = desk.ask("a3")
        await settle()
        await desk.let_go("a3")
        await asyncio.gather(first, last)
        assert desk.order[0] == "a0"
        assert desk.order[-1] == "a3"

    at_a_desk(slots=1, at_once=1, waiting=9)(work)


def test_a_query_that_fails_gives_its_turn_back() -> None:
    async def work(desk: Desk) -> None:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                async with desk.turns.turn("a"):
                    raise ZeroDivisionError

    at_a_desk(slots=1, at_once=1, waiting=0)(work)
