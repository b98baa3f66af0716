# SPDX-License-Identifier: Apache-2.0
"""What black-box tests of foci-sfu share: a running server, tokens, participants that are sockets without media.

The programs under test are the first arguments of the command line (main)."""
import http.client
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

from testbed import KEY, SECRET, environment, sign, wait

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "signalling"
PROGRAMS = []  # foci-sfu, then what else the test needs
# SignalResponse's members by field number, as far as they come first on a new socket.
RESPONSES = {1: "join", 2: "answer", 3: "offer", 4: "trickle", 5: "update", 8: "leave", 11: "roomUpdate", 13: "connectionQuality",
             16: "refreshToken", 19: "reconnect"}


def token(key=KEY, secret=SECRET, lifetime=600, **claims):
    return sign({"iss": key, "exp": int(time.time()) + lifetime, **claims}, secret)


def paths(value, prefix=""):
    """Every key of a JSON value as a.b[].c."""
    if isinstance(value, dict):
        return {p for k, v in value.items() for p in {prefix + k} | paths(v, f"{prefix}{k}.")}
    if isinstance(value, list):
        return {p for v in value for p in paths(v, prefix[:-1] + "[].")}
    return set()


# ---- protobuf, as far as it is needed ------------------------------------------------------------------------------------------------


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def fields(data):
    """Members of an encoded message: number -> last value (bytes or int)."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 2:
            n, at = varint(data, at)
            found[key >> 3], at = data[at:at + n], at + n
        elif key & 7 == 0:
            found[key >> 3], at = varint(data, at)
        else:
            raise AssertionError(f"wire type {key & 7}")
    return found


# ---- WebSockets ----------------------------------------------------------------------------------------------------------------------


def upgrade_request(jwt, headers="", **query):
    """The request of a v0 client; `headers`: lines with their ends."""
    query = urllib.parse.urlencode({"access_token": jwt, "auto_subscribe": "1", "sdk": "js", "protocol": "17", "version": "2.23.0", **query})
    return (f"GET /rtc?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{headers}"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n").encode()


def frame(data, opcode=1, first=0x80):
    """As a client sends it, masked with zeros."""
    n = len(data)
    size = bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536 else b"\xff" + struct.pack(">Q", n)
    return bytes([first | opcode]) + size + b"\0\0\0\0" + data


def read_frame(stream):
    """(opcode, content); None at the end."""
    head = stream.read(2)
    if len(head) < 2:
        return None
    n = head[1] & 127
    n = struct.unpack(">H", stream.read(2))[0] if n == 126 else struct.unpack(">Q", stream.read(8))[0] if n == 127 else n
    return head[0] & 15, stream.read(n)


class Client:
    """A WebSocket that speaks protobuf, or the HTTP answer that refused it. Frames are read when they are asked for."""

    def __init__(self, port, jwt, **query):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(upgrade_request(jwt, **query))
        self.stream = self.socket.makefile("rb")
        self.status = int(self.stream.readline().split()[1])
        length = 0
        while (line := self.stream.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.text = self.stream.read(length).decode() if self.status != 101 else ""
        self.told, self.code = [], None

    def next(self):
        """Name and content of the next message; None at the end."""
        while (got := read_frame(self.stream)) is not None:
            opcode, data = got
            if opcode == 8:
                self.code = struct.unpack(">H", data[:2])[0] if data else 0
                self.socket.sendall(frame(data[:2].ljust(2, b"\0"), 8))
                return None
            if opcode != 2:
                continue
            (number, value), = fields(data).items()
            self.told.append(RESPONSES.get(number, number))
            return self.told[-1], value
        return None

    def until(self, name):
        while (m := self.next()) is not None:
            if m[0] == name:
                return m[1]
        raise AssertionError(f"no {name} in {self.told}, closed with {self.code}")

    def rest(self):
        while self.next() is not None:
            pass
        return self.told

    def say(self, data):
        self.socket.sendall(frame(data, 2))

    def close(self):
        self.socket.close()


class Person:
    """A participant without media: signalling v0 in text frames. Keeps what it is told."""

    def __init__(self, port, identity, room, claims=None, jwt=None, **video):
        jwt = jwt or token(sub=identity, name=identity.capitalize(), **(claims or {}), video={"roomJoin": True, "room": room, **video})
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall(upgrade_request(jwt))
        self.socket.settimeout(None)
        self.stream = self.socket.makefile("rb")
        assert b" 101 " in self.stream.readline()
        while self.stream.readline() != b"\r\n":
            pass
        self.told, self.changed, self.ended = [], threading.Condition(), False
        threading.Thread(target=self.read, daemon=True).start()
        self.say({"ping": str(int(time.time() * 1000))})  # from now on we are answered in text
        self.wait("pong")

    def read(self):
        try:
            while (got := read_frame(self.stream)) is not None:
                opcode, data = got
                if opcode == 1:
                    with self.changed:
                        self.told.append(json.loads(data))
                        self.changed.notify_all()
        except OSError:
            pass
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def say(self, request):
        self.socket.sendall(frame(json.dumps(request).encode()))

    def kinds(self, since=0):
        return [k for m in self.told[since:] for k in m if k not in ("pong", "trickle", "offer", "roomUpdate", "connectionQuality")]

    def wait(self, kind, since=0, seconds=5):
        with self.changed:
            if not self.changed.wait_for(lambda: any(kind in m for m in self.told[since:]), seconds):
                raise AssertionError(f"no {kind} in {self.told[since:]}")
            return next(m[kind] for m in self.told[since:] if kind in m)

    def publish(self, cid, source, kind):
        n = len(self.told)
        self.say({"addTrack": {"cid": cid, "source": source, "type": kind}})
        return self.wait("trackPublished", n)["track"]["sid"]

    def close(self):
        self.socket.close()


# ---- the server ----------------------------------------------------------------------------------------------------------------------


class Server:
    """A running foci-sfu on free ports.

    `args` come behind the flags, of which some have a value here: `workers=1` is `--workers 1`, None leaves one out.
    `env` replaces the key in the environment."""

    def __init__(self, *args, env=None, program=None, **flags):
        flags = {"dev": "true", "workers": 2, "empty_timeout": "20s", "departure_timeout": "4s", **flags}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items() if value is not None]
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            [program or PROGRAMS[0], "--port", "0", "--bind", "127.0.0.1", "--udp-port", "0", "--log-format", "json", *flags, *args],
            env=environment({"LIVEKIT_KEYS": f"{KEY}: {SECRET}"} if env is None else env), stderr=self.log, stdout=subprocess.DEVNULL)
        wait(lambda: self.alive() and self.events("service.ready"), 20, self.text)
        self.port, = self.ports("signalling")

    def alive(self):
        if self.process.poll() is not None:
            raise AssertionError("did not start: " + self.text())
        return True

    def text(self):
        return os.pread(self.log.fileno(), 1 << 24, 0).decode(errors="replace")

    def events(self, name):
        """Log lines with this event; the last one may be half there."""
        lines = [line for line in self.text().splitlines(keepends=True) if line.startswith("{") and line.endswith("\n")]
        return [e for e in map(json.loads, lines) if e["event"] == name]

    def ports(self, what):
        """Where it listens: `signalling`, `media`."""
        return [e["port"] for e in self.events("service.listening") if e["what"] == what]

    def ask(self, method, path, body=b"", headers=None):
        """(status, content type, content)"""
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        c.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            c.putheader(name, value)
        c.endheaders(body)
        r = c.getresponse()
        answer = (r.status, r.getheader("Content-Type"), r.read())
        c.close()
        return answer

    def twirp(self, method, /, timeout_ms=None, grants=None, **body):
        """(status, answer as JSON)"""
        video = grants or {"roomCreate": True, "roomList": True, "roomAdmin": True, "room": body.get("room", "")}
        headers = {"Authorization": f"Bearer {token(video=video)}", "Content-Type": "application/json"}
        if timeout_ms is not None:
            headers["X-Twirp-Timeout-Ms"] = str(timeout_ms)
        status, _, text = self.ask("POST", f"/twirp/livekit.RoomService/{method}", json.dumps(body).encode(), headers)
        return status, json.loads(text)

    def stop(self):
        """The exit status: 0, unless something is wrong or a sanitizer has something to say."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(15)
        finally:
            self.process.kill()
            self.process.wait()


def main(doc, programs=1):
    """Runs the tests of the program that was started, with so many programs first on its command line."""
    if len(sys.argv) <= programs:
        sys.exit(doc)
    PROGRAMS[:] = [os.path.abspath(sys.argv.pop(1)) for _ in range(programs)]
    result = unittest.main(verbosity=2, exit=False, warnings="ignore").result
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed - len(result.skipped)
    if os.environ.get("RESULTS"):
        with open(os.environ["RESULTS"], "a", encoding="utf-8") as f:
            f.write(f"{passed} {failed}\n")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or passed == 0 else 0)
