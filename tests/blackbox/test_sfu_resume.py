#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Coming back to foci-sfu over real sockets: resumes, what is refused and how, tokens that expire meanwhile, and the end of the
server. Participants are sockets without media.

    tests/blackbox/test_sfu_resume.py path/to/foci-sfu [TestName...]"""
import json
import pathlib
import signal
import socket
import struct
import sys
import time
import unittest
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import test_sfu_api as api  # noqa: E402  pylint: disable=wrong-import-position

# SignalResponse's members by field number, as far as they come first on a new socket.
NAMES = {1: "join", 2: "answer", 3: "offer", 4: "trickle", 5: "update", 8: "leave", 11: "roomUpdate", 13: "connectionQuality",
         16: "refreshToken", 19: "reconnect"}
SERVER_SHUTDOWN, STATE_MISMATCH = 3, 6
RECONNECT = 2


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


class Client:
    """A WebSocket, or the HTTP answer that refused it. Frames are read when they are asked for."""

    def __init__(self, port, jwt, **query):
        query = urllib.parse.urlencode({"access_token": jwt, "auto_subscribe": "1", "sdk": "js", "protocol": "17",
                                        "version": "2.23.0", **query})
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.sendall((f"GET /rtc?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n").encode())
        self.stream = self.socket.makefile("rb")
        self.status = int(self.stream.readline().split()[1])
        length = 0
        while (line := self.stream.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.text = self.stream.read(length).decode() if self.status != 101 else ""
        self.told, self.code = [], None

    def frame(self):
        head = self.stream.read(2)
        if len(head) < 2:
            return None
        n = head[1] & 127
        n = struct.unpack(">H", self.stream.read(2))[0] if n == 126 else struct.unpack(">Q", self.stream.read(8))[0] if n == 127 else n
        return head[0] & 15, self.stream.read(n)

    def next(self):
        """Name and content of the next message; None at the end."""
        while (frame := self.frame()) is not None:
            opcode, data = frame
            if opcode == 8:
                self.code = struct.unpack(">H", data[:2])[0] if data else 0
                self.socket.sendall(b"\x88\x82\0\0\0\0" + data[:2].ljust(2, b"\0"))
                return None
            if opcode != 2:
                continue
            (number, value), = fields(data).items()
            self.told.append(NAMES.get(number, number))
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
        self.socket.sendall(bytes([0x82, 0x80 | len(data)]) + b"\0\0\0\0" + data)

    def close(self):
        self.socket.close()


def jwt_of(identity, lifetime=600):
    return api.token(sub=identity, lifetime=lifetime, video={"roomJoin": True, "room": "r"})


class Resume(unittest.TestCase):
    def setUp(self):
        self.server = api.Server()
        self.clients = []

    def tearDown(self):
        for c in self.clients:
            c.close()
        self.assertEqual(self.server.stop(), 0, self.server.text())

    def client(self, jwt, **query):
        self.clients.append(Client(self.server.port, jwt, **query))
        return self.clients[-1]

    def test_a_new_socket_takes_the_session_over(self):
        first = self.client(jwt_of("alice"))
        sid = fields(fields(first.until("join"))[2])[1].decode()
        second = self.client(jwt_of("alice"), reconnect="1", sid=sid)
        self.assertEqual(second.next()[0], "reconnect")
        update = second.until("update")
        self.assertEqual(fields(fields(update)[1])[1].decode(), sid)
        second.until("roomUpdate")
        # The old one is closed without a Leave; the session is the same one.
        self.assertNotIn("leave", first.rest())
        self.assertEqual(first.code, 1000)
        if "refreshToken" not in second.told:
            second.until("refreshToken")

    def test_the_first_of_the_same_identity_is_sent_away_before_the_second_is_in(self):
        first = self.client(jwt_of("alice"))
        first.until("join")
        second = self.client(jwt_of("alice"))
        second.until("join")
        leave = fields(first.until("leave"))
        self.assertEqual((leave[2], leave.get(3, 0)), (2, 0))
        first.rest()
        self.assertEqual(first.code, 1000)

    def test_what_is_unknown_has_to_join_anew(self):
        c = self.client(jwt_of("nobody"), reconnect="1", sid="PA_nobody")
        self.assertEqual(c.status, 101)
        name, leave = c.next()
        self.assertEqual(name, "leave")
        leave = fields(leave)
        self.assertEqual((leave[2], leave[3]), (STATE_MISMATCH, RECONNECT))
        self.assertEqual(c.rest(), ["leave"])
        self.assertEqual(c.code, 1000)
        self.assertEqual(self.client(jwt_of("nobody")).next()[0], "join")

    def test_tokens_expire_but_the_refreshed_one_does_not(self):
        # 60 s of leeway: this one is good for three more.
        old = jwt_of("alice", lifetime=-57)
        first = self.client(old)
        first.until("join")
        fresh = first.until("refreshToken").decode()
        time.sleep(4.5)
        refused = self.client(old, reconnect="1")
        self.assertEqual(refused.status, 401)
        self.assertNotIn(old, refused.text)
        self.assertEqual(self.client(fresh, reconnect="1").next()[0], "reconnect")

    def test_a_simulated_refusal_comes_once(self):
        first = self.client(jwt_of("alice"))
        first.until("join")
        first.say(bytes([0x6a, 0x02, 0x40, 0x01]))  # simulate: disconnect_signal_on_resume_no_messages
        time.sleep(0.2)
        refused = self.client(jwt_of("alice"), reconnect="1")
        self.assertEqual((refused.status, refused.text), (500, "connection closed by media"))
        self.assertEqual(self.client(jwt_of("alice"), reconnect="1").next()[0], "reconnect")


class Shutdown(unittest.TestCase):
    def test_everybody_is_asked_to_come_back(self):
        server = api.Server()
        people = [Client(server.port, jwt_of(f"p{i}")) for i in range(5)]
        for p in people:
            p.until("join")
        server.process.send_signal(signal.SIGTERM)
        for p in people:
            leave = fields(p.until("leave"))
            self.assertEqual((leave[2], leave[3]), (SERVER_SHUTDOWN, RECONNECT))
            p.rest()
            self.assertEqual(p.code, 1000)
            p.close()
        self.assertEqual(server.process.wait(10), 0, server.text())
        log = [json.loads(line) for line in server.text().splitlines() if line.startswith("{")]
        self.assertEqual([m["sessions"] for m in log if m["event"] == "service.stopping"], [5])
        self.assertEqual(sum(m["participants"] for m in log if m["event"] == "worker.leaving"), 5)
        self.assertEqual([(m["all_left"], m["sessions"]) for m in log if m["event"] == "service.stopped"], [(True, 0)])

    def test_a_server_that_was_started_again_wants_a_join(self):
        server = api.Server()
        jwt = jwt_of("alice")
        first = Client(server.port, jwt)
        first.until("join")
        fresh = first.until("refreshToken").decode()
        server.process.kill()
        server.process.wait()
        again = api.Server()
        resumed = Client(again.port, fresh, reconnect="1")
        leave = fields(resumed.until("leave"))
        self.assertEqual((leave[2], leave[3]), (STATE_MISMATCH, RECONNECT))
        self.assertEqual(Client(again.port, fresh).next()[0], "join")
        self.assertEqual(again.stop(), 0)


if __name__ == "__main__":
    for name in ("Resume", "Shutdown"):  # main() of the other file looks there
        setattr(sys.modules["__main__"], name, globals()[name])
    api.__doc__ = __doc__
    api.main()
