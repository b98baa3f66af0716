#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The server API of foci-sfu over HTTP: every recorded request of a LiveKit server's API (tests/data/signalling/twirp.jsonl)
asked again and compared, what the recording does not hold, and PerformRpc's time-outs. Participants are sockets that speak JSON.

    tests/blackbox/test_sfu_api.py path/to/foci-sfu [TestName...]"""
import base64
import json
import pathlib
import re
import socket
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from sfu_testbed import DATA, Person, Server, main, paths, token  # noqa: E402  pylint: disable=wrong-import-position

# ---- the recording ---------------------------------------------------------------------------------------------------------------

# Steps (beginnings of) that ours answers otherwise: its status and code, and why.
ABSENT = "what is absent is told at once instead of after three seconds"
DIFFERENT = {
    "CreateRoom empty name": (400, "invalid_argument", "a room without a name cannot be joined"),
    "MutePublishedTrack (unknown participant)": (404, "not_found", ABSENT),
    "UpdateSubscriptions (unknown participant)": (404, "not_found", ABSENT),
    "SendData (unknown room)": (404, "not_found", ABSENT),
    "MoveParticipant (with destinationRoom grant)": (200, None, "a single server can do it"),
    "PerformRpc (unknown participant)": (404, "not_found", ABSENT),
    # Of this test: its participants have no data channels.
    "PerformRpc  ": (408, "canceled", "nobody is there who could answer"),
    "PerformRpc (unknown method)": (408, "canceled", "nobody is there who could answer"),
}
# Members of answers that the recorded server writes and ours does not, or only when there is something to say.
NOT_OURS = re.compile(
    r"(rooms\[\]\.)?(turn_password|version)$"  # a legacy secret; internal
    r"|(participants\[\]\.)?tracks\[\]\..*"  # published with their media, which nobody has here
    r"|track\.(layers|codecs)\[\]\..*|track\.version\..*")


class Recorded(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.people = {}
        self.sids = {}

    def tearDown(self):
        for p in self.people.values():
            p.close()
        self.assertEqual(self.server.stop(), 0, self.server.text())

    def authorization(self, e):
        claims = {"video": e["video"]} if "video" in e else {}
        kinds = {"none": None, "garbage": "Bearer garbage", "basic": "Basic abc"}
        if e.get("auth") in kinds:
            return kinds[e["auth"]]
        how = {"wrong secret": {"secret": "x" * 32}, "unknown key": {"key": "nokey"}, "expired": {"lifetime": -3600}}
        return "Bearer " + token(**how.get(e.get("auth"), {}), **claims)

    def prepare(self, step):
        """What happened beside the API before a step."""
        port = self.server.port
        if step.startswith("ListParticipants (two participants)") and not self.people:
            self.people["alice"] = Person(port, "alice", "room-api")
            self.people["bob"] = Person(port, "bob", "room-api")
        if step.startswith("MutePublishedTrack mute microphone") and not self.sids:
            a = self.people["alice"]
            self.sids["TR_AMNao43PGAxmiu"] = a.publish("mic", "MICROPHONE", "AUDIO")
            self.sids["TR_VCYA3KwyDCcvYs"] = a.publish("cam", "CAMERA", "VIDEO")
        if step.startswith("ForwardParticipant  [application/json]"):
            self.people["bob"].close()
            self.people["bob"] = Person(port, "bob", "room-api")  # he was moved away
        if step.startswith("livekit-server-sdk") and "carol" not in self.people:
            self.people["carol"] = Person(port, "carol", "room-api")

    def check(self, e):
        self.prepare(e["step"])
        body = base64.b64decode(e["body64"]) if "body64" in e else e.get("body", "").encode()
        for theirs, ours in self.sids.items():
            self.assertEqual(len(theirs), len(ours))  # inside of protobuf
            body = body.replace(theirs.encode(), ours.encode())
        headers = {}
        if "type" in e:
            headers["Content-Type"] = e["type"]
        if (authorization := self.authorization(e)) is not None:
            headers["Authorization"] = authorization
        if e["method"] == "OPTIONS":
            headers.update({"Origin": "http://x", "Access-Control-Request-Method": "POST"})
        began = time.monotonic()
        status, kind, text = self.server.ask(e["method"], e["path"], body, headers)
        seconds = time.monotonic() - began
        step = e["step"]
        different = next((v for k, v in DIFFERENT.items() if step.startswith(k)), None)
        # Who is absent is answered at once, not after the 3 s of livekit-server; only a call waits, for its 2 s.
        self.assertLess(seconds, 10 if "PerformRpc" in e["path"] else 2.5, step)
        if different is not None:
            self.assertNotEqual(status, e["status"] if e["status"] != 503 else 0, step)
            self.assertEqual((status, json.loads(text).get("code")), different[:2], step)
            return
        self.assertEqual(status, e["status"], f"{step}: {text}")
        self.assertEqual((kind or "").lower(), e.get("answer_type", "").lower(), step)
        if "error" in e:
            error = json.loads(text)
            self.assertEqual(error["code"], e["error"]["code"], step)
            self.assertEqual(error["msg"], e["error"]["msg"].removeprefix("twirp error unknown: "), step)
            self.assertEqual(error.get("meta"), e["error"].get("meta"), step)
        elif "members" in e:
            have = paths(json.loads(text))
            missing = {m for m in set(e["members"]) - have if not NOT_OURS.match(m)}
            self.assertEqual(missing, set(), f"{step}: {text}")
        elif "text" in e:
            self.assertTrue(text.decode().startswith(e["text"].strip().split(":")[0]), f"{step}: {text}")
        # What is no token's business is not repeated.
        if (authorization or "").startswith("Bearer "):
            self.assertNotIn(authorization[7:].encode(), text, step)

    def test_each_recorded_request(self):
        served = 0
        for line in (DATA / "twirp.jsonl").read_text().splitlines():
            e = json.loads(line)
            self.check(e)
            served += 1
        self.assertGreater(served, 100)
        a, b = self.people["alice"], self.people["bob"]
        # Not for a track that it does not have.
        self.assertEqual(a.kinds().count("mute"), 3)
        self.assertEqual([m["mute"]["sid"] for m in a.told if "mute" in m][0], self.sids["TR_AMNao43PGAxmiu"])
        self.assertEqual(b.wait("leave")["reason"], "PARTICIPANT_REMOVED")
        self.assertEqual(a.wait("leave")["reason"], "ROOM_DELETED")


# ---- beyond the recording --------------------------------------------------------------------------------------------------------


class Api(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.people = []

    def tearDown(self):
        for p in self.people:
            p.close()
        self.assertEqual(self.server.stop(), 0, self.server.text())

    def join(self, identity, room="r", **video):
        self.people.append(Person(self.server.port, identity, room, **video))
        return self.people[-1]

    def refused(self, answer, status, code, msg, argument=None):
        self.assertEqual(answer[0], status, answer)
        self.assertEqual((answer[1]["code"], answer[1]["msg"]), (code, msg))
        self.assertEqual(answer[1].get("meta"), {"argument": argument} if argument else None)

    def test_limits(self):
        t = self.server.twirp
        self.join("alice")
        self.refused(t("CreateRoom", name="x" * 257), 400, "invalid_argument", "room name length exceeds limits: max length 256")
        self.refused(t("CreateRoom", name="x", metadata="m" * 524289), 400, "invalid_argument",
                     "metadata size exceeds limits: max size 524288")
        self.refused(t("CreateRoom", name="x", room_preset="large"), 400, "invalid_argument",
                     "unknown room configuration in create room request")
        self.refused(t("CreateRoom", name="x", egress={"room": {}}), 500, "internal", "egress not connected (redis required)")
        self.refused(t("UpdateRoomMetadata", room="r", metadata="m" * 524289), 400, "invalid_argument",
                     "metadata size exceeds limits 524288", "metadata size exceeds limits")
        self.refused(t("UpdateParticipant", room="r", identity="alice", name="x" * 257), 400, "invalid_argument",
                     "name length exceeds limits 256", "name length exceeds limits")
        self.refused(t("UpdateParticipant", room="r", identity="alice", attributes={"k": "x" * 65536}), 400, "invalid_argument",
                     "attribute size exceeds limits 65536", "attribute size exceeds limits")
        self.refused(t("SendData", room="r", nonce="AAAA"), 400, "invalid_argument", "nonce should be 16-bytes or empty, not: 3 bytes")
        self.refused(t("PerformRpc", room="r"), 400, "invalid_argument", "destination identity is required")
        self.refused(t("PerformRpc", room="r", destination_identity="alice", payload="x" * 15361), 400, "invalid_argument",
                     "RpcError 1402: Request payload too large")
        grants = {"roomAdmin": True, "room": "r", "destinationRoom": "r"}
        self.refused(t("MoveParticipant", grants=grants, room="r", identity="alice", destination_room="r"), 400, "invalid_argument",
                     "destination room cannot be the same as source room")
        # The largest that are allowed.
        self.assertEqual(t("UpdateRoomMetadata", room="r", metadata="m" * 524288)[0], 200)
        status, p = t("UpdateParticipant", room="r", identity="alice", name="x" * 256, attributes={"k": "x" * 65535})
        self.assertEqual((status, len(p["name"]), len(p["attributes"]["k"])), (200, 256, 65535))
        # And not more together with those that she has.
        self.refused(t("UpdateParticipant", room="r", identity="alice", attributes={"l": "x"}), 400, "invalid_argument",
                     "attribute size exceeds limits 65536", "attribute size exceeds limits")

    def test_rooms_are_listed_as_they_are_created(self):
        t = self.server.twirp
        status, made = t("CreateRoom", name="r", empty_timeout=33, departure_timeout=7, max_participants=5, metadata="m",
                         min_playout_delay=100, max_playout_delay=200, sync_streams=True)
        self.assertEqual(status, 200)
        self.assertEqual((made["empty_timeout"], made["departure_timeout"], made["max_participants"], made["metadata"]), (33, 7, 5, "m"))
        self.assertEqual(t("ListRooms"), (200, {"rooms": [made]}))
        self.assertEqual(t("ListRooms", names=["other"]), (200, {"rooms": []}))
        a = self.join("alice")
        self.join("ghost", hidden=True)
        t("UpdateRoomMetadata", room="r", metadata="news")
        listed = t("ListRooms", names=["r", "other"])[1]["rooms"]
        self.assertEqual([(r["metadata"], r["num_participants"], r["sid"]) for r in listed], [("news", 1, made["sid"])])
        self.assertEqual(sorted(p["identity"] for p in t("ListParticipants", room="r")[1]["participants"]), ["alice", "ghost"])
        a.wait("roomUpdate")

    def test_a_permission_takes_tracks_away(self):
        a = self.join("alice")
        a.publish("mic", "MICROPHONE", "AUDIO")
        a.publish("cam", "CAMERA", "VIDEO")
        n = len(a.told)
        status, p = self.server.twirp("UpdateParticipant", room="r", identity="alice", permission={
            "can_subscribe": True, "can_publish": True, "can_publish_sources": ["MICROPHONE"]})
        self.assertEqual(status, 200)
        self.assertEqual(p["permission"]["can_publish_sources"], ["MICROPHONE"])
        self.assertFalse(p["permission"]["can_publish_data"])
        fresh = a.wait("refreshToken", n)
        claims = json.loads(base64.urlsafe_b64decode(fresh.split(".")[1] + "=="))
        self.assertEqual(claims["video"]["canPublishSources"], ["microphone"])
        self.assertIn("trackUnpublished", a.kinds(n))

    def test_who_is_moved_joins_the_other_room_with_the_token_it_gets(self):
        a, b = self.join("alice"), self.join("bob", canPublishData=False)
        grants = {"roomAdmin": True, "room": "r", "destinationRoom": "other"}
        n = len(b.told)
        self.assertEqual(self.server.twirp("MoveParticipant", grants=grants, room="r", identity="bob", destination_room="other"), (200, {}))
        fresh, leave = b.wait("refreshToken", n), b.wait("leave", n)
        self.assertEqual(leave["action"], "RECONNECT")
        self.assertLess(b.kinds(n).index("refreshToken"), b.kinds(n).index("leave"))
        claims = json.loads(base64.urlsafe_b64decode(fresh.split(".")[1] + "=="))
        self.assertEqual((claims["sub"], claims["video"]["room"], claims["video"]["canPublishData"]), ("bob", "other", False))
        self.people.append(Person(self.server.port, "bob", "", jwt=fresh))
        self.assertEqual([p["identity"] for p in self.server.twirp("ListParticipants", room="other")[1]["participants"]], ["bob"])
        self.assertEqual([p["identity"] for p in self.server.twirp("ListParticipants", room="r")[1]["participants"]], ["alice"])
        a.wait("update")
        # Nothing makes rooms by joining: there must be one.
        strict = Server("--auto-create=false")
        try:
            self.assertEqual(strict.twirp("CreateRoom", name="r")[0], 200)
            c = Person(strict.port, "carol", "r")
            self.refused(strict.twirp("MoveParticipant", grants=grants, room="r", identity="carol", destination_room="other"),
                         404, "not_found", "requested room does not exist")
            c.close()
        finally:
            self.assertEqual(strict.stop(), 0)

    def test_time_limits(self):
        self.join("alice")
        call = {"room": "r", "destination_identity": "alice", "method": "m"}
        began = time.monotonic()
        self.refused(self.server.twirp("PerformRpc", **call), 408, "canceled", "RpcError 1501: Connection timeout")
        self.assertAlmostEqual(time.monotonic() - began, 2, delta=0.5)
        began = time.monotonic()
        self.refused(self.server.twirp("PerformRpc", timeout_ms=500, **call), 408, "deadline_exceeded", "context deadline exceeded")
        self.assertAlmostEqual(time.monotonic() - began, 0.5, delta=0.3)
        # Numbers that are none change nothing.
        self.assertEqual(self.server.twirp("GetParticipant", timeout_ms="soon", room="r", identity="alice")[0], 200)

    def test_a_caller_that_gives_up_disturbs_nobody(self):
        self.join("alice")
        for _ in range(20):
            s = socket.create_connection(("127.0.0.1", self.server.port))
            body = json.dumps({"room": "r", "destination_identity": "alice", "method": "m"}).encode()
            grant = token(video={"roomAdmin": True, "room": "r"})
            s.sendall((f"POST /twirp/livekit.RoomService/PerformRpc HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {grant}\r\n"
                       f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n").encode() + body)
            s.close()
        self.assertEqual(self.server.twirp("GetParticipant", room="r", identity="alice")[0], 200)
        time.sleep(2.5)
        self.assertEqual(self.server.twirp("GetParticipant", room="r", identity="alice")[0], 200)

    def test_remote_unmute_takes_a_setting(self):
        a = self.join("alice")
        sid = a.publish("mic", "MICROPHONE", "AUDIO")
        call = {"room": "r", "identity": "alice", "track_sid": sid}
        self.refused(self.server.twirp("MutePublishedTrack", **call), 412, "failed_precondition", "remote unmute not enabled")
        other = Server("--enable-remote-unmute")
        try:
            b = Person(other.port, "alice", "r")
            sid = b.publish("mic", "MICROPHONE", "AUDIO")
            status, answer = other.twirp("MutePublishedTrack", room="r", identity="alice", track_sid=sid, muted=True)
            self.assertEqual((status, answer["track"]["muted"]), (200, True))
            status, answer = other.twirp("MutePublishedTrack", room="r", identity="alice", track_sid=sid)
            self.assertEqual((status, answer["track"]["muted"]), (200, False))
            self.assertEqual([m["mute"].get("muted", False) for m in b.told if "mute" in m], [True, False])
            b.close()
        finally:
            self.assertEqual(other.stop(), 0)

    def test_joining_makes_the_room_that_the_token_describes(self):
        self.join("alice", claims={"roomConfig": {"emptyTimeout": 9, "metadata": "made", "maxParticipants": 3}})
        self.join("bob", claims={"roomConfig": {"emptyTimeout": 1, "metadata": "other"}})
        room, = self.server.twirp("ListRooms")[1]["rooms"]
        self.assertEqual((room["empty_timeout"], room["metadata"], room["max_participants"]), (9, "made", 3))

    def dispatch(self, method, **body):
        headers = {"Authorization": f"Bearer {token(video={'roomAdmin': True, 'room': body['room']})}", "Content-Type": "application/json"}
        status, _, text = self.server.ask("POST", f"/twirp/livekit.AgentDispatchService/{method}", json.dumps(body).encode(), headers)
        return status, json.loads(text)

    def names(self, room):
        status, answer = self.dispatch("ListDispatch", room=room)
        self.assertEqual(status, 200, answer)
        return [(d["agent_name"], d["metadata"]) for d in answer["agent_dispatches"]]

    def test_a_room_has_the_dispatches_it_is_made_with(self):
        t = self.server.twirp
        full = {"agent_name": "bot", "metadata": "m", "restart_policy": "JRP_NEVER", "deployment": "blue", "attributes": {"a": "b"}}
        self.assertEqual(t("CreateRoom", name="r", agents=[full, {"agent_name": "scribe"}])[0], 200)
        made = self.dispatch("ListDispatch", room="r")[1]["agent_dispatches"]
        self.assertEqual({k: made[0][k] for k in full}, full)
        self.assertEqual([d["room"] for d in made], ["r", "r"])
        created, = {d["state"]["created_at"] for d in made}
        self.assertEqual(len(created), 19)  # nanoseconds
        self.assertEqual(self.names("r"), [("bot", "m"), ("scribe", "")])
        # They are those of the room, which is there already.
        self.assertEqual(t("CreateRoom", name="r", agents=[{"agent_name": "late"}])[0], 200)
        self.assertEqual(self.dispatch("CreateDispatch", room="r", agent_name="third")[0], 200)
        self.assertEqual(self.dispatch("DeleteDispatch", room="r", dispatch_id=made[0]["id"])[0], 200)
        self.assertEqual(self.names("r"), [("scribe", ""), ("third", "")])
        # They end with it.
        self.assertEqual(t("DeleteRoom", room="r")[0], 200)
        self.assertEqual(t("CreateRoom", name="r")[0], 200)
        self.assertEqual(self.names("r"), [("", "")])
        # Or as the first token says.
        self.join("alice", room="other", claims={"roomConfig": {"agents": [{"agentName": "host", "metadata": "x"}]}})
        self.assertEqual(self.names("other"), [("host", "x")])
        self.refused(t("CreateRoom", name="x", agents=[{}] * 101), 429, "resource_exhausted", "too many dispatches in this room")
        self.refused(t("CreateRoom", name="x", agents=[{"metadata": "m" * (1 << 20)}]), 400, "invalid_argument", "dispatch is too large")

    def test_nobody_is_forwarded(self):
        self.join("alice")
        grants = {"roomAdmin": True, "room": "r", "destinationRoom": "other"}
        self.refused(self.server.twirp("ForwardParticipant", grants=grants, room="r", identity="alice", destination_room="other"),
                     500, "unknown", "not implemented")
        grants["destinationRoom"] = "r"
        self.refused(self.server.twirp("ForwardParticipant", grants=grants, room="r", identity="alice", destination_room="r"),
                     400, "invalid_argument", "destination room cannot be the same as source room")
        del grants["destinationRoom"]
        self.refused(self.server.twirp("ForwardParticipant", grants=grants, room="r", identity="alice", destination_room="other"),
                     401, "unauthenticated", "permissions denied")


if __name__ == "__main__":
    main(__doc__)
