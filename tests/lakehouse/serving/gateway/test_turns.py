from __future__ import annotations

import asyncio

import pytest

from lakehouse.errors import QuotaError
from lakehouse.serving.gateway.turns import Turns


def test_each_tenant_has_turns_of_its_own() -> None:
    order: list[str] = []

    async def query(turns: Turns, tenant: str, name: str, gate: asyncio.Event) -> None:
        async with turns.turn(tenant):
            order.append(name)
            await gate.wait()

    async def run() -> None:
        turns, gate = Turns(at_once=2, waiting=2), asyncio.Event()
        heavy = [asyncio.create_task(query(turns, "united", f"u{n}", gate)) for n in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(QuotaError, match="2 queries of united wait already"):
            await query(turns, "united", "u4", gate)
        other = asyncio.create_task(query(turns, "delta", "d0", gate))
        await asyncio.sleep(0.01)
        assert order == ["u0", "u1", "d0"]
        heavy[2].cancel()  # one that waits leaves its place
        await asyncio.sleep(0)
        last = asyncio.create_task(query(turns, "united", "u5", gate))
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*heavy, other, last, return_exceptions=True)
        assert order == ["u0", "u1", "d0", "u3", "u5"]
        assert turns._asked == turns._turns == {}

    asyncio.run(run())
