"""A FastAPI program that sends tasks without blocking its event loop, and tells how they go."""

import asyncio
import os

from fastapi import FastAPI, HTTPException

from longshore import Longshore

tasks = Longshore("shop", task_default_queue="orders")


@tasks.task(name="shop.ship")
def ship(order):
    """Ship an order."""
    return f"{order} is on its way"


api = FastAPI()


@api.post("/orders/{order}", status_code=202)
async def buy(order: str):
    """Take an order; the broker has it when this answers."""
    sent = await ship.adelay(order)
    return {"id": sent.id}


@api.get("/orders/{task_id}")
async def look(task_id: str, wait: float = 0):
    """Tell what became of it, after `wait` seconds at most."""
    result = tasks.AsyncResult(task_id)
    try:
        return {"state": "SUCCESS", "result": await asyncio.wait_for(result, wait)}
    except TimeoutError:
        return {"state": "PENDING"}
    except Exception as error:
        raise HTTPException(500, f"the order failed: {error}") from error


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(api, host=os.environ.get("HOST", "127.0.0.1"), port=8000)
