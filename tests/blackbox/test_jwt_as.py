# SPDX-License-Identifier: Apache-2.0
"""Application-service mode: authorization-service 11.3.

The homeserver is a stand-in: it knows who is in which room, relays to the other site and keeps delayed events. Where two sites
meet, both are foci-jwt with a homeserver of its own."""
import asyncio
import json
import pathlib
import subprocess
import tempfile
import time
import urllib.parse

import jwt_testbed
from jwt_standins import Http, Sfu, fields, room_message
from jwt_testbed import Base, Service, claims, hash_of, matrix2, settings, wait

AS_TOKEN, HS_TOKEN = "as-token-of-no-worth-0001", "hs-token-of-no-worth-0002"
UNSTABLE = "unstable/io.element.msc4195"
CLIENT, FEDERATION = f"/_matrix/client/{UNSTABLE}/rtc/livekit", f"/_matrix/federation/{UNSTABLE}/rtc/livekit"
DELAYED = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events/"
REGISTRATION = f"""id: foci
as_token: "{AS_TOKEN}"
hs_token: {HS_TOKEN}
url: null
sender_localpart: _foci
namespaces:
  users: [{{regex: '@.*', exclusive: false}}]
io.element.msc4502.scopes: ["urn:matrix:client:io.element.msc4502:rooms:is_joined"]
io.element.msc4512.proxy_prefix: rtc/livekit
io.element.msc4512.proxy_url: http://127.0.0.1:1
"""
NOT_HERE = 404, "application/json", {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}


class AsHomeserver(Http):
    """Answers what an application service may ask. joined: {(room, user)}; delayed: {(user, delay_id): event}."""

    def __init__(self, loop, name):
        self.name = name
        self.joined = set()
        self.delayed = {}
        self.actions = []  # (time, action, delay_id, user)
        self.sites = {}  # server name -> its foci-jwt
        self.override = None
        super().__init__(loop, self.reply)

    def url(self):
        return f"http://127.0.0.1:{self.port}"

    async def reply(self, request):
        if self.override:
            answer = self.override(request)
            if answer:
                return answer
        if request["headers"].get("authorization") != f"Bearer {AS_TOKEN}":
            return 401, "application/json", {"errcode": "M_MISSING_TOKEN"}
        path, query = urllib.parse.unquote(request["path"]), request["query"]
        if path.startswith("/_matrix/client/unstable/io.element.msc4502/rooms/") and path.endswith("/is_joined"):
            room = path.split("/")[-2]
            return 200, "application/json", {"joined": (room, query["mxid"][0]) in self.joined}
        if path == "/_matrix/client/unstable/io.element.msc4512/appservice/fed_proxy":
            return await self.relay(json.loads(request["body"]))
        if path.startswith(DELAYED):
            return self.delayed_event(request, path[len(DELAYED):].split("/"), query.get("user_id", [""])[0])
        return NOT_HERE

    async def relay(self, message):
        site = self.sites.get(message["destination"])
        if site is None:
            return 502, "application/json", {"errcode": "IO.ELEMENT.MSC4512.M_FEDPROXY_CONNECTION_FAILED"}
        status, _, data = await asyncio.to_thread(
            site.request, message["method"], message["path"], message["body"],
            {"Authorization": f"Bearer {HS_TOKEN}", "X-Matrix-Origin": self.name})
        return 200, "application/json", {"status": status, "content": json.loads(data)}

    def delayed_event(self, request, parts, user):
        event = self.delayed.get((user, parts[0]))
        if event is None:
            return 404, "application/json", {"errcode": "M_NOT_FOUND"}
        if request["method"] == "GET":
            return 200, "application/json", event
        self.actions.append((time.monotonic(), parts[1], parts[0], user))
        if parts[1] == "send":
            del self.delayed[user, parts[0]]
        return 200, "application/json", {}

    def asked_membership(self):
        return [r for r in self.requests if r["path"].endswith("/is_joined")]


class AsSfu(Sfu):
    """Also puts people out and ends rooms."""

    def __init__(self, loop):
        super().__init__(loop)
        self.override = self.create
        self.methods = {"RemoveParticipant": self.remove, "DeleteRoom": self.delete}

    def create(self, request):
        room = fields(request["body"])[1].decode()
        self.rooms.setdefault(room, {})
        return 200, "application/protobuf", room_message(room)

    def remove(self, request):
        body = fields(request["body"])
        if self.rooms.get(body[1].decode(), {}).pop(body[2].decode(), None) is None:
            return 404, "application/json", {"code": "not_found", "msg": "participant does not exist"}
        return 200, "application/protobuf", b""

    def delete(self, request):
        self.rooms.pop(fields(request["body"])[1].decode(), None)
        return 200, "application/protobuf", b""


def body(sfu_url, room="!room:own.test", **more):
    return {"url": sfu_url, "room_id": room, "slot_id": "m.call#ROOM", "member_id": "memberABC", **more}


class AsService(Service):
    def close(self):
        text = self.stop()[1]
        super().close()
        assert AS_TOKEN not in text and HS_TOKEN not in text, "a token is in the log"


class AsBase(Base):
    section = "11.3"

    def site(self, name, **env):
        """A homeserver of that name, an SFU and the service."""
        hs, sfu = self.own(AsHomeserver(self.loop, name)), self.own(AsSfu(self.loop))
        registration = pathlib.Path(tempfile.mkdtemp(dir=self.folder.name), "foci.yaml")
        registration.write_text(REGISTRATION)
        registration.chmod(0o600)
        url = f"ws://127.0.0.1:{sfu.port}"
        s = self.own(AsService({
            "LIVEKIT_CA_FILE": str(self.ca), "LIVEKIT_URL": url, "LIVEKIT_FULL_ACCESS_HOMESERVERS": ",",
            "LIVEKIT_HS_SERVER_NAME": name, "LIVEKIT_AS_REGISTRATION_FILE": str(registration),
            "LIVEKIT_CS_API_URL_OVERRIDES": f"{name}={hs.url()}", **env}))
        s.url = url
        return hs, sfu, s

    def ask(self, s, path, user_or_origin, content, token=HS_TOKEN):
        header = "X-Matrix-Origin" if "/federation/" in path else "X-Matrix-User-Identifier"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if user_or_origin:
            headers[header] = user_or_origin
        status, headers, data = s.request("POST", path, content, headers)
        self.last_headers = headers
        return status, json.loads(data)


class AsTokens(AsBase):
    def test_a_local_user_gets_a_token(self):
        hs, sfu, s = self.site("own.test")
        user, room = "@alice:own.test", hash_of("!room:own.test", "m.call#ROOM")
        hs.joined.add(("!room:own.test", user))
        for path in (CLIENT, "/_matrix/client/v1/rtc/livekit"):
            status, answer = self.ask(s, path + "/get_token", user, body(s.url))
            self.assertEqual(status, 200, s.text())
            self.assertEqual(list(answer), ["jwt"])
            self.assertEqual(self.last_headers["cache-control"], "no-store")
            c = claims(answer["jwt"])
            self.assertEqual((c["sub"], c["video"]["room"]), (hash_of(user, "memberABC"), room))
            self.assertEqual((c["video"]["roomJoin"], c["video"]["canPublish"], c["video"]["canSubscribe"]),
                             (True, True, True))
            self.assertNotIn("roomCreate", c["video"])
        self.assertEqual(len(sfu.created()), 2)
        asked = hs.asked_membership()
        self.assertEqual(len(asked), 2)
        self.assertEqual(asked[0]["query"], {"mxid": [user]})
        self.assertIn("/rooms/%21room%3Aown.test/is_joined", asked[0]["path"])
        # The identity of the vector in section 3.3 has two elements.
        self.assertEqual(hash_of("@alice:example.com", "memberABC"), "M3VnsLXrkbxIDINXO64u8PZzFyD9ZYFiQULR2dshWYs")

    def test_refusals(self):
        hs, sfu, s = self.site("own.test")
        user = "@alice:own.test"
        path = CLIENT + "/get_token"
        self.assert_error(self.ask(s, path, user, body(s.url), token=None), 401, "M_MISSING_TOKEN")
        self.assert_error(self.ask(s, path, user, body(s.url), token=AS_TOKEN), 401, "M_UNKNOWN_TOKEN")
        self.assert_error(self.ask(s, path, None, body(s.url)), 401, "M_UNAUTHORIZED")
        self.assert_error(self.ask(s, path, "alice", body(s.url)), 400, "M_INVALID_PARAM")
        self.assert_error(self.ask(s, path, "@alice:other.test", body(s.url)), 403, "M_FORBIDDEN")
        self.assert_error(self.ask(s, path, user, "{not json"), 400, "M_NOT_JSON")
        self.assert_error(self.ask(s, path, user, body(s.url, extra=1)), 400, "M_NOT_JSON")
        for field in ("url", "room_id", "slot_id", "member_id"):
            for value in ("", None):
                self.assert_error(self.ask(s, path, user, {**body(s.url), field: value}), 400, "M_BAD_JSON")
        self.assert_error(self.ask(s, path, user, body("wss://elsewhere.test")), 400, "M_INVALID_PARAM")
        self.assert_error(self.ask(s, path, user, body(s.url, server_name="no name")), 400, "M_INVALID_PARAM")
        self.assertEqual(len(hs.requests), 0)
        self.assert_error(self.ask(s, path, user, body(s.url)), 403, "M_FORBIDDEN")
        self.assertEqual((len(hs.requests), len(sfu.calls())), (1, 0))
        hs.override = lambda r: (500, "text/plain", "no")
        self.assert_error(self.ask(s, path, user, body(s.url)), 502, "M_UNKNOWN")
        hs.override = lambda r: (200, "application/json", "{" * 1000)
        self.assert_error(self.ask(s, path, user, body(s.url)), 502, "M_UNKNOWN")
        hs.override = lambda r: (200, "application/json", b"x" * 1000000)
        self.assert_error(self.ask(s, path, user, body(s.url)), 502, "M_UNKNOWN")
        self.assertEqual(len(sfu.calls()), 0)

    def test_sfu_down_is_500(self):
        hs, sfu, s = self.site("own.test")
        hs.joined.add(("!room:own.test", "@alice:own.test"))
        sfu.override = lambda r: (503, "text/plain", "no")
        self.assert_error(self.ask(s, CLIENT + "/get_token", "@alice:own.test", body(s.url)), 500, "M_UNKNOWN",
                          "Unable to create room on SFU")

    def test_federation(self):
        hs, sfu, s = self.site("own.test")
        user, path = "@bob:other.test", FEDERATION + "/get_token"
        hs.joined.add(("!room:own.test", user))
        status, answer = self.ask(s, path, "other.test", body(s.url, user_id=user))
        self.assertEqual(status, 200, s.text())
        c = claims(answer["jwt"])
        self.assertEqual(c["sub"], hash_of(user, "memberABC"))
        self.assertIs(c["video"]["canPublish"], False)
        self.assertIs(c["video"]["canSubscribe"], True)
        self.assertEqual(len(sfu.created()), 1)
        self.assert_error(self.ask(s, path, None, body(s.url, user_id=user)), 401, "M_UNAUTHORIZED")
        self.assert_error(self.ask(s, path, "other.test", body(s.url)), 400, "M_BAD_JSON")
        self.assert_error(self.ask(s, path, "other.test", body(s.url, user_id="bob")), 400, "M_INVALID_PARAM")
        self.assert_error(self.ask(s, path, "third.test", body(s.url, user_id=user)), 403, "M_FORBIDDEN")
        self.assert_error(self.ask(s, path, "other.test", body("wss://x", user_id=user)), 400, "M_INVALID_PARAM")
        self.assert_error(self.ask(s, path, "other.test", body(s.url, user_id="@eve:other.test")), 403, "M_FORBIDDEN")

    def test_two_sites(self):
        own, _, a = self.site("own.test")
        other, other_sfu, b = self.site("other.test")
        own.sites["other.test"] = b
        user, room = "@alice:own.test", "!room:own.test"
        path, there = CLIENT + "/get_token", body(b.url, server_name="other.test")
        own.joined.add((room, user))
        # The other site does not see her in the room.
        self.assert_error(self.ask(a, path, user, there), 403, "M_FORBIDDEN")
        other.joined.add((room, user))
        status, answer = self.ask(a, path, user, there)
        self.assertEqual(status, 200, a.text())
        c = claims(answer["jwt"])
        self.assertEqual((c["sub"], c["video"]["canPublish"]), (hash_of(user, "memberABC"), False))
        self.assertEqual(len(other_sfu.created()), 1)
        self.assert_error(self.ask(a, path, user, body("wss://x", server_name="other.test")), 400, "M_INVALID_PARAM")
        self.assert_error(self.ask(a, path, user, body(b.url, server_name="nowhere.test")), 502, "M_UNKNOWN")
        own.joined.clear()
        before = len(other.requests)
        self.assert_error(self.ask(a, path, user, there), 403, "M_FORBIDDEN")
        self.assertEqual(len(other.requests), before)


class AsEndpoints(AsBase):
    def test_ping(self):
        _, _, s = self.site("own.test")
        path = "/_matrix/app/v1/ping"
        self.assertEqual(self.ask(s, path, None, {"transaction_id": "x"}), (200, {}))
        self.assertEqual(self.ask(s, path, None, None), (200, {}))
        self.assert_error(self.ask(s, path, None, {}, token=None), 401, "M_MISSING_TOKEN")
        self.assert_error(self.ask(s, path, None, {}, token="x"), 401, "M_UNKNOWN_TOKEN")

    def test_methods_and_paths(self):
        _, _, s = self.site("own.test")
        for path in (CLIENT + "/get_token", CLIENT + "/delegate_delayed_leave", FEDERATION + "/get_token",
                     "/_matrix/app/v1/ping"):
            for method in ("GET", "PUT", "DELETE"):
                status, headers, _ = s.request(method, path)
                self.assertEqual((status, headers["allow"]), (405, "POST"))
        for path in ("/_matrix/client/v1/rtc/livekit/other", FEDERATION + "/delegate_delayed_leave",
                     "/_matrix/client/v3/get_token"):
            self.assert_error(self.ask(s, path, "@a:own.test", {}), 404, "M_UNRECOGNIZED")

    def test_without_tokens_nothing_of_it_exists(self):
        s = self.service({})
        for path in (CLIENT + "/get_token", CLIENT + "/delegate_delayed_leave", FEDERATION + "/get_token"):
            self.assert_error(self.ask(s, path, "@a:own.test", {}), 404, "M_UNRECOGNIZED")
        self.assertEqual(s.request("POST", "/_matrix/app/v1/ping", "{}")[0], 404)

    def test_openid_endpoints_work_beside_it(self):
        hs = self.homeserver()
        _, sfu, s = self.site("own.test", LIVEKIT_FULL_ACCESS_HOMESERVERS=hs.name)
        status, answer = s.post("/get_token", matrix2(hs.name, f"@alice:{hs.name}"))
        self.assertEqual(status, 200, s.text())
        self.assertEqual(claims(answer["jwt"])["sub"], hash_of(f"@alice:{hs.name}", "DEVICE", "member-1"))

    def test_tokens_by_settings(self):
        hs, _, s = self.site("own.test", LIVEKIT_AS_REGISTRATION_FILE=None, LIVEKIT_AS_TOKEN=AS_TOKEN,
                             LIVEKIT_HS_TOKEN=HS_TOKEN)
        hs.joined.add(("!room:own.test", "@alice:own.test"))
        self.assertEqual(self.ask(s, CLIENT + "/get_token", "@alice:own.test", body(s.url))[0], 200)

    def test_start_up_errors_name_the_places(self):
        registration = pathlib.Path(self.folder.name, "start.yaml")
        registration.write_text(REGISTRATION)
        own = {"LIVEKIT_HS_SERVER_NAME": "own.test"}
        rows = [
            ({**own, "LIVEKIT_AS_TOKEN": AS_TOKEN}, ["hs_token", "LIVEKIT_HS_TOKEN"]),
            ({**own, "LIVEKIT_HS_TOKEN": HS_TOKEN}, ["as_token", "LIVEKIT_AS_TOKEN"]),
            ({"LIVEKIT_AS_TOKEN": AS_TOKEN, "LIVEKIT_HS_TOKEN": HS_TOKEN}, ["LIVEKIT_HS_SERVER_NAME"]),
            ({**own, "LIVEKIT_AS_TOKEN": AS_TOKEN, "LIVEKIT_HS_TOKEN": AS_TOKEN}, ["the same"]),
            ({**own, "LIVEKIT_AS_REGISTRATION_FILE": "/nowhere.yaml"}, ["/nowhere.yaml", "LIVEKIT_AS_REGISTRATION_FILE"]),
            ({**own, "LIVEKIT_AS_REGISTRATION_FILE": str(registration), "LIVEKIT_AS_TOKEN": "another-token-0003"},
             ["environment LIVEKIT_AS_TOKEN", "start.yaml:2"]),
        ]
        for env, words in rows:
            done = subprocess.run([jwt_testbed.BINARY], env=settings(FOCI_JWT_STATE_DIR=self.folder.name, **env),
                                  capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 1, done.stderr)
            for word in words:
                self.assertIn(word, done.stderr)
            for secret in (AS_TOKEN, HS_TOKEN, "another-token-0003"):
                self.assertNotIn(secret, done.stderr)


class AsDelegation(AsBase):
    def test_a_leave_is_managed_as_the_user(self):
        hs, sfu, s = self.site("own.test")
        user, room_id = "@alice:own.test", "!room:own.test"
        room, identity = hash_of(room_id, "m.call#ROOM"), hash_of(user, "memberABC")
        hs.joined.add((room_id, user))
        hs.delayed[user, "syd_x"] = {"delay_id": "syd_x", "room_id": room_id, "type": "m.rtc.member", "delay_ms": 10000,
                                     "delayed_since_ts": 1, "content": {}}
        path = CLIENT + "/delegate_delayed_leave"
        self.assertEqual(self.ask(s, path, user, body(s.url, delay_id="syd_x")), (200, {}))
        self.assertEqual(hs.actions, [])
        sfu.rooms[room] = {identity: "PA_x"}
        self.assertEqual(s.webhook("participant_joined", room, identity), 200)
        action = wait(lambda: hs.actions, 5, "restart")[0]
        self.assertEqual(action[1:], ("restart", "syd_x", user))
        sfu.rooms[room] = {}
        self.assertEqual(s.webhook("participant_left", room, identity, "CLIENT_INITIATED"), 200)
        wait(lambda: [a for a in hs.actions if a[1:] == ("send", "syd_x", user)], 3, "send")

    def test_refusals(self):
        hs, _, s = self.site("own.test")
        user, room_id, path = "@alice:own.test", "!room:own.test", CLIENT + "/delegate_delayed_leave"
        self.assert_error(self.ask(s, path, user, body(s.url)), 400, "M_BAD_JSON")
        self.assert_error(self.ask(s, path, user, body("wss://x", delay_id="syd_x")), 400, "M_INVALID_PARAM")
        self.assert_error(self.ask(s, path, user, body(s.url, delay_id="syd_x")), 403, "M_FORBIDDEN")
        hs.joined.add((room_id, user))
        self.assert_error(self.ask(s, path, user, body(s.url, delay_id="syd_x")), 400, "M_INVALID_PARAM")
        self.assert_error(self.ask(s, path, user, body(s.url, delay_id="../x")), 400, "M_INVALID_PARAM")
        hs.delayed[user, "syd_x"] = {"room_id": "!other:own.test", "delay_ms": 10000}
        self.assert_error(self.ask(s, path, user, body(s.url, delay_id="syd_x")), 400, "M_INVALID_PARAM")
        hs.delayed["@bob:own.test", "syd_y"] = {"room_id": room_id, "delay_ms": 10000}
        self.assert_error(self.ask(s, path, user, body(s.url, delay_id="syd_y")), 400, "M_INVALID_PARAM")
        hs.override = lambda r: (500, "text/plain", "") if DELAYED in r["path"] else None
        self.assert_error(self.ask(s, path, user, body(s.url, delay_id="syd_x")), 503, "M_UNKNOWN")

    def test_without_delegation_the_endpoint_is_not_there(self):
        _, _, s = self.site("own.test", FOCI_JWT_DELEGATION="false")
        self.assert_error(self.ask(s, CLIENT + "/delegate_delayed_leave", "@a:own.test", {}), 404, "M_UNRECOGNIZED")


class AsMonitor(AsBase):
    def join(self, hs, sfu, s, user, member="memberABC"):
        hs.joined.add(("!room:own.test", user))
        status, answer = self.ask(s, CLIENT + "/get_token", user, {**body(s.url), "member_id": member})
        self.assertEqual(status, 200, s.text())
        c = claims(answer["jwt"])
        sfu.rooms[c["video"]["room"]][c["sub"]] = "PA_x"
        return c["video"]["room"], c["sub"]

    def test_who_leaves_the_room_leaves_the_call(self):
        hs, sfu, s = self.site("own.test", LIVEKIT_MEMBERSHIP_CHECK_INTERVAL_SECONDS="1")
        room, alice = self.join(hs, sfu, s, "@alice:own.test")
        _, bob = self.join(hs, sfu, s, "@bob:own.test")
        sfu.rooms[room]["a guest of another kind"] = "PA_y"
        wait(lambda: len(hs.asked_membership()) >= 4, 10, "membership is asked for")
        self.assertEqual(len(sfu.rooms[room]), 3)
        hs.joined.discard(("!room:own.test", "@alice:own.test"))
        wait(lambda: alice not in sfu.rooms[room], 4, "removal")
        # On doubt nobody is kicked.
        hs.override = lambda r: (500, "text/plain", "") if r["path"].endswith("is_joined") else None
        hs.joined.clear()
        time.sleep(2.5)
        self.assertEqual(set(sfu.rooms[room]), {bob, "a guest of another kind"})
        self.assertEqual(sfu.calls("DeleteRoom"), [])

    def test_who_is_in_a_call_is_known_after_a_restart(self):
        state = {"FOCI_JWT_STATE_DIR": tempfile.mkdtemp(dir=self.folder.name),
                 "LIVEKIT_MEMBERSHIP_CHECK_INTERVAL_SECONDS": "1"}
        hs, sfu, s = self.site("own.test", **state)
        room, alice = self.join(hs, sfu, s, "@alice:own.test")
        s.stop()
        hs.joined.clear()
        again = self.own(AsService(s.env))
        wait(lambda: alice not in sfu.rooms.get(room, {}), 4, again.text)

    def test_idle_service_asks_nothing(self):
        hs, sfu, s = self.site("own.test", LIVEKIT_MEMBERSHIP_CHECK_INTERVAL_SECONDS="1")
        time.sleep(2.2)
        self.assertEqual((len(hs.requests), sfu.calls()), (0, []))
