# SPDX-License-Identifier: Apache-2.0
"""Redis for black-box tests: a stand-in that knows as little as the one of the original's tests (authorization-service 2.4),
and the real server where it is installed. Both keep the hash lk-jwt:jobs."""
import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
import time

HASH = "lk-jwt:jobs"


class FakeRedis:
    """RESP2 only: PING, HSET, HDEL, HGETALL; HELLO and every other command get an error. Records what it was asked."""

    def __init__(self, loop, port=0):
        self.loop = loop
        self.commands = []  # (time, [words])
        self.hash = {}
        self.refuse = None  # error text for writes
        self.stall = False  # answers nothing
        self.writers = set()
        self.port = port
        self.server = None
        self.up()

    def up(self):
        self.server = self.loop.run(asyncio.start_server(self.serve, "127.0.0.1", self.port))
        self.port = self.server.sockets[0].getsockname()[1]

    def down(self):
        async def stop():
            self.server.close()
            for writer in list(self.writers):
                writer.transport.abort()
        self.loop.run(stop())

    close = down

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def asked(self, name):
        return [words for _, words in self.commands if words[0].upper() == name]

    def jobs(self):
        """{(room, identity): value} as they stand in the hash."""
        return {tuple(json.loads(k)): json.loads(v) for k, v in self.hash.items() if k.startswith("[")}

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while True:
                words = await self.read(reader)
                self.commands.append((time.monotonic(), words))
                if self.stall:
                    await asyncio.sleep(3600)
                writer.write(self.answer(words))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def read(self, reader):
        count = int((await reader.readuntil(b"\r\n"))[1:])
        words = []
        for _ in range(count):
            size = int((await reader.readuntil(b"\r\n"))[1:])
            words.append((await reader.readexactly(size + 2))[:-2].decode())
        return words

    def answer(self, words):
        name = words[0].upper()
        if self.refuse and name in ("HSET", "HDEL"):
            return f"-{self.refuse}\r\n".encode()
        if name == "PING":
            return b"+PONG\r\n"
        if name == "HSET" and words[1] == HASH:
            new = sum(k not in self.hash for k in words[2::2])
            self.hash.update(zip(words[2::2], words[3::2]))
            return b":%d\r\n" % new
        if name == "HDEL" and words[1] == HASH:
            return b":%d\r\n" % sum(self.hash.pop(k, None) is not None for k in words[2:])
        if name == "HGETALL":
            flat = [x.encode() for pair in self.hash.items() for x in pair]
            return b"*%d\r\n" % len(flat) + b"".join(b"$%d\r\n%s\r\n" % (len(x), x) for x in flat)
        return f"-ERR unknown command '{words[0]}'\r\n".encode()


class RealRedis:
    """redis-server without persistence, on a free port or a socket."""

    def __init__(self, *options, port=None):
        self.folder = tempfile.TemporaryDirectory(prefix="redis-")
        with socket.socket() as s:
            s.bind(("127.0.0.1", port or 0))
            self.port = s.getsockname()[1]
        self.options = options
        self.process = None
        self.up()

    @staticmethod
    def installed():
        return shutil.which("redis-server") is not None

    @property
    def path(self):
        return f"{self.folder.name}/redis.sock"

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def up(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path, "--save", "",
             "--appendonly", "no", "--dir", self.folder.name, *self.options],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError("redis-server does not start")

    def down(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.down()
        self.folder.cleanup()

    def cli(self, *words, auth=()):
        """Sends one command; returns the answer's lines. auth: words of AUTH sent before."""
        def encode(parts):
            data = [p.encode() for p in parts]
            return b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%s\r\n" % (len(d), d) for d in data)
        with socket.create_connection(("127.0.0.1", self.port), 5) as s, s.makefile("rb") as f:
            if auth:
                s.sendall(encode(["AUTH", *auth]))
                f.readline()
            s.sendall(encode(words))
            return self.read(f)

    def read(self, f):
        line = f.readline()[:-2].decode()
        kind, rest = line[0], line[1:]
        if kind == "$":
            return None if rest == "-1" else f.read(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return [self.read(f) for _ in range(int(rest))]
        return int(rest) if kind == ":" else rest

    @property
    def hash(self):
        flat = self.cli("HGETALL", HASH)
        return dict(zip(flat[::2], flat[1::2]))

    def jobs(self):
        return {tuple(json.loads(k)): json.loads(v) for k, v in self.hash.items() if k.startswith("[")}
