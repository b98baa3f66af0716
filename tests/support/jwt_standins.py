# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for what foci-jwt talks to: a homeserver (TLS or plain), an SFU's Twirp API, a name server.

All run on one asyncio loop in a thread of their own. Each records what it was asked."""
import asyncio
import json
import os
import pathlib
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse


def make_certificates(folder):
    """A throw-away CA and a certificate for every name that the tests use. Returns (ca, cert, key).

    FOCI_TEST_CERTS names a folder that has them already, so that many processes need not make their own."""
    ready = os.environ.get("FOCI_TEST_CERTS")
    if ready:
        return tuple(pathlib.Path(ready) / n for n in ("ca.pem", "hs.pem", "hs.key"))
    folder = pathlib.Path(folder)
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    cert, key, csr, ext = (folder / n for n in ("hs.pem", "hs.key", "hs.csr", "hs.ext"))
    ext.write_text("subjectAltName=DNS:localhost,DNS:hs.test,DNS:delegated.test,DNS:old.test,IP:127.0.0.1,IP:::1\n")

    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", ca_key, "-out", ca, "-days", "2", "-subj", "/CN=foci test CA")
    openssl("req", *curve, "-keyout", key, "-out", csr, "-subj", "/CN=foci test homeserver")
    openssl("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2",
            "-extfile", ext, "-out", cert)
    return ca, cert, key


class Loop:
    """An asyncio loop in a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coro, timeout=60):
        return asyncio.run_coroutine_threadsafe(coro, self.loop).result(timeout)


class Http:
    """A small HTTP/1.1 server: answer(request) -> (status, content type, body) or a coroutine of it.

    A request is a dict of method, path, query, headers (lower case) and body."""

    def __init__(self, loop, answer, tls=None, host="127.0.0.1", port=0):
        self.loop = loop
        self.answer = answer
        self.requests = []
        self.connections = 0
        self.writers = set()
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            context.sni_callback = self.on_sni
        self.sni = []
        self.server = loop.run(asyncio.start_server(self.serve, host, port, ssl=context, backlog=2048))
        self.port = self.server.sockets[0].getsockname()[1]

    def on_sni(self, _socket, name, _context):
        self.sni.append(name)

    def close(self):
        async def stop():
            self.server.close()
            for writer in self.writers:
                writer.transport.abort()
        self.loop.run(stop())

    async def serve(self, reader, writer):
        self.connections += 1
        self.writers.add(writer)
        try:
            while await self.serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def serve_one(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rows = head.split("\r\n")
        method, target, _ = line.split(" ", 2)
        headers = {k.strip().lower(): v.strip() for k, _, v in (r.partition(":") for r in rows if r)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path, _, query = target.partition("?")
        request = {"method": method, "target": target, "path": path, "query": urllib.parse.parse_qs(query),
                   "headers": headers, "body": body, "time": time.monotonic()}
        self.requests.append(request)
        answer = self.answer(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer is None:
            return False  # cut the connection
        status, content_type, data, *more = answer
        if isinstance(data, (dict, list)):
            data = json.dumps(data)
        if isinstance(data, str):
            data = data.encode()
        extra = "".join(f"{k}: {v}\r\n" for k, v in more)
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\n{extra}Content-Length: {len(data)}\r\n\r\n"
                     .encode() + data)
        await writer.drain()
        return True


class Homeserver(Http):
    """Knows OpenID tokens (token -> user id) and delayed events.

    `delay` seconds before each answer about a token; `override` answers such a request instead. `well_known` is the name in
    its server document, `client_well_known` the answer (status, type, body) for its client document.
    `answers[action]` holds answers (as of Http) for the next calls about delayed events; a callable is called with the
    request; then everything is 200 {}. Events whose id begins with "none" are not known."""

    DELAYED = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/"

    def __init__(self, loop, **kw):
        self.users = {}
        self.delay = 0
        self.override = None
        self.well_known = None
        self.client_well_known = None
        self.answers = {"restart": [], "send": []}
        super().__init__(loop, self.reply, **kw)

    async def reply(self, request):
        path = request["path"]
        if path == "/.well-known/matrix/server":
            if self.well_known is None:
                return 404, "text/plain", "no"
            return 200, "text/plain", {"m.server": self.well_known}
        if path == "/.well-known/matrix/client":
            return self.client_well_known or (404, "text/plain", "no")
        if path.startswith(self.DELAYED):
            return await self.reply_delayed(request)
        if path != "/_matrix/federation/v1/openid/userinfo":
            return 404, "application/json", {"errcode": "M_UNRECOGNIZED"}
        if self.delay:
            await asyncio.sleep(self.delay)
        if self.override:
            return self.override(request)
        user = self.users.get(request["query"].get("access_token", [""])[0])
        if user is None:
            return 401, "application/json", {"errcode": "M_UNKNOWN_TOKEN"}
        return 200, "application/json", {"sub": user}

    async def reply_delayed(self, request):
        delay_id, _, action = request["path"][len(self.DELAYED):].rpartition("/")
        answers = self.answers.get(action, [])
        if answers:
            answer = answers.pop(0)
            answer = answer(request) if callable(answer) else answer
            return await answer if asyncio.iscoroutine(answer) else answer
        if delay_id.startswith("none"):
            return 404, "application/json", {"errcode": "M_NOT_FOUND", "error": "Delayed event not found"}
        return 200, "application/json", {}

    def lookups(self):
        return [r for r in self.requests if r["path"].endswith("/openid/userinfo")]

    def calls(self, action=None, delay_id=None):
        """Calls about delayed events, in order: of one action, of one event."""
        return [r for r in self.requests if r["path"].startswith(self.DELAYED)
                and (action is None or r["path"].endswith("/" + action))
                and (delay_id is None or r["path"].split("/")[-2] == delay_id)]


# ---- protobuf, as much as the SFU's API needs ---------------------------------------------------------------------------
def field(no, data):
    """Field `no` with a length-delimited (bytes, str) or varint (int) value."""
    if isinstance(data, int):
        return bytes([no << 3]) + varint(data)
    data = data.encode() if isinstance(data, str) else data
    return bytes([no << 3 | 2]) + varint(len(data)) + data


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def fields(data):
    """Top-level fields of a message as {number: last value}."""
    def read(at):
        value, shift = 0, 0
        while data[at] & 128:
            value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
        return value | data[at] << shift, at + 1
    out, at = {}, 0
    while at < len(data):
        key, at = read(at)
        value, at = read(at)
        if key & 7 == 2:
            at, value = at + value, data[at:at + value]
        out[key >> 3] = value
    return out


def room_message(name):
    """A livekit.Room as an SFU answers: sid, name, creation_time."""
    return field(1, b"RM_test12345678") + field(2, name) + field(5, 1767225600)


class Sfu(Http):
    """The server API. `rooms[room][identity]` is the session id of a participant. `override` answers CreateRoom instead,
    `methods[name]` any other method. `lists` False: no ListParticipants, as the stand-in of the original's tests."""

    TWIRP = "/twirp/livekit.RoomService/"

    def __init__(self, loop, **kw):
        self.override = None
        self.methods = {}
        self.rooms = {}
        self.lists = True
        self.delay = 0
        super().__init__(loop, self.reply, **kw)

    async def reply(self, request):
        method = request["path"].rpartition("/")[2]
        if self.delay:
            await asyncio.sleep(self.delay)
        if method in self.methods:
            return self.methods[method](request)
        if method == "ListRooms":
            return 200, "application/protobuf", b""
        body = fields(request["body"])
        room = body.get(1, b"").decode()
        if method == "CreateRoom":
            return self.override(request) if self.override else (200, "application/protobuf", room_message(room))
        there = self.rooms.get(room, {})
        if method == "GetParticipant":
            identity = body.get(2, b"").decode()
            if identity in there:
                return 200, "application/protobuf", field(1, there[identity]) + field(2, identity)
            return 404, "application/json", {"code": "not_found", "msg": "participant does not exist"}
        if method == "ListParticipants" and self.lists:
            return 200, "application/protobuf", b"".join(
                field(1, field(1, sid) + field(2, identity)) for identity, sid in there.items())
        return 404, "application/json", {"code": "bad_route", "msg": f"no handler for path {request['path']}"}

    def calls(self, *methods):
        """Calls of these methods; without any, all but the probe of the start."""
        return [r for r in self.requests if (r["path"].rpartition("/")[2] in methods if methods
                                             else not r["path"].endswith("/ListRooms"))]

    def created(self):
        return self.calls("CreateRoom")

    def lookups(self):
        return self.calls("GetParticipant", "ListParticipants")


class NameServer(asyncio.DatagramProtocol):
    """Answers SRV from a table {name: [(priority, weight, port, target)]} and A with 127.0.0.1; the rest is NXDOMAIN."""

    def __init__(self, loop, srv, port=53):
        self.srv = srv
        self.asked = []
        self.transport, _ = loop.run(loop.loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port)))

    def connection_made(self, transport):
        self.transport = transport

    @staticmethod
    def encode(name):
        return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"

    def datagram_received(self, data, addr):
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1:at + 1 + data[at]].decode().lower())
            at += 1 + data[at]
        kind = struct.unpack("!H", data[at + 1:at + 3])[0]
        name, question = ".".join(labels), data[12:at + 5]
        self.asked.append((name, kind))
        records = []
        if kind == 33:
            records = [struct.pack("!HHH", p, w, port) + self.encode(t) for p, w, port, t in self.srv.get(name, [])]
        elif kind == 1 and name.endswith(".test"):
            records = [bytes([127, 0, 0, 1])]
        known = records or (kind == 28 and name.endswith(".test"))
        answer = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(r)) + r for r in records)
        flags = 0x8580 if known else 0x8583
        self.transport.sendto(data[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + answer, addr)
