# SPDX-License-Identifier: MIT
"""Debian's python3-websockets as a peer of the benchmark: websockets_server.py PORT echo|chat."""

import asyncio
import logging
import resource
import sys

import websockets

CLIENTS = set()


async def echo(socket, _path=None):
    async for message in socket:
        await socket.send(message)


async def room(socket, _path=None):
    CLIENTS.add(socket)
    try:
        async for message in socket:
            websockets.broadcast(CLIENTS, message)
    finally:
        CLIENTS.remove(socket)


async def main(port, mode):
    handler = echo if mode == "echo" else room
    options = {"compression": None, "max_size": 16 << 20, "backlog": 4096}
    async with websockets.serve(handler, "127.0.0.1", port, **options):
        await asyncio.Future()


if __name__ == "__main__":
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # a reset is no news here
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
