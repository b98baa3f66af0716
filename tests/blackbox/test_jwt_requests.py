# SPDX-License-Identifier: Apache-2.0
"""Endpoints, CORS, bodies, errors, webhooks' verification: authorization-service section 1, from its tables.

455 recorded requests are in test_jwt_recorded.py; what stands there already is not repeated here."""
import asyncio
import base64
import hashlib
import json
import signal
import socket
import threading
import time

from jwt_testbed import (Base, CORS, KEY, PHRASE, REFUSED, ROOM, SECRET, claims, hash_of, legacy, matrix2, sign, url64, wait,
                         webhook_token)

CLIENT = ("/sfu/get", "/get_token", "/delegate_delayed_leave")
ORIGIN = {"Origin": "https://call.example"}
NOT_JSON = (400, "M_NOT_JSON", "Error reading request")


def delegation(hs, delay_id="syd_x", timeout=8000, **more):
    return matrix2(hs.name, hs.user, delay_id=delay_id, delay_timeout=timeout, **more)


def bodies(hs):
    """A good body for each endpoint, and how its identifiers are called."""
    return {"/sfu/get": legacy(hs.name), "/get_token": matrix2(hs.name, hs.user),
            "/delegate_delayed_leave": delegation(hs)}


class Routing(Base):
    """1.1, 1.2, 1.8, 1.9."""
    section = 1

    def test_healthz(self):
        s = self.service({})
        for path in ("/healthz", "/healthz?x=1", "/healthz/", "//healthz", "/livekit/jwt/healthz"):
            for method, want in (("GET", 200), ("HEAD", 200), ("POST", 405), ("PUT", 405), ("OPTIONS", 405)):
                with self.subTest(f"{method} {path}"):
                    status, headers, body = s.request(method, path, "{}" if method in ("POST", "PUT") else None)
                    self.assertEqual((status, body), (want, b""))
                    self.assertNotIn("access-control-allow-origin", headers)

    def test_cors_stands_on_every_status(self):
        hs, sfu, s = self.trio()
        sfu.override = lambda r: (500, "text/plain", "x")
        big = "x" * ((1 << 20) + 1)
        cases = [("OPTIONS", 200, None), ("GET", 405, None), ("HEAD", 405, None), ("PUT", 405, "{}"), ("DELETE", 405, None),
                 ("PATCH", 405, "{}"), ("FOO", 405, None), ("POST", 400, "{"), ("POST", 400, "{}"), ("POST", 413, big)]
        for path in CLIENT:
            good = bodies(hs)[path]
            refused = {**good, "openid_token": {**good["openid_token"], "access_token": "bad"}}
            more = [("POST", 401, json.dumps(refused))]
            more += [("POST", 500, json.dumps(good))] if path != CLIENT[2] else [("POST", 200, json.dumps(good))]
            for method, want, body in cases + more:
                with self.subTest(f"{method} {path} {want}"):
                    status, headers, data = s.request(method, path, body, ORIGIN)
                    self.assertEqual(status, want)
                    for name, value in {**CORS, "content-type": "application/json"}.items():
                        self.assertEqual(headers.get(name), value)
                    self.assertEqual("access-control-max-age" in headers, method == "OPTIONS")
                    self.assertEqual(headers.get("allow"), "POST, OPTIONS" if want == 405 else None)
                    self.assertNotIn("vary", headers)
                    if method == "OPTIONS" or want == 405:
                        self.assertEqual(data, b"")

    def test_preflight_answers_whatever_is_asked(self):
        s = self.service({})
        for path in CLIENT:
            for headers in ({}, ORIGIN, {"Origin": "null", "Access-Control-Request-Method": "PUT",
                                         "Access-Control-Request-Headers": "authorization, x-foo"}):
                with self.subTest(f"{path} {headers}"):
                    status, got, data = s.request("OPTIONS", path, None, headers)
                    self.assertEqual((status, data, got["access-control-allow-methods"]), (200, b"", "POST"))
                    self.assertNotIn("authorization", got["access-control-allow-headers"].lower())

    def test_paths(self):
        s = self.service({})
        found = ["{}", "{}/", "/{}", "/.{}", "/a/..{}", "{}?x=1", "/livekit/jwt{}", "/any/prefix{}"]
        missing = ["{}/x", "{}x", "/x{}/..", "{}%2f.."]
        for path in CLIENT:
            for form, want in [(f, 405) for f in found] + [(f, 404) for f in missing] + [(path.upper(), 404)]:
                target = form.format(path) if "{}" in form else form
                with self.subTest(target):
                    status, headers, _ = s.request("GET", target, None, ORIGIN)
                    self.assertEqual(status, want)
                    self.assertEqual(headers["access-control-allow-origin"], "*")
                    self.assertNotIn("location", headers)

    def test_404_is_as_the_originals_and_readable_by_browsers(self):
        s = self.service({})
        for method in ("GET", "POST", "OPTIONS", "HEAD"):
            for path in ("/", "/sfu", "/nope", "/favicon.ico", "/sfu/get/x"):
                with self.subTest(f"{method} {path}"):
                    status, headers, body = s.request(method, path, "{}" if method == "POST" else None, ORIGIN)
                    self.assertEqual((status, body), (404, b"" if method == "HEAD" else b"404 page not found\n"))
                    self.assertEqual(headers["content-type"], "text/plain; charset=utf-8")
                    self.assertEqual(headers["x-content-type-options"], "nosniff")
                    self.assertEqual(headers["access-control-allow-origin"], "*")

    def test_prefixes_of_the_operator(self):
        s = self.service({"FOCI_JWT_PATH_PREFIXES": "/livekit/jwt/"})
        for path, want in (("/sfu/get", 405), ("/livekit/jwt/sfu/get", 405), ("/other/sfu/get", 404)):
            with self.subTest(path):
                self.assertEqual(s.request("GET", path)[0], want)

    def test_delegation_that_is_switched_off_is_404_with_cors(self):
        hs, _, s = self.trio(FOCI_JWT_DELEGATION="false")
        for method, body in (("POST", "{}"), ("POST", json.dumps(delegation(hs))), ("OPTIONS", None)):
            status, headers, _ = s.request(method, "/delegate_delayed_leave", body, ORIGIN)
            self.assertEqual((status, headers["access-control-allow-origin"]), (404, "*"))
        # The words that make Element Call ask again without the delay fields (8.4).
        self.assert_error(s.post("/sfu/get", legacy(hs.name, delay_id="x", delay_timeout=9000)), 400, "M_BAD_JSON")
        self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)

    def test_readyz_and_metrics(self):
        hs, sfu, s = self.trio()
        status, headers, body = s.request("GET", "/readyz")
        self.assertEqual((status, headers["content-type"]), (200, "application/json"), body)
        s.post("/sfu/get", legacy(hs.name))
        status, headers, body = s.request("GET", "/metrics")
        self.assertEqual((status, headers["content-type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertIn(b'endpoint="sfu_get"', body)
        # Not for those who come through a proxy.
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
            self.assertEqual(s.request("GET", "/metrics", None, {name: "192.0.2.1"})[0], 404)
        sfu.close()
        time.sleep(2.1)  # what readiness found out is kept for 2 s
        status, _, body = s.request("GET", "/readyz")
        self.assertEqual(status, 503, body)
        self.assertEqual(s.request("GET", "/healthz")[0], 200)

    def test_healthz_is_there_within_15_s_of_the_start(self):
        # [T]: the original's tests poll every 50 ms with a second's patience.
        begin = time.monotonic()
        s = self.service({})
        self.assertEqual(s.request("GET", "/healthz", timeout=1)[0], 200)
        self.assertLess(time.monotonic() - begin, 15)


class Order(Base):
    """1.3, 1.5, 1.6, 1.7: which check comes first, and what each failure is."""
    section = 1

    def test_each_step_of_the_table(self):
        hs, sfu, s = self.trio()
        other = self.homeserver()  # not on the list: restricted, and refused since it is on loopback
        good = bodies(hs)
        for path in CLIENT:
            def ask(change=None, drop=()):
                body = {k: v for k, v in {**good[path], **(change or {})}.items() if k not in drop}
                before = len(hs.requests), len(sfu.calls())
                answer = s.post(path, body)
                return (*answer, len(hs.requests) - before[0], len(sfu.calls("CreateRoom")))
            with self.subTest(f"{path} 2 before 3: unknown field and nothing else"):
                status, answer, asked, _ = ask({"foo": 1}, drop=tuple(good[path]))
                self.assertEqual((status, answer["errcode"], answer["error"], asked), (*NOT_JSON, 0))
            with self.subTest(f"{path} 3 before 4: missing field and a bad token"):
                status, answer, asked, _ = ask({"openid_token": {"access_token": "bad", "matrix_server_name": hs.name}},
                                               drop=("room", "room_id"))
                self.assertEqual((status, answer["errcode"], asked), (400, "M_BAD_JSON", 0))
            with self.subTest(f"{path} 4: one look-up, then 401, and no room"):
                rooms = len(sfu.created())
                status, answer, asked, _ = ask({"openid_token": {"access_token": "bad", "matrix_server_name": hs.name}})
                self.assertEqual((status, answer["errcode"], answer["error"], asked),
                                 (401, "M_UNAUTHORIZED", REFUSED, 1))
                self.assertEqual(len(sfu.created()), rooms)
            if path != "/sfu/get":
                with self.subTest(f"{path} 6: another user is claimed"):
                    member = {**good[path]["member"], "claimed_user_id": f"@mallory:{hs.name}"}
                    status, answer, asked, _ = ask({"member": member})
                    self.assertEqual((status, answer["error"], asked), (401, REFUSED, 1))
            with self.subTest(f"{path} no WWW-Authenticate"):
                self.assertNotIn("www-authenticate", s.request("POST", path, {**good[path], "openid_token": {
                    "access_token": "bad", "matrix_server_name": hs.name}})[1])
        self.assertEqual(other.connections, 0)

    def test_missing_fields_in_their_order_and_words(self):
        hs, _, s = self.trio()
        openid = {"access_token": "good", "matrix_server_name": hs.name}
        member = matrix2(hs.name, hs.user)["member"]
        room, token = "Missing room parameter", "Missing OpenID token parameters"
        slot = "The request body is missing `room_id` or `slot_id`"
        delay = "The request body is missing `delay_id` or `delay_timeout`"

        def members(a):
            return f"The request body `member` is missing {a}`id`, `claimed_user_id` or `claimed_device_id`"

        def openids(a):
            return f"The request body `openid_token` is missing {a}`access_token` or `matrix_server_name`"
        rows = [
            ("/sfu/get", {}, room), ("/sfu/get", {"room": "", "openid_token": openid}, room),
            ("/sfu/get", {"room": "r"}, token), ("/sfu/get", {"room": "r", "openid_token": {}}, token),
            ("/sfu/get", {"room": "r", "openid_token": {"access_token": "x"}}, token),
            ("/sfu/get", {"room": "r", "openid_token": {"matrix_server_name": "x"}}, token),
            ("/sfu/get", {"room": "r", "delay_id": "x"}, token),
            ("/sfu/get", {"room": "r", "openid_token": openid, "delay_id": "x"}, delay),
            ("/sfu/get", {"room": "r", "openid_token": openid, "delay_timeout": 1}, delay),
            ("/sfu/get", {"room": "r", "openid_token": openid, "delay_id": "x", "delay_timeout": 0}, delay),
            ("/sfu/get", {"room": "r", "openid_token": openid, "delay_id": "x", "delay_timeout": -1}, delay),
        ]
        for path, article in (("/get_token", "a "), ("/delegate_delayed_leave", "")):
            base = {"room_id": "r", "slot_id": "s"}
            rows += [(path, {}, slot), (path, {"room_id": "r"}, slot), (path, {"slot_id": "r"}, slot),
                     (path, base, members(article)), (path, {**base, "member": {}}, members(article)),
                     (path, {**base, "openid_token": {}}, members(article)),
                     (path, {**base, "member": member}, openids(article)),
                     (path, {**base, "member": member, "delay_id": "x"}, openids(article)),
                     (path, {**base, "member": member, "openid_token": openid, "delay_id": "x"}, delay),
                     (path, {**base, "member": member, "openid_token": openid, "delay_timeout": 1}, delay)]
            rows += [(path, {**base, "openid_token": openid, "member": {k: v for k, v in member.items() if k != drop}},
                      members(article)) for drop in member]
        rows.append(("/delegate_delayed_leave", {"room_id": "r", "slot_id": "s", "member": member, "openid_token": openid},
                     delay))
        for path, body, text in rows:
            with self.subTest(f"{path} {sorted(body)}"):
                self.assert_error(s.post(path, body), 400, "M_BAD_JSON", text)
        self.assertEqual(hs.requests, [])

    def test_negative_timeout_without_an_id_is_none(self):
        hs, _, s = self.trio()
        self.assertEqual(s.post("/sfu/get", legacy(hs.name, delay_timeout=-5))[0], 200)
        self.assertEqual(s.post("/get_token", matrix2(hs.name, hs.user, delay_timeout=-5))[0], 200)
        self.assert_error(s.post("/delegate_delayed_leave", matrix2(hs.name, hs.user, delay_timeout=-5)), 400, "M_BAD_JSON")

    def test_delegation_of_restricted_users_and_bad_tokens(self):
        # Steps 4 and 7: who it is comes first.
        hs, sfu = self.homeserver(), self.sfu()
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": "x.example",
                          "LIVEKIT_INSECURE_SKIP_VERIFY_TLS": PHRASE})
        text = "Delegation of delayed events is only supported for full access users"
        for path, status, code in (("/sfu/get", 400, "M_BAD_JSON"), ("/get_token", 400, "M_BAD_JSON"),
                                   ("/delegate_delayed_leave", 403, "M_FORBIDDEN")):
            body = {**bodies(hs)[path], "delay_id": "x", "delay_timeout": 1000}
            with self.subTest(path):
                self.assert_error(s.post(path, body), status, code, text)
                body["openid_token"]["access_token"] = "bad"
                self.assert_refused(s.post(path, body))
        self.assertEqual(sfu.calls(), [])

    def test_success_bodies(self):
        hs, sfu, s = self.trio()
        for path in ("/sfu/get", "/get_token"):
            with self.subTest(path):
                status, headers, data = s.request("POST", path, bodies(hs)[path])
                self.assertEqual((status, list(json.loads(data))), (200, ["url", "jwt"]))
                self.assertEqual(json.loads(data)["url"], f"ws://127.0.0.1:{sfu.port}/")
                self.assertTrue(data.endswith(b"}\n"))
                self.assertEqual(headers["cache-control"], "no-store")
                self.assertEqual(len(headers["x-request-id"]), 16)
        status, headers, data = s.request("POST", "/delegate_delayed_leave", delegation(hs))
        self.assertEqual((status, data, headers["content-type"]), (200, b"{}\n", "application/json"))

    def test_url_is_handed_out_as_configured(self):
        hs, sfu = self.homeserver(), self.sfu()
        for url in ("wss://sfu.example/livekit/sfu", "ws://sfu.example:7880/", "wss://sfu.example/a&b", "https://sfu.example"):
            with self.subTest(url):
                s = self.service({"LIVEKIT_URL": url, "LIVEKIT_INTERNAL_URL": f"http://127.0.0.1:{sfu.port}",
                                  "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name})
                self.assertEqual(s.post("/sfu/get", legacy(hs.name))[1]["url"], url)

    def test_the_delayed_event_url_of_clients_is_ignored(self):
        hs, _, s = self.trio()
        attacker = self.homeserver(tls=None)
        body = legacy(hs.name, delay_id="syd_x", delay_timeout=1000, delay_cs_api_url=attacker.url)
        self.assertEqual(s.post("/sfu/get", body)[0], 200)
        wait(lambda: hs.calls("send", "syd_x"), 5, s.text)
        self.assertEqual(attacker.connections, 0)

    def test_503_once_it_stops(self):
        hs, _, s = self.trio()
        hs.delay = 1.5
        held = threading.Thread(target=lambda: s.post("/sfu/get", legacy(hs.name)))
        held.start()
        wait(hs.lookups, 5, "look-up")
        with socket.create_connection(("127.0.0.1", s.port)) as c:
            body = json.dumps(delegation(hs)).encode()
            head = f"POST /delegate_delayed_leave HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            c.sendall(head + body[:10])  # a request that began before the stop and is decided after it
            time.sleep(0.1)
            s.process.send_signal(signal.SIGTERM)
            wait(lambda: s.events("service.stopping"), 5, s.text)
            c.sendall(body[10:])
            c.settimeout(10)
            answer = c.recv(65536)
        held.join()
        self.assertIn(b" 503 ", answer.split(b"\r\n")[0], answer)
        self.assertIn(b'{"errcode":"M_UNKNOWN","error":"Service is shutting down"}\n', answer)


class Json(Base):
    """1.4, and the limits of 1.5."""
    section = 1

    def test_reading_rules(self):
        hs, sfu, s = self.trio()
        good = json.dumps(legacy(hs.name)).encode()
        missing = (400, "M_BAD_JSON", "Missing room parameter")
        ok = 200, None, None
        device = b'"DEVICE"'
        nested = b'{"a":' * 40 + b"1" + b"}" * 40
        rows = [
            ("empty", b"", NOT_JSON), ("truncated", good[:-1], NOT_JSON), ("{not json", b"{not json", NOT_JSON),
            ("array", b"[]", NOT_JSON), ("string", b'"x"', NOT_JSON), ("number", b"1", NOT_JSON), ("bool", b"true", NOT_JSON),
            ("null", b"null", missing), ("object", b"{}", missing), ("spaces", b"  \n", NOT_JSON),
            ("field null", good.replace(b'"!room:example.com"', b"null"), missing),
            ("BOM", b"\xef\xbb\xbf" + good, NOT_JSON), ("leading space", b" \r\n\t" + good, ok),
            ("trailing bytes", good + b"garbage", ok), ("trailing value", good + b"{}", ok),
            ("control character", good.replace(device, b'"D\x01"'), NOT_JSON),
            ("line feed in a string", good.replace(device, b'"D\n"'), NOT_JSON),
            ("invalid UTF-8", good.replace(device, b'"D\xff"'), ok), ("lone surrogate", good.replace(device, b'"\\ud800"'), ok),
            ("duplicate key", b'{"room":"other",' + good[1:], ok),
            ("duplicate object", b'{"openid_token":{"access_token":"bad"},' + good[1:], ok),
            ("letter case", good.replace(b'"room"', b'"ROOM"').replace(b'"openid_token"', b'"OpenID_Token"'), ok),
            ("folds of K", good.replace(b'"openid_token"', '"openid_toKen"'.replace("K", "\u212a").encode()), ok),
            ("unknown at top", good[:-1] + b',"foo":1}', NOT_JSON),
            ("unknown in openid_token", good.replace(b'"expires_in"', b'"foo": 1, "expires_in"'), NOT_JSON),
            ("timeout as float", good[:-1] + b',"delay_timeout":1.5}', NOT_JSON),
            ("timeout true", good[:-1] + b',"delay_timeout":true}', NOT_JSON),
            ("timeout text", good[:-1] + b',"delay_timeout":"x"}', NOT_JSON),
            ("timeout 1e30", good[:-1] + b',"delay_timeout":1e30}', NOT_JSON),
            ("timeout outside 64 bit", good[:-1] + b',"delay_timeout":9223372036854775808}', NOT_JSON),
            ("expires_in text", good.replace(b'in": 3600', b'in": "3600"'), NOT_JSON),
            ("expires_in 1.5", good.replace(b'in": 3600', b'in": 1.5'), NOT_JSON), ("expires_in -1", good.replace(b'in": 3600', b'in": -1'), ok),
            ("room number", good.replace(b'"!room:example.com"', b"7"), NOT_JSON),
            ("nesting 40", nested, NOT_JSON), ("nesting 100000", b"[" * 100000, NOT_JSON),
            ("gzip", b"\x1f\x8b\x08\0\0\0\0\0\0\3", NOT_JSON), ("UTF-16", good.decode().encode("utf-16"), NOT_JSON),
        ]
        for name, body, (status, code, text) in rows:
            with self.subTest(name):
                got, answer = s.post("/sfu/get", body)
                self.assertEqual(got, status, answer)
                if code:
                    self.assertEqual((answer["errcode"], answer["error"]), (code, text))
        self.assertEqual(len(hs.lookups()), sum(1 for r in rows if r[2] is ok))
        self.assertEqual(len(sfu.created()), len(hs.lookups()))

    def test_what_is_repaired_is_seen_in_the_token(self):
        hs, _, s = self.trio()
        good = json.dumps(legacy(hs.name)).encode()
        for raw, want in ((b'"D\xff"', "D\ufffd"), (b'"\\ud800"', "\ufffd"), (b'"\\u0041\\u00e4"', "Aä"),
                          (b'"\\ud83d\\ude00"', "😀"), (b'""', ""), (b"null", "")):
            with self.subTest(raw.decode(errors="replace")):
                status, answer = s.post("/sfu/get", good.replace(b'"DEVICE"', raw))
                self.assertEqual((status, claims(answer["jwt"])["sub"]), (200, f"{hs.user}:{want}"))
        status, answer = s.post("/sfu/get", b'{"room":"other",' + good[1:])
        self.assertEqual(claims(answer["jwt"])["video"]["room"], ROOM)

    def test_ours_beyond_the_original(self):
        """[B]: decimal strings and whole floats as timeout; a switch for unknown fields; no NUL; lengths; sizes."""
        hs, _, s = self.trio()
        good = legacy(hs.name, delay_id="syd_b")
        for value in ('"8000"', "8000.0", "8e3"):
            with self.subTest(f"timeout {value}"):
                self.assertEqual(s.post("/sfu/get", json.dumps(good)[:-1] + f', "delay_timeout": {value}}}')[0], 200)
        two = matrix2(hs.name, hs.user)
        limits = [(255, "device_id", "/sfu/get", lambda v: {**legacy(hs.name), "device_id": v}),
                  (1024, "room", "/sfu/get", lambda v: {**legacy(hs.name), "room": v}),
                  (4096, "access_token", "/sfu/get", lambda v: legacy(hs.name, token=v)),
                  (255, "delay_id", "/sfu/get", lambda v: legacy(hs.name, delay_id=v, delay_timeout=9000)),
                  (1024, "room_id", "/get_token", lambda v: {**two, "room_id": v}),
                  (255, "slot_id", "/get_token", lambda v: {**two, "slot_id": v}),
                  (255, "member.id", "/get_token", lambda v: {**two, "member": {**two["member"], "id": v}})]
        for most, name, path, make in limits:
            with self.subTest(f"{name} of {most}"):
                self.assertIn(s.post(path, make("x" * most))[0], (200, 401))
                asked = len(hs.lookups())
                self.assert_error(s.post(path, make("x" * (most + 1))), 400, "M_BAD_JSON")
                self.assert_error(s.post(path, make("a\0b")), 400, "M_BAD_JSON")
                self.assertEqual(len(hs.lookups()), asked)
        for size, want in ((1 << 20, 400), ((1 << 20) + 1, 413)):
            with self.subTest(f"body of {size}"):
                status, answer = s.post("/get_token", "x" * size)
                self.assertEqual(status, want, answer)
        self.assertEqual(answer["errcode"], "M_TOO_LARGE")
        for bad in (".", "..", "a\nb", "a\x7fb"):
            with self.subTest(f"delay_id {bad!r}"):
                self.assert_error(s.post("/sfu/get", legacy(hs.name, delay_id=bad, delay_timeout=9000)), 400, "M_BAD_JSON")

    def test_unknown_fields_pass_when_the_operator_says_so(self):
        hs, _, s = self.trio(LIVEKIT_IGNORE_UNKNOWN_FIELDS="true")
        body = legacy(hs.name, extra={"a": [1]})
        body["openid_token"]["x"] = None
        self.assertEqual(s.post("/sfu/get", body)[0], 200)
        body = matrix2(hs.name, hs.user)
        body["member"]["x"] = 1
        self.assertEqual(s.post("/get_token", body)[0], 200)

    def test_a_body_in_pieces_and_one_that_never_comes(self):
        hs, _, s = self.trio()
        body = json.dumps(legacy(hs.name)).encode()

        async def pieces():
            reader, writer = await asyncio.open_connection("127.0.0.1", s.port)
            writer.write(f"POST /sfu/get HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            for i in range(0, len(body), 50):
                writer.write(body[i:i + 50])
                await writer.drain()
                await asyncio.sleep(0.01)
            return await reader.readuntil(b"\r\n")

        async def never():
            begin = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", s.port)
            writer.write(f"POST /sfu/get HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body[:20])
            answer = await reader.read()
            return answer, time.monotonic() - begin

        async def both():
            return await asyncio.gather(pieces(), never())
        line, (answer, seconds) = self.loop.run(both())
        self.assertIn(b" 200 ", line)
        # [B] 1.4: 10 s for the body, then it is cut off, answered or not.
        self.assertTrue(9 < seconds < 13, seconds)
        self.assertNotIn(b" 200 ", answer)


class Webhooks(Base):
    """1.10: verification. What events do is in test_jwt_leaves.py, 57 recorded ones in test_jwt_recorded.py."""
    section = 1

    def send(self, s, token, body=b'{"event":"room_started"}', method="POST", **headers):
        if token is not None:
            headers["Authorization"] = token
        return s.request(method, "/sfu_webhook", body, headers)[0]

    def test_worked_example_of_the_specification(self):
        body = (b'{"event":"participant_joined","room":{"name":"R"},"participant":{"identity":"I"},"id":"EV_1",'
                b'"createdAt":"1767225600"}')
        self.assertEqual(base64.b64encode(hashlib.sha256(body).digest()), b"z8m6vdLup8UnN5thNRS+V2A4WeUccotV0JOLMXG3rJc=")
        s = self.service({})
        self.assertEqual(self.send(s, webhook_token(body), body), 200)

    def test_verification(self):
        s = self.service({})
        body = next(b for b in (b'{"event":"room_started","id":"%d"}' % i for i in range(1000))
                    if b"+" in base64.b64encode(hashlib.sha256(b).digest()))  # so that the alphabets differ
        now = int(time.time())
        good = webhook_token(body)
        head, payload, mac = good.split(".")
        other_head = url64(b'{"alg":"HS256","typ":"JWT","x":1}')
        digest = hashlib.sha256(body)
        rows = [
            ("1 good", good, 200), ("2 none", None, 401), ("2 empty", "", 401), ("3 one part", head, 401),
            ("3 two parts", f"{head}.{payload}", 401), ("3 four parts", f"{good}.x", 401), ("3 padded", good + "=", 401),
            ("3 not base64", "!." + good, 401), ("3 no JSON", f"{url64(b'x')}.{payload}.{mac}", 401),
            ("3 Bearer", "Bearer " + good, 200), ("3 bearer", "bearer " + good, 200), ("3 Basic", "Basic " + good, 401),
            ("4 HS384", sign({"iss": KEY, "exp": now + 60, "sha256": base64.b64encode(digest.digest()).decode()},
                             alg="HS384"), 401),
            ("4 none", sign({"iss": KEY, "exp": now + 60}, alg="none"), 401),
            ("5 another key", webhook_token(body, key="other"), 401), ("5 no iss", webhook_token(body, iss=None), 401),
            ("6 another secret", webhook_token(body, secret="x" * 36), 401), ("6 head changed", f"{other_head}.{payload}.{mac}", 401),
            ("6 mac cut", good[:-4], 401),
            ("7 expired 50 s ago", webhook_token(body, exp=now - 50), 200), ("7 expired 65 s ago", webhook_token(body, exp=now - 65), 401),
            ("7 no exp", webhook_token(body, exp=None), 401),
            ("8 valid in 50 s", webhook_token(body, nbf=now + 50), 200), ("8 valid in 70 s", webhook_token(body, nbf=now + 70), 401),
            ("8 no nbf", webhook_token(body, nbf=None), 200),
            ("9 no iat", webhook_token(body, iat=None), 200),
            ("10 of another body", webhook_token(b"{}"), 401), ("10 none", webhook_token(body, sha256=None), 401),
            ("10 hex", webhook_token(body, sha256=digest.hexdigest()), 401),
            ("10 base64url", webhook_token(body, sha256=url64(digest.digest()) + "="), 401),
            ("10 unpadded", webhook_token(body, sha256=base64.b64encode(digest.digest()).decode().rstrip("=")), 401),
        ]
        for name, token, want in rows:
            with self.subTest(name):
                self.assertEqual(self.send(s, token, body), want)

    def test_bodies(self):
        s = self.service({})
        who = '"room":{"name":"r"},"participant":{"identity":"i"%s}'
        rows = [
            ("not JSON", "{x", 400), ("empty", "", 400), ("array", "[]", 400), ("text", '"x"', 400),
            ("empty object", "{}", 200), ("unknown event", '{"event":"new_thing",%s}' % (who % ""), 200),
            ("no room", '{"event":"participant_joined","participant":{"identity":"i"}}', 200),
            ("no participant", '{"event":"participant_left","room":{"name":"r"}}', 200),
            ("room null", '{"event":"participant_left","room":null,"participant":null}', 200),
            ("egress", '{"event":"egress_started","egressInfo":{"egressId":"EG_x"}}', 200),
            ("unknown fields", '{"event":"participant_left","zz":[{}],%s}' % (who % ',"yy":1'), 200),
            ("snake case", '{"event":"participant_left","created_at":"5",%s}' % (who % ',"disconnect_reason":"MIGRATION"'), 200),
            ("enum number", '{"event":"participant_left",%s}' % (who % ',"disconnectReason":1'), 200),
            ("unknown enum name", '{"event":"participant_left",%s}' % (who % ',"disconnectReason":"NEW"'), 200),
            ("createdAt number", '{"event":"participant_left","createdAt":0,%s}' % (who % ""), 200),
            ("createdAt text", '{"event":"participant_left","createdAt":"1767225600",%s}' % (who % ""), 200),
            ("event number", '{"event":5}', 400), ("room text", '{"event":"x","room":"r"}', 400),
            ("participant array", '{"event":"participant_left","participant":[]}', 400),
            ("2 MiB", '{"event":"participant_left","zz":"%s"}' % ("x" * (2 << 20)), 200),
        ]
        for name, text, want in rows:
            with self.subTest(name):
                body = text.encode()
                self.assertEqual(self.send(s, webhook_token(body), body, **{"Content-Type": "application/webhook+json"}), want)
        big = b" " * ((8 << 20) + 1)
        self.assertEqual(self.send(s, webhook_token(big), big), 413)

    def test_methods_and_content_types(self):
        s = self.service({})
        body = b'{"event":"room_started"}'
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            with self.subTest(method):
                self.assertEqual(self.send(s, webhook_token(body), body, method), 405)
        for kind in (None, "application/json", "application/webhook+json", "text/plain"):
            with self.subTest(str(kind)):
                headers = {"Content-Type": kind} if kind else {}
                self.assertEqual(self.send(s, webhook_token(body), body, **headers), 200)

    def test_any_key_of_the_file_verifies(self):
        path = f"{self.folder.name}/keys"
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"{KEY}: {SECRET}\nold: {'o' * 36}\n")
        s = self.service({"LIVEKIT_KEY": None, "LIVEKIT_SECRET": None, "LIVEKIT_KEY_FILE": path})
        body = b'{"event":"room_started"}'
        for key, secret, want in ((KEY, SECRET, 200), ("old", "o" * 36, 200), ("old", SECRET, 401), (KEY, "o" * 36, 401)):
            with self.subTest(f"{key} {secret[:1]}"):
                self.assertEqual(self.send(s, webhook_token(body, key=key, secret=secret), body), want)

    def test_refused_ones_are_counted_and_logged(self):
        s = self.service({})
        self.assertEqual(self.send(s, webhook_token(b"{}", secret="x" * 36), b"{}"), 401)
        self.assertEqual(s.failures()[-1][0], "parse")
        self.assertEqual(s.metric("auth_webhooks_total", result="signature") + s.metric("auth_failures_total", step="parse"), 1)


class Vectors(Base):
    """Section 3.3, over the wire: names of rooms and identities."""
    section = 3

    def test_rooms(self):
        hs, _, s = self.trio()
        rows = [("!roomid:example.com", "slot1234", "O8437W3+jmzMVjoIP3tNwbm+XxHQk2iKpOA7aqw3qSc"),
                ("!room:example.com", "m.call#ROOM", "krj2dgxw2K6EOm9he4GfQJ6JsSVWfJ8a7BkyjZcSmxs"),
                ("!room:example.com", "m.call#", "hrQ0l3fv1RI0sCBUn3Nu59Bu/b3f7hWXbMLLfFMLNOY"),
                ("!gIpOlaUSrXBmgtveWK:call.ems.host", "m.call#ROOM", "O9fjXP35ffUz7WTQRfX6zrLDjkDv7VX2N1CVFzP01tQ"),
                ("!room-a:example.com", "m.call#ROOM", "oQ6HMW8vQTeQBAh0ZtH5Kl/VDp5H3v/WLbDXqCmcdNw"),
                ("!room-b:example.com", "m.call#", "qDZClpPYdYhmfOnEd22J/bCtPcsTiEG2DchJPyzFMWY"),
                ("!ro\u2028om:example.com", "m.call#ROOM", "dEptSqTyJl/1pWLcwxAllT89ayaUS/stg87vgEsmOqc")]
        for room, slot, want in rows:
            with self.subTest(room + slot):
                status, answer = s.post("/get_token", {**matrix2(hs.name, hs.user), "room_id": room, "slot_id": slot})
                self.assertEqual((status, claims(answer["jwt"])["video"]["room"]), (200, want))
                if slot == "m.call#ROOM":  # the slot of every legacy request
                    status, answer = s.post("/sfu/get", {**legacy(hs.name), "room": room})
                    self.assertEqual(claims(answer["jwt"])["video"]["room"], want)

    def test_identities(self):
        hs = self.homeserver(tls=None)
        rows = [("@alice:example.com", "DEVICE123", "memberABC", "J+T45tGruxc+HrUOqJJlyQSV33m728Cme4+vt8/SWrU"),
                ("@alice:example.com", "DEVICE", "member-1", "vYVt8NUMTb0rAawkFqilcAtxKgY26U3Ab7R9INviNnU"),
                ('@q"uote\\:example.com', "tab\there", "ctl\x01\x7f", "VYtb173vM4R+AJjZ95riXM0tJdkb/CJ2Sl2Qxl3MIes"),
                ("@a&b:example.com", "D<1>", "m", "2BzI1mmiJY/hhvfiMSMAbUNjWuqhyKcUFZ5JrBP1yeo")]
        s = self.service({"LIVEKIT_OPENID_URL_OVERRIDES": f"example.com={hs.url}"})
        for user, device, member, want in rows:
            with self.subTest(user):
                hs.users["good"] = user
                body = matrix2("example.com", user)
                body["member"] = {"id": member, "claimed_user_id": user, "claimed_device_id": device}
                status, answer = s.post("/get_token", body)
                self.assertEqual((status, claims(answer["jwt"])["sub"]), (200, want), s.text())
                self.assertEqual(want, hash_of(user, device, member))


class Tokens(Base):
    """Section 4, both endpoints."""
    section = 4

    def test_claims_and_grants(self):
        hs, _, s = self.trio()
        for path, subject in (("/sfu/get", f"{hs.user}:DEVICE"), ("/get_token", hash_of(hs.user, "DEVICE", "member-1"))):
            with self.subTest(path):
                token = s.post(path, bodies(hs)[path])[1]["jwt"]
                c = claims(token)
                self.assertEqual(set(c), {"iss", "sub", "exp", "nbf", "iat", "identity", "video"})
                self.assertEqual((c["iss"], c["sub"], c["identity"]), (KEY, subject, subject))
                self.assertEqual((c["exp"] - c["iat"], c["iat"] - c["nbf"]), (3600, 10))
                self.assertLess(abs(c["iat"] - time.time()), 5)
                self.assertEqual(c["video"], {"roomJoin": True, "room": ROOM, "canPublish": True, "canSubscribe": True,
                                              "canUpdateOwnMetadata": True})
                self.assertEqual(token.split(".")[0], "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9")

    def test_payloads_stay_readable_by_atob(self):
        hs, _, s = self.trio()
        for device in ("???~~~", "GERÄT 😀", ">>>", "", 'q"\\', "a\x7fb", "\x01\n", *("x" * n + "?~>" for n in range(3))):
            with self.subTest(repr(device)):
                status, answer = s.post("/sfu/get", {**legacy(hs.name), "device_id": device})
                self.assertEqual((status, claims(answer["jwt"])["sub"]), (200, f"{hs.user}:{device}"))

    def test_switches_of_the_grants(self):
        hs = self.homeserver()
        for env, full, want in (({"LIVEKIT_CAN_UPDATE_OWN_METADATA": "false"}, True, ("canUpdateOwnMetadata", False)),
                                ({"LIVEKIT_CAN_UPDATE_OWN_METADATA": "true"}, True, ("canUpdateOwnMetadata", True)),
                                ({"FOCI_JWT_RESTRICTED_CAN_PUBLISH": "false"}, False, ("canPublish", False)),
                                ({}, False, ("canPublish", True))):
            with self.subTest(str(env)):
                sfu = self.sfu()
                s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_INSECURE_SKIP_VERIFY_TLS": PHRASE,
                                  "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name if full else "x.example", **env})
                video = claims(s.post("/sfu/get", legacy(hs.name))[1]["jwt"])["video"]
                self.assertEqual(video[want[0]], want[1])

    def test_lifetime_of_the_operator(self):
        hs, _, s = self.trio(FOCI_JWT_TOKEN_LIFETIME="10m")
        c = claims(s.post("/sfu/get", legacy(hs.name))[1]["jwt"])
        self.assertEqual(c["exp"] - c["iat"], 600)

    def test_one_openid_token_serves_twice(self):
        # 8.2: Element Call uses it for /get_token and then for /sfu/get.
        hs, _, s = self.trio()
        self.assertEqual([s.post("/get_token", matrix2(hs.name, hs.user))[0], s.post("/sfu/get", legacy(hs.name))[0]], [200, 200])
        self.assertEqual(len(hs.lookups()), 2)
