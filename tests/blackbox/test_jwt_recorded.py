# SPDX-License-Identifier: Apache-2.0
"""Requests that were sent to the original service, sent to ours: status, headers, body, and what was asked meanwhile.

Where ours differs on purpose it says so here, with the mark of the specification or the reason."""
from jwt_replay import Deviations, RecordedHomeserver, SERVER, exchange, replay, rows_of
from jwt_testbed import Base, free_port

ENDPOINT = "/(sfu/get|get_token|delegate_delayed_leave)"
TOKEN = "/(sfu/get|get_token)"
DELEGATE = "/delegate_delayed_leave"
SERVED = {"status 200", "type application/json", "CORS", "1 lookups"}  # what the original did not do
LARGE = {"status 413", "M_TOO_LARGE: The request body is too large"}
NUL = {"status 400", "M_BAD_JSON: A field of the request body contains a NUL character", "0 lookups"}
PATHS = "[B] 1.1: slashes and dot segments are resolved, prefixes ignored, nothing is redirected"
CORS_404 = "[B] 1.2: CORS headers on 404 too, else a browser hides the status"
POST_ONLY = "1.1: POST only is enough"
REJECTED = "[B] 1.10: 401 for the steps 2 to 6 and 10 (and the times), so that a wrong key shows at the SFU"
NOBODY = "[B] 1.10: events without room or participant are of no interest, not a crash"

ODD = {
    TOKEN + " (trailing slash|prefixed /livekit/jwt)": (SERVED | {"a token", "1 rooms", "no x-content-type-options"}, PATHS),
    TOKEN + " (double slash|dot segment)": (SERVED | {"a token", "1 rooms", "no location"}, PATHS),
    DELEGATE + " (trailing slash|prefixed /livekit/jwt)":
        (SERVED | {"body '{}\\n'", "no x-content-type-options"}, PATHS),
    DELEGATE + " (double slash|dot segment)": (SERVED | {"body '{}\\n'", "no location"}, PATHS),
    ENDPOINT + " double slash GET": ({"status 405", "type application/json", "CORS", "no location", "body ''"}, PATHS),
    ENDPOINT + " preflight trailing slash":
        ({"status 200", "type application/json", "CORS", "no x-content-type-options", "body ''"}, PATHS),
    ENDPOINT + " upper case": ({"CORS"}, CORS_404),
    "path (GET /|GET /sfu|OPTIONS /nope|POST /nope|GET /favicon.ico)": ({"CORS"}, CORS_404),
    "path GET /healthz/": ({"status 200", "type None", "body ''", "no x-content-type-options"}, PATHS),
    "path GET /metrics": ({"status 200", "type text/plain; version=0.0.4; charset=utf-8", "no x-content-type-options",
                           "body '# HELP foci_jwt_build_info Always 1; the version is the labe'"},
                          "[B] 1.8: metrics, on this listener for this machine only"),
    r"path OPTIONS \*": ({"status 404", "type text/plain; charset=utf-8", "CORS", "header x-content-type-options",
                          "body '404 page not found\\n'"}, "a property of the original's HTTP library; nobody asks"),
    ENDPOINT + " matrix_server_name LOCALHOST:8448":
        ({"0 lookups"}, "[B] 5.8: loopback is for servers that the settings name, letter by letter"),
    TOKEN + ' delay_timeout "1000"': ({"status 200", "a token", "1 lookups", "1 rooms"}, "[B] 1.4: decimal strings"),
    DELEGATE + ' delay_timeout "1000"': ({"status 200", "body '{}\\n'", "1 lookups"}, "[B] 1.4: decimal strings"),
    TOKEN + r" delay_timeout 9223372036855 \(.*": ({"status 200", "a token"}, "[B] 9.14: clamped"),
    DELEGATE + r" delay_timeout 9223372036855 \(.*": ({"status 200", "body '{}\\n'"}, "[B] 9.14: clamped"),
    TOKEN + " room name with odd signs": (NUL | {"0 rooms"}, "[B] 1.4: no NUL in identifiers"),
    DELEGATE + " room name with odd signs": (NUL, "[B] 1.4: no NUL in identifiers"),
    ENDPOINT + r" 6 MiB valid JSON \(long unknown field\)": (LARGE, "[B] 1.4: 1 MiB"),
    "/sfu/get device_id of 1 MiB": (LARGE | {"0 lookups", "0 rooms", "no transfer-encoding"}, "[B] 1.4: 1 MiB"),
    "/get_token member.id of 6 MiB": (LARGE | {"0 lookups", "0 rooms"}, "[B] 1.4: 1 MiB"),
    DELEGATE + " member.id of 6 MiB": (LARGE | {"0 lookups"}, "[B] 1.4: 1 MiB"),
    "/get_token html signs in member.id": ({"claim sub", "claim identity"}, "[B] 3.2: hashed as clients do, not as Go does"),
    "/sfu_webhook (method (GET|HEAD|PUT|DELETE), no Authorization|preflight|method PUT, signed well)":
        ({"status 405"}, POST_ONLY),
    "/sfu_webhook (no Authorization|Authorization rubbish|wrong secret|unknown key|wrong sha256|no sha256|sha256 as hex|"
    "expired|nbf in 10 min|alg none)": ({"status 401"}, REJECTED),
    "/sfu_webhook (not JSON|empty body)": ({"status 400"}, "[B] 1.10: 400 for step 11"),
    r"/sfu_webhook (body \{\}|participant_left without participant|participant_joined without room|"
    "egress_started without room)": ({"status 200"}, NOBODY),
    TOKEN + " userinfo 302": ({"status 401", "M_UNAUTHORIZED: The request could not be authorised.", "1 lookups", "0 rooms"},
                              "[B] 5.8/6: redirects of the userinfo request are refused"),
}

# 05e, by the status that ours answers: tests/data/authorization/webhooks.jsonl says it for each row.
STATUS_OF_WEBHOOKS = {"refused": {401, 400}, "handler panic": {200}, "nothing": {200}, "participant joined": {200},
                      "participant left": {200}}
ACCEPTED_INSTEAD = {"Bearer prefix": "[B] 1.10/3: accepted in addition", "bearer prefix in small letters": "the same"}
REFUSED_INSTEAD = {"no exp": "[B] 1.10/7: exp is required"}


class Recorded(Base):
    """Asks the rows of a file, one subtest each."""

    def beds(self, full_access=SERVER, **env):
        hs, sfu = self.own(RecordedHomeserver(self.loop, tls=self.tls)), self.sfu()
        url = f"{SERVER}=https://localhost:{hs.port}"
        s = self.service({"LIVEKIT_URL": "ws://127.0.0.1:17880", "LIVEKIT_INTERNAL_URL": f"http://127.0.0.1:{sfu.port}",
                          "LIVEKIT_FULL_ACCESS_HOMESERVERS": full_access, "LIVEKIT_OPENID_URL_OVERRIDES": url,
                          "LIVEKIT_CS_API_URL_OVERRIDES": url, **env})
        return hs, sfu, s

    def ask_rows(self, beds, rows, deviations):
        hs, sfu, s = beds
        for row in rows:
            with self.subTest(row["name"]):
                deviations.check(self, row, replay(s.port, hs, sfu, row))


class OddRequests(Recorded):
    section = 1
    weight = 20

    def test_455_odd_requests(self):
        rows, deviations = rows_of("odd_http"), Deviations(ODD)
        self.assertEqual(len(rows), 455)
        self.ask_rows(self.beds(), rows, deviations)
        deviations.check_used(self)

    def test_57_webhooks(self):
        rows = rows_of("webhooks")
        self.assertEqual(len(rows), 57)
        s = self.service({})
        for row in rows:
            with self.subTest(row["name"]):
                body = row["body"] if isinstance(row["body"], str) else row["body"]
                ask = {"name": row["name"], "method": row["method"], "target": "/sfu_webhook",
                       "recorded_at": row["now"]}
                if "authorization" in row:
                    ask["headers"] = {"authorization": row["authorization"]}
                body = row["body"].replace("@", "x" * row.get("repeat_x", 1))
                status, _, answer = exchange(s.port, ask, body.encode())
                self.assertEqual(answer, b"")
                if row["method"] != "POST":
                    self.assertEqual(status, 405, POST_ONLY)
                    continue
                self.assertEqual(status, row["status"])
                if row["name"] in ACCEPTED_INSTEAD:
                    self.assertEqual((row["original"], status), ("refused", 200))
                elif row["name"] in REFUSED_INSTEAD:
                    self.assertEqual((row["original"], status), ("participant left", 401))
                else:
                    self.assertIn(status, STATUS_OF_WEBHOOKS[row["original"]])


class Restricted(Recorded):
    section = 6

    def test_restricted_homeserver(self):
        self.ask_rows(self.beds(full_access="other.example"), rows_of("odd_http_restricted"), Deviations({}))

    def test_sfu_down(self):
        hs, sfu, s = self.beds(LIVEKIT_INTERNAL_URL=f"http://127.0.0.1:{free_port()}")
        # The stand-in is not asked, so that there are no calls to count.
        deviations = Deviations({"/sfu/get|/get_token": ({"0 rooms"}, "counted where nobody listens")})
        self.ask_rows((hs, sfu, s), rows_of("odd_http_no_sfu"), deviations)
        deviations.check_used(self)


class WellKnown(Recorded):
    section = 7

    def test_star_and_well_known(self):
        rows = rows_of("odd_http_well_known")
        first, rest = rows[:2], rows[2:]
        env = {"full_access": "*", "LIVEKIT_CS_API_URL_OVERRIDES": None, "LIVEKIT_INSECURE_SKIP_VERIFY_TLS":
               "YES_I_KNOW_WHAT_I_AM_DOING"}
        self.check_document(first, env)
        # Ours keeps a failure for a minute (7.6 [B]), so each of these gets a service of its own.
        for row in rest:
            self.check_document([row], env)

    def check_document(self, rows, env):
        hs, sfu = self.own(RecordedHomeserver(self.loop, tls=self.tls)), self.sfu()
        own = {"localhost:8448": f"localhost:{hs.port}"}  # the document is fetched from the server name itself

        def here(row):
            text = row["body"]
            for old, new in own.items():
                text = text.replace(old, new)
            return {**row, "body": text, "asks": [a if a is None or a == "room" else [
                x.replace("localhost:8448", own["localhost:8448"]) if isinstance(x, str) else x for x in a]
                for a in row.get("asks", [])]}
        s = self.service({"LIVEKIT_URL": "ws://127.0.0.1:17880", "LIVEKIT_INTERNAL_URL": f"http://127.0.0.1:{sfu.port}",
                          "LIVEKIT_FULL_ACCESS_HOMESERVERS": "*", **{k: v for k, v in env.items() if k != "full_access"}})
        for row in rows:
            with self.subTest(row["name"]):
                before = len(hs.requests)
                found = replay(s.port, hs, sfu, here(row))
                # The names of room and identity hold the server's name.
                self.assertEqual(found - {"claim sub", "claim identity", "claim video"}, set())
                documents = [r for r in hs.requests[before:] if r["path"] == "/.well-known/matrix/client"]
                asked = [a for a in row.get("asks", []) if a and a[0] == "well-known"]
                self.assertEqual(bool(documents), bool(asked))
