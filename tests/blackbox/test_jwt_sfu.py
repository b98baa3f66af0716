# SPDX-License-Identifier: Apache-2.0
"""Who may make rooms, and the calls to the SFU: authorization-service section 6."""
import threading
import time

from jwt_standins import fields
from jwt_testbed import Base, KEY, PHRASE, ROOM, claims, free_port, hash_of, legacy, matrix2, wait

NO_ROOM = (500, "M_UNKNOWN", "Unable to create room on SFU")
HEADERS = {"content-type": "application/protobuf", "accept": "application/protobuf"}


class Access(Base):
    """6.1."""
    section = 6

    def test_the_list(self):
        hs, sfu = self.homeserver(), self.sfu()
        port = hs.port
        rows = [("*", True), (hs.name, True), (f"a.example,{hs.name}", True), (f"a.example {hs.name}", True),
                (f" a.example ,\n\t{hs.name} ", True), (f"*,{hs.name}", True), ("*,a.example", False), ("a.example *", False),
                ("a.example", False), (",", False), ("127.0.0.1", False), (f"127.0.0.1:{port}0", False), (f"{hs.name}.", False)]
        for listed, full in rows:
            with self.subTest(listed):
                s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": listed,
                                  "LIVEKIT_INSECURE_SKIP_VERIFY_TLS": PHRASE})
                rooms = len(sfu.created())
                for path, body in (("/sfu/get", legacy(hs.name)), ("/get_token", matrix2(hs.name, hs.user))):
                    status, answer = s.post(path, body)
                    self.assertEqual(status, 200, s.text())
                    # The grants are the same for both classes.
                    self.assertEqual(claims(answer["jwt"])["video"], {
                        "roomJoin": True, "room": ROOM, "canPublish": True, "canSubscribe": True, "canUpdateOwnMetadata": True})
                self.assertEqual(len(sfu.created()) - rooms, 2 if full else 0)
                # Without an override the client-server API is looked up, and there is none.
                text = ("Unable to resolve client-server API" if full else
                        "Delegation of delayed events is only supported for full access users")
                body = legacy(hs.name, delay_id="none_x", delay_timeout=1000)
                self.assert_error(s.post("/sfu/get", body), 400, "M_BAD_JSON", text)

    def test_names_are_compared_letter_by_letter(self):
        hs, sfu = self.homeserver(), self.sfu()
        name = f"localhost:{hs.port}"
        hs.users["good"] = f"@alice:{name}"
        for listed, rooms in ((name, 1), (f"LOCALHOST:{hs.port}", 0), (f"Localhost:{hs.port}", 0), ("localhost", 0)):
            with self.subTest(listed):
                before = len(sfu.created())
                s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": listed,
                                  "LIVEKIT_INSECURE_SKIP_VERIFY_TLS": PHRASE})
                self.assertEqual(s.post("/sfu/get", legacy(name))[0], 200)
                self.assertEqual(len(sfu.created()) - before, rooms)

    def test_the_sfu_is_not_needed_by_restricted_users(self):
        hs = self.homeserver()
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}", "LIVEKIT_INSECURE_SKIP_VERIFY_TLS": PHRASE})
        self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)

    def test_star_is_warned_about(self):
        s = self.service({"LIVEKIT_FULL_ACCESS_HOMESERVERS": "*"})
        self.assertEqual([e["level"] for e in s.events("config.everybody")], ["warn"])


class CreateRoom(Base):
    """6.2."""
    section = 6

    def test_the_call_exactly(self):
        hs, sfu, s = self.trio()
        for path, body in (("/sfu/get", legacy(hs.name)), ("/get_token", matrix2(hs.name, hs.user)),
                           ("/sfu/get", legacy(hs.name, delay_id="none", delay_timeout=1000)),
                           ("/get_token", matrix2(hs.name, hs.user, delay_id="none", delay_timeout=1000))):
            with self.subTest(f"{path} {'with' if 'delay_id' in body else 'without'} delay"):
                before = len(sfu.created())
                status, answer = s.post(path, body)
                self.assertEqual(status, 200, s.text())
                self.assertEqual(len(sfu.created()), before + 1)
                call = sfu.created()[-1]
                self.assertEqual((call["method"], call["path"]), ("POST", "/twirp/livekit.RoomService/CreateRoom"))
                for name, value in HEADERS.items():
                    self.assertEqual(call["headers"].get(name), value, name)
                self.assertTrue(call["headers"]["twirp-version"].startswith("v8."), call["headers"])
                room = claims(answer["jwt"])["video"]["room"]
                self.assertEqual(call["body"], b"\x0a\x2b" + room.encode() + b"\x10\xac\x02\x50\x14")
                grant = claims(call["headers"]["authorization"].removeprefix("Bearer "))
                self.assertEqual(grant["video"], {"roomCreate": True})
                self.assertEqual((grant["iss"], "sub" in grant), (KEY, False))
                self.assertGreater(grant["exp"], time.time())
                self.assertLessEqual(grant["nbf"], time.time() + 1)

    def test_the_example_body(self):
        room = hash_of("!room:example.com", "m.call#ROOM")
        want = bytes.fromhex("0a2b6b726a3264677877324b36454f6d396865344766514a364a73535657664a386137426b796a5a63536d787310ac025014")
        self.assertEqual(b"\x0a\x2b" + room.encode() + b"\x10\xac\x02\x50\x14", want)

    def test_no_room_for_a_delegation(self):
        hs, sfu, s = self.trio()
        body = matrix2(hs.name, hs.user, delay_id="none", delay_timeout=1000)
        self.assertEqual(s.post("/delegate_delayed_leave", body)[0], 200)
        self.assertEqual(sfu.created(), [])

    def test_urls(self):
        hs, sfu = self.homeserver(), self.sfu()
        tls = self.sfu(tls=self.tls)
        plain, at = f"127.0.0.1:{sfu.port}", f"127.0.0.1:{tls.port}"
        twirp = "/twirp/livekit.RoomService/CreateRoom"
        rows = [(f"ws://{plain}", None, twirp), (f"ws://{plain}/", None, twirp), (f"http://{plain}", None, twirp),
                (f"ws://{plain}/livekit/sfu", None, f"/livekit/sfu{twirp}"), (f"ws://{plain}/livekit/sfu/", None, f"/livekit/sfu{twirp}"),
                (f"wss://{at}", None, twirp), (f"https://{at}/x", None, f"/x{twirp}"),
                ("wss://public.example/livekit/sfu", f"http://{plain}/base/", f"/base{twirp}"),
                ("wss://public.example", f"ws://{plain}", twirp), ("wss://public.example", f"wss://{at}", twirp)]
        for url, internal, path in rows:
            with self.subTest(f"{url} {internal}".replace(plain, "SFU").replace(at, "SFU with TLS")):
                server = tls if at in (internal or url) else sfu
                s = self.service({"LIVEKIT_URL": url, "LIVEKIT_INTERNAL_URL": internal, "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name})
                status, answer = s.post("/sfu/get", legacy(hs.name))
                self.assertEqual((status, answer.get("url")), (200, url), s.text())
                self.assertEqual(server.created()[-1]["path"], path)

    def test_certificate_of_the_sfu(self):
        hs, sfu = self.homeserver(), self.sfu(tls=self.tls)
        for env, works in (({"LIVEKIT_CA_FILE": str(self.ca)}, True), ({"LIVEKIT_INSECURE_SKIP_VERIFY_TLS": PHRASE}, True),
                           ({}, False)):
            with self.subTest(str(list(env))):
                s = self.service({"LIVEKIT_CA_FILE": None, "LIVEKIT_URL": f"wss://127.0.0.1:{sfu.port}", **env,
                                  "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name, "LIVEKIT_OPENID_URL_OVERRIDES":
                                  f"{hs.name}=http://127.0.0.1:{self.plain(hs)}"})
                answer = s.post("/sfu/get", legacy(hs.name))
                if works:
                    self.assertEqual(answer[0], 200, s.text())
                else:
                    self.assert_error(answer, *NO_ROOM)
                    self.assertEqual(s.failures()[-1], ("create_room", "tls"))

    def plain(self, hs):
        """A twin of the homeserver without TLS."""
        twin = self.homeserver(tls=None)
        twin.users = hs.users
        return twin.port

    def test_answers_that_are_refused(self):
        hs, sfu, s = self.trio()
        rows = {
            "401": (401, "application/json", {"code": "unauthenticated", "msg": "permissions denied"}),
            "401 of the SFU's key check": (401, "text/plain", f"invalid API key: {KEY}"),
            "403": (403, "application/json", {"code": "permission_denied", "msg": "x"}),
            "404 of a proxy": (404, "text/html", "<html>"), "502": (502, "text/html", "bad gateway"), "503": (503, "text/plain", ""),
            "500": (500, "application/json", {"code": "internal", "msg": "x"}), "400": (400, "text/plain", "x"),
            "429": (429, "application/json", {"code": "resource_exhausted", "msg": "x"}),
            "301": (301, "text/plain", "", ("Location", f"http://127.0.0.1:{sfu.port}/twirp/livekit.RoomService/CreateRoom")),
            "no message": (200, "application/protobuf", b"\xff\xff"), "cut": None,
        }
        causes = set()
        for name, answer in rows.items():
            with self.subTest(name):
                sfu.override = lambda _r, a=answer: a
                before = len(sfu.created())
                got = s.post("/sfu/get", legacy(hs.name))
                self.assert_error(got, *NO_ROOM)
                self.assertNotIn("jwt", got[1])
                # One retry where the connection broke, and only there; besides, one for a kept connection that was dead.
                self.assertLessEqual(len(sfu.created()) - before, 3 if name == "cut" else 1)
                step, cause = s.failures()[-1]
                self.assertEqual(step, "create_room")
                causes.add(cause)
        # An operator can tell wrong key, wrong URL, proxy and SFU apart (9.30).
        self.assertGreaterEqual(len(causes), 4, causes)
        sfu.override = None
        self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)

    def test_nobody_there(self):
        hs = self.homeserver()
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name})
        begin = time.monotonic()
        self.assert_error(s.post("/sfu/get", legacy(hs.name)), *NO_ROOM)
        self.assertLess(time.monotonic() - begin, 3)
        self.assertEqual(s.failures()[-1], ("create_room", "connect"))
        # The log says so also when nobody asks for a token (P5, 9.30).
        self.assertEqual([e["step"] for e in wait(lambda: s.events("sfu.not_ready"), 3, s.text)], ["connect"])

    def test_one_that_hangs(self):
        hs, sfu, s = self.trio()
        sfu.delay = 60
        begin = time.monotonic()
        self.assert_error(s.post("/sfu/get", legacy(hs.name)), *NO_ROOM)
        self.assertTrue(4 < time.monotonic() - begin < 8)

    def test_a_room_for_every_request_also_at_once(self):
        hs, sfu, s = self.trio()
        sfu.override = None
        threads = [threading.Thread(target=s.post, args=("/sfu/get", legacy(hs.name))) for _ in range(10)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual([fields(c["body"])[1].decode() for c in sfu.created()], [ROOM] * 10)


class GetParticipant(Base):
    """6.3, seen by what a delegated leave does with the answer."""
    section = 6

    def delegate(self, hs, s, n=1, timeout=60000):
        body = matrix2(hs.name, hs.user, delay_id=f"syd_{n}", delay_timeout=timeout)
        body["member"] = {**body["member"], "id": f"member-{n}"}
        self.assertEqual(s.post("/delegate_delayed_leave", body)[0], 200)
        return hash_of(hs.user, "DEVICE", f"member-{n}")

    def test_the_call_exactly(self):
        hs, sfu, s = self.trio()
        sfu.lists = False  # as the stand-in of the original's tests
        identity = self.delegate(hs, s)
        call = wait(lambda: sfu.calls("GetParticipant"), 3, s.text)[0]
        self.assertEqual((call["method"], call["path"]), ("POST", "/twirp/livekit.RoomService/GetParticipant"))
        for name, value in HEADERS.items():
            self.assertEqual(call["headers"].get(name), value, name)
        asked = {fields(c["body"])[2].decode() for c in sfu.calls("GetParticipant")}
        self.assertEqual(fields(call["body"])[1].decode(), ROOM)
        self.assertLessEqual({identity}, asked)
        grant = claims(call["headers"]["authorization"].removeprefix("Bearer "))
        self.assertEqual(grant["video"], {"roomAdmin": True, "room": ROOM})
        self.assertNotIn("sub", grant)

    def test_what_counts_as_present(self):
        hs, sfu, s = self.trio()
        sfu.lists = False
        sfu.rooms[ROOM] = {hash_of(hs.user, "DEVICE", "member-1"): "PA_1"}
        self.delegate(hs, s)
        wait(lambda: hs.calls("restart", "syd_1"), 5, s.text)

    def test_only_not_found_of_the_sfu_counts_as_absent(self):
        """One that was there is sent away by not_found, and by nothing else."""
        hs = self.homeserver()
        rows = {
            "proxy's 404": ((404, "text/html", "<html>"), False), "bad_route": ((404, "application/json", {"code": "bad_route", "msg": ""}), False),
            "500": ((500, "application/json", {"code": "internal", "msg": "x"}), False), "502": ((502, "text/html", "x"), False),
            "401": ((401, "application/json", {"code": "unauthenticated", "msg": "x"}), False), "cut": (None, False),
            "200 of rubbish": ((200, "application/protobuf", b"\xff\xff"), False),
            "not_found": ((404, "application/json", {"code": "not_found", "msg": "participant does not exist"}), True),
        }
        beds = {}
        for name, (answer, _) in rows.items():
            sfu = self.sfu()
            sfu.lists = False
            s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name,
                              "LIVEKIT_CS_API_URL_OVERRIDES": f"{hs.name}={hs.url}", "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS": "1"})
            n = len(beds) + 1
            sfu.rooms[ROOM] = {hash_of(hs.user, "DEVICE", f"member-{n}"): "PA_1"}
            self.delegate(hs, s, n)
            beds[name] = sfu, s, n, answer
        for name, (sfu, s, n, answer) in beds.items():
            wait(lambda n=n: hs.calls("restart", f"syd_{n}"), 5, s.text)
            sfu.methods["GetParticipant"] = lambda _r, a=answer: a
            beds[name] = sfu, s, n, len(sfu.lookups())
        for name, (sfu, s, n, before) in beds.items():
            with self.subTest(name):
                wait(lambda a=sfu, b=before: len(a.lookups()) > b + 1, 6, s.text)
                if rows[name][1]:
                    wait(lambda k=n: hs.calls("send", f"syd_{k}"), 6, s.text)
                else:
                    self.assertEqual(hs.calls("send", f"syd_{n}"), [])

    def test_lists_are_for_rooms_with_several(self):
        # Ours: one question for all jobs of a room; where an SFU has no lists it is asked for each.
        for lists in (True, False):
            with self.subTest(f"lists {lists}"):
                hs, sfu, s = self.trio()
                sfu.lists = lists
                sfu.rooms[ROOM] = {hash_of(hs.user, "DEVICE", f"member-{n}"): f"PA_{n}" for n in range(1, 9)}
                for n in range(1, 9):
                    self.delegate(hs, s, n)
                wait(lambda h=hs: len(h.calls("restart")) >= 8, 8, s.text)
