"""The example in docs/examples/fastapi: sends and waits without blocking the event loop."""

from __future__ import annotations

import asyncio
import importlib.util

import httpx
import pytest

from longshore.contrib.testing import start_worker
from tests.support.workers import ROOT


@pytest.fixture
def example(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/tasks.db"
    monkeypatch.setenv("LONGSHORE_BROKER_URL", url)
    monkeypatch.setenv("LONGSHORE_RESULT_BACKEND", url)
    spec = importlib.util.spec_from_file_location("shop_api", ROOT / "docs/examples/fastapi/shop_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module.tasks.close()


@pytest.mark.parity("C2")
async def test_orders_are_sent_side_by_side_and_their_results_awaited(example):
    transport = httpx.ASGITransport(example.api)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        answers = await asyncio.gather(*(client.post(f"/orders/tea-{number}") for number in range(10)))
        assert {answer.status_code for answer in answers} == {202}
        ids = [answer.json()["id"] for answer in answers]
        assert (await client.get(f"/orders/{ids[0]}")).json() == {"state": "PENDING"}
        with start_worker(example.tasks):
            looks = await asyncio.gather(*(client.get(f"/orders/{task_id}", params={"wait": 20}) for task_id in ids))
        assert [look.json()["result"] for look in looks] == [f"tea-{number} is on its way" for number in range(10)]
