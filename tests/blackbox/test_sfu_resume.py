#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Coming back to foci-sfu over real sockets: resumes, what is refused and how, tokens that expire meanwhile, and the end of the
server. Participants are sockets without media.

    tests/blackbox/test_sfu_resume.py path/to/foci-sfu [TestName...]"""
import json
import pathlib
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from sfu_testbed import Client, Server, fields, main, token  # noqa: E402  pylint: disable=wrong-import-position

SERVER_SHUTDOWN, STATE_MISMATCH = 3, 6
RECONNECT = 2


def jwt_of(identity, lifetime=600):
    return token(sub=identity, lifetime=lifetime, video={"roomJoin": True, "room": "r"})


class Resume(unittest.TestCase):
    def setUp(self):
        self.server = Server()
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
        server = Server()
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
        server = Server()
        jwt = jwt_of("alice")
        first = Client(server.port, jwt)
        first.until("join")
        fresh = first.until("refreshToken").decode()
        server.process.kill()
        server.process.wait()
        again = Server()
        resumed = Client(again.port, fresh, reconnect="1")
        leave = fields(resumed.until("leave"))
        self.assertEqual((leave[2], leave[3]), (STATE_MISMATCH, RECONNECT))
        self.assertEqual(Client(again.port, fresh).next()[0], "join")
        self.assertEqual(again.stop(), 0)


if __name__ == "__main__":
    main(__doc__)
