# SPDX-License-Identifier: MIT
"""One check with python3-websockets. Usage: python_client.py CHECK ADDRESS; prints ok."""
import asyncio
import sys

import websockets


def connect(address, **options):
    options.setdefault("max_size", 2**21)
    if address.startswith("unix:"):
        return websockets.unix_connect(address[5:], "ws://localhost/", **options)
    return websockets.connect(address, **options)


async def echo(address):
    async with connect(address) as ws:
        for size in (0, 1, 125, 126, 65535, 65536, 2**20):
            for message in ("t" * size, bytes([i * 7 % 256 for i in range(251)]) * (size // 251)):
                await ws.send(message)
                assert await ws.recv() == message, size
        await ws.send(["in ", "", "three ", "frägments"])
        assert await ws.recv() == "in three frägments"
        await ws.send([b"\xff"] * 1000)
        assert await ws.recv() == b"\xff" * 1000
        await asyncio.wait_for(await ws.ping(b"p" * 125), 10)


async def close(address):
    async with connect(address) as ws:
        pass
    assert ws.close_code == 1000, ws.close_code
    ws = await connect(address)
    await ws.close(4321, "bye")
    assert (ws.close_code, ws.close_reason) == (4321, "bye"), (ws.close_code, ws.close_reason)


async def refused(address, **options):
    try:
        async with connect(address, **options):
            return 101
    except websockets.InvalidStatusCode as error:
        return error.status_code


async def refusals(address):
    assert await refused(address, origin="https://elsewhere.example") == 403
    assert await refused(address, extra_headers={"Sec-WebSocket-Version": "12"}) in (400, 426)
    assert await refused(address) == 101


async def room(address):
    members = await asyncio.gather(*(connect(address) for _ in range(100)))
    await asyncio.gather(*(ws.send(str(i)) for i, ws in enumerate(members)))
    for ws in members:
        heard = [await asyncio.wait_for(ws.recv(), 30) for _ in members]
        assert sorted(map(int, heard)) == list(range(100)), heard
    await asyncio.gather(*(ws.close() for ws in members))


CHECKS = {"echo": echo, "close": close, "refusals": refusals, "room": room}
asyncio.run(CHECKS[sys.argv[1]](sys.argv[2]))
print("ok")
