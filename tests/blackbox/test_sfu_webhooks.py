#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Webhooks of foci-sfu from outside: the built server, calls of the test client, and receivers that check every signature.

    tests/blackbox/test_sfu_webhooks.py path/to/foci-sfu path/to/test_client [TestName...]"""
import base64
import hashlib
import hmac
import http.server
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from sfu_testbed import DATA, KEY, PROGRAMS, SECRET, Server, main, paths  # noqa: E402  pylint: disable=wrong-import-position
from testbed import unbase64  # noqa: E402  pylint: disable=wrong-import-position


def check_token(token, body):
    """What livekit/protocol's webhook.Receive checks."""
    head, payload, signature = token.split(".")
    assert json.loads(unbase64(head)) == {"alg": "HS256", "typ": "JWT"}, head
    mac = hmac.new(SECRET.encode(), f"{head}.{payload}".encode(), hashlib.sha256).digest()
    assert unbase64(signature) == mac, "signature"
    claims = json.loads(unbase64(payload))
    now = time.time()
    assert set(claims) == {"iss", "exp", "nbf", "iat", "sha256"}, claims
    assert claims["iss"] == KEY and claims["exp"] - claims["nbf"] == 300 and claims["iat"] == claims["nbf"], claims
    assert claims["nbf"] - 5 <= now <= claims["exp"], (claims, now)
    assert claims["sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode(), "sha256"


class Receiver:
    """Keeps what comes as (time, path, event, body). `answers`: statuses of the next requests, then 200."""

    def __init__(self):
        self.seen, self.wrong, self.answers = [], [], []
        self.changed = threading.Condition()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.changed:
                    try:
                        assert self.headers["Content-Type"] == "application/webhook+json", self.headers["Content-Type"]
                        check_token(self.headers["Authorization"], body)
                    except Exception as e:  # pylint: disable=broad-except
                        outer.wrong.append(repr(e))
                    status = outer.answers.pop(0) if outer.answers else 200
                    outer.seen.append((time.monotonic(), self.path, json.loads(body), body))
                    outer.changed.notify_all()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, enough, seconds=20):
        with self.changed:
            if not self.changed.wait_for(lambda: enough(self.seen), seconds):
                raise AssertionError(f"only {self.words()}")

    def words(self, room=None):
        """participant_left alice CLIENT_INITIATED, ..."""
        out = []
        for _, _, e, _ in self.seen:
            if room is None or e["room"]["name"] == room:
                who = e.get("participant", {})
                out.append(" ".join(filter(None, [e["event"], who.get("identity"), who.get("disconnectReason")])))
        return out

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Caller(Server):
    """A server with calls of the test client."""

    def __init__(self, *args):
        super().__init__(*args, workers=1, departure_timeout="1s", empty_timeout=None)
        self.clients = []

    def call(self, room, seconds, participants=2, protocol="v1"):
        client = subprocess.Popen([PROGRAMS[1], "--url", f"ws://127.0.0.1:{self.port}", "--key", KEY, "--secret", SECRET, "--room", room,
                                   "--seconds", str(seconds), "--participants", str(participants), "--protocol", protocol],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.clients.append(client)
        return client

    def stats(self):
        """What became of events, as the server tells when it is asked by SIGUSR1 and all are through."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            told = self.text().count('"webhook.stats"')
            self.process.send_signal(signal.SIGUSR1)
            while self.text().count('"webhook.stats"') == told and time.monotonic() < end:
                time.sleep(0.02)
            line = [json.loads(x) for x in self.text().splitlines() if '"webhook.stats"' in x][-1]
            if line["pending"] == 0:
                return {k: line[k] for k in ("delivered", "refused", "failed", "dropped", "pending")}
        raise AssertionError(self.text())

    def stop(self):
        try:
            return super().stop()
        finally:
            for c in self.clients:
                c.kill()
                c.wait()
            self.clients = []


# What a LiveKit server writes into an event and we do not.
NOT_OURS = {
    "room.turnPassword",  # a secret that nobody needs
    "participant.capabilities",  # of the browser that was recorded
    "participant.metadata", "participant.attributes", "participant.attributes.k", "room.metadata",  # of the recorded people
    "participant.clientProtocol", "participant.permission.canUpdateMetadata",
    "room.numParticipants", "room.numPublishers",  # 0 is not written: who came and published before is a matter of time
    "track.audioFeatures", "track.muted",  # of what was recorded: its browser, a microphone that was switched off
    # There simulcast is published with the first packet, here with the description, when no SSRC is known yet.
    "track.layers[].ssrc", "track.layers[].repairSsrc", "track.codecs[].layers[].ssrc", "track.codecs[].layers[].repairSsrc",
}
# What we write and the recording has not in that event: numbers that are up to date, and what our client asks for.
ONLY_OURS = {"room.numParticipants", "room.numPublishers", "track.disableRed", "track.name", "roomEndReason"}


class Webhooks(unittest.TestCase):
    def setUp(self):
        self.hook = Receiver()
        self.addCleanup(self.hook.close)
        self.servers = []

    def tearDown(self):
        for s in self.servers:
            self.assertEqual(s.stop(), 0, s.text())
        self.assertEqual(self.hook.wrong, [])

    def server(self, *args, more_urls=""):
        s = Caller("--webhook-urls", f"http://127.0.0.1:{self.hook.port}/hook{more_urls}", *args)
        self.servers.append(s)
        return s

    def test_a_call_from_beginning_to_end(self):
        auth = Receiver()
        self.addCleanup(auth.close)
        s = self.server("--auth-service", f"http://127.0.0.1:{auth.port}/jwt/")
        client = s.call("r", 2, protocol="mixed")
        out, _ = client.communicate(timeout=60)
        self.assertEqual(client.returncode, 0, out)
        self.hook.wait(lambda seen: seen and seen[-1][2]["event"] == "room_finished")
        words = self.hook.words("r")
        self.assertEqual(words[0], "room_started")
        self.assertEqual(words[-1], "room_finished")
        people = sorted({e["participant"]["identity"] for _, _, e, _ in self.hook.seen if "participant" in e})
        self.assertEqual(len(people), 2)
        for who in people:
            mine = [w for w in words if who in w.split()]
            self.assertEqual(mine, [f"participant_joined {who}"] + [f"track_published {who}"] * 2 +
                             [f"track_unpublished {who}"] * 2 + [f"participant_left {who} CLIENT_INITIATED"])
        self.assertEqual({p for _, p, _, _ in self.hook.seen}, {"/hook"})
        self.assertEqual(len({e["id"] for _, _, e, _ in self.hook.seen}), len(self.hook.seen))
        # The authorization service gets the same events, the same ids, without those of tracks.
        auth.wait(lambda seen: seen and seen[-1][2]["event"] == "room_finished")
        self.assertEqual(auth.wrong, [])
        self.assertEqual({p for _, p, _, _ in auth.seen}, {"/jwt/sfu_webhook"})
        self.assertEqual([b for _, _, _, b in auth.seen],
                         [b for _, _, e, b in self.hook.seen if not e["event"].startswith("track_")])
        self.compare_with_recording()

    def compare_with_recording(self):
        recorded = {}
        for line in (DATA / "webhooks.jsonl").read_text().splitlines():
            e = json.loads(json.loads(line)["body"])
            recorded.setdefault(e["event"], set()).update(paths(e))
        ours = {}
        for _, _, e, _ in self.hook.seen:
            ours.setdefault(e["event"], set()).update(paths(e))
        for name, have in ours.items():
            self.assertEqual(have - recorded[name] - ONLY_OURS, set(), name)
            self.assertEqual(recorded[name] - have - NOT_OURS, set(), name)

    def test_each_url_is_told_what_it_chose(self):
        others = [Receiver(), Receiver()]
        for other in others:
            self.addCleanup(other.close)
        ends, people = (f"http://127.0.0.1:{other.port}/hook" for other in others)
        s = self.server(more_urls=f",{ends}#include=room_started+room_finished,"
                                  f"{people}#exclude=room_started+room_finished+track_published+track_unpublished")
        self.assertEqual(s.call("chosen", 1).wait(30), 0)
        for hook in (self.hook, others[0]):
            hook.wait(lambda seen: any(e["event"] == "room_finished" for _, _, e, _ in seen))
        others[1].wait(lambda seen: sum(e["event"] == "participant_left" for _, _, e, _ in seen) == 2)
        s.stats()
        self.assertEqual(others[0].words(), ["room_started", "room_finished"])
        self.assertEqual({w.split()[0] for w in others[1].words()}, {"participant_joined", "participant_left"})
        self.assertIn("track_published", {w.split()[0] for w in self.hook.words()})
        self.assertEqual({path for _, path, _, _ in others[0].seen}, {"/hook"})

    def test_what_is_refused_for_a_while_comes_again(self):
        s = self.server()
        self.hook.answers = [500, 503]
        self.assertEqual(s.twirp("CreateRoom", name="r")[0], 200)
        self.assertEqual(s.twirp("DeleteRoom", room="r")[0], 200)
        self.hook.wait(lambda seen: len(seen) == 4)
        self.assertEqual(self.hook.words(), ["room_started"] * 3 + ["room_finished"])
        self.assertEqual(len({b for _, _, _, b in self.hook.seen}), 2)
        times = [t for t, _, _, _ in self.hook.seen]
        self.assertGreater(times[1] - times[0], 0.95)
        self.assertGreater(times[2] - times[1], 1.95)
        self.assertLess(times[3] - times[2], 0.9)
        self.assertEqual(s.stats(), {"delivered": 2, "refused": 0, "failed": 0, "dropped": 0, "pending": 0})

    def test_everybody_is_told_to_have_left_when_the_server_stops(self):
        s = self.server()
        s.call("r", 60)
        self.hook.wait(lambda seen: sum(e["event"] == "track_published" for _, _, e, _ in seen) == 4)
        self.assertEqual(s.stop(), 0, s.text())
        left = [w for w in self.hook.words() if w.startswith("participant_left")]
        self.assertEqual([w.split()[2] for w in left], ["SERVER_SHUTDOWN"] * 2)
        self.assertEqual(self.hook.words()[-1], "room_finished")

    def test_a_receiver_that_is_gone_delays_nothing(self):
        with socket.socket() as gone:
            gone.bind(("127.0.0.1", 0))  # bound and not listening: refused
            s = Caller("--webhook-urls", f"http://127.0.0.1:{gone.getsockname()[1]}/")
            client = s.call("r", 1)
            out, _ = client.communicate(timeout=60)
            self.assertEqual(client.returncode, 0, out)
            began = time.monotonic()
            self.assertEqual(s.stop(), 0, s.text())
            self.assertLess(time.monotonic() - began, 8)
            self.assertIn('"webhook.failed"', s.text())
            self.assertIn('"webhook.lost"', s.text())
            self.assertNotIn(SECRET, s.text())


if __name__ == "__main__":
    main(__doc__, programs=2)
