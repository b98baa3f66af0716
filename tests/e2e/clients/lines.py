# SPDX-License-Identifier: Apache-2.0
"""The client's side of lib/native.mjs: requests by standard input, answers by standard output."""
import asyncio
import json
import sys
import traceback

# A request holds no file, but a webhook's body.
LINE_MAX = 1 << 24


async def answer(client, request):
    try:
        argument = request.get("argument")
        method = getattr(client, request["method"])
        if isinstance(argument, dict):
            # `from` is a word of Python's own.
            value = method(**{"from_" if k == "from" else k: v for k, v in argument.items()})
        else:
            value = method(argument)
        if asyncio.iscoroutine(value):
            value = await value
        said = {"answer": request["id"], "value": value}
    except Exception:  # pylint: disable=broad-except
        said = {"answer": request["id"], "error": traceback.format_exc()}
    print(json.dumps(said, default=str), flush=True)


async def serve(client):
    """Has the methods of `client` called as asked for, several at a time, until the input ends."""
    reader = asyncio.StreamReader(limit=LINE_MAX)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    running = set()
    while line := await reader.readline():
        task = asyncio.ensure_future(answer(client, json.loads(line)))
        running.add(task)
        task.add_done_callback(running.discard)
