"""Lets pods reach a server of this machine: listens on the node's network, and goes on by a socket in the file system.

usage: relay.py ADDRESS PORT SOCKET
"""

import asyncio
import sys


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def relay(reader, writer):
    try:
        there_reader, there_writer = await asyncio.open_unix_connection(sys.argv[3])
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))


async def main():
    server = await asyncio.start_server(relay, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()


asyncio.run(main())
