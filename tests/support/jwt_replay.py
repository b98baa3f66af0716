# SPDX-License-Identifier: Apache-2.0
"""Recorded exchanges with the original service, asked again of ours (tests/data/authorization/odd_http*.jsonl).

A row: name, method, target, headers, body ("base64:..." or {"repeat": [before, text, count, between, text, after]}-like when
it is long), and what the original answered: status, cors (the headers of section 1.2 are there), type (Content-Type),
answer_headers (others), answer (text) or claims (of the token; times left out; null: not kept). asks: what it asked
meanwhile, userinfo answers as [status, body, location], client documents as ["well-known", status, body], "room".

A row that differs from what was recorded without being among the deviations fails, and so does a deviation that no row needs."""
import base64
import hashlib
import hmac
import http.client
import json
import re
import time

from jwt_standins import Homeserver
from jwt_testbed import CORS, DATA, KEY, SECRET, claims, sign, unbase64, url64

SERVER = "localhost:8448"  # the homeserver of the recordings
USERS = {"PtWqGCGRBhvBdIicOKWWaClR": f"@oddmwq88a97:{SERVER}", "eDLHvnpUnpBdtzqFnddagOxL": f"@oddermwq88ahm:{SERVER}"}
# What ours adds (sections 1.2, 1.7, 1.8): never a contradiction.
ADDED = {"date", "content-length", "connection", "x-request-id", "cache-control", "access-control-max-age", "allow",
         "retry-after"}


def rows_of(name):
    with open(DATA / f"{name}.jsonl", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def body_of(row):
    body = row.get("body")
    if isinstance(body, dict):
        before, text, count, between, closing, times = body["repeat"]
        body = before + text * count + between + (closing * times if times else "")
    if body is None:
        return None
    return base64.b64decode(body[7:]) if body.startswith("base64:") else body.encode()


class RecordedHomeserver(Homeserver):
    """Answers about tokens as it was recorded for the row at hand."""

    def __init__(self, loop, **kw):
        super().__init__(loop, **kw)
        self.users = dict(USERS)

    def begin(self, row):
        self.script = [a for a in row.get("asks", []) if a is None or a != "room" and a[0] != "well-known"]
        documents = [a for a in row.get("asks", []) if a and a[0] == "well-known"]
        if documents:
            self.client_well_known = (documents[0][1], "application/json", documents[0][2])
        self.override = self.recorded

    def recorded(self, request):
        if not self.script:  # the original did not ask; ours gets what it would have been told
            user = self.users.get(request["query"].get("access_token", [""])[0])
            return (200, "application/json", {"sub": user}) if user else (401, "application/json", {})
        answer = self.script.pop(0)
        if answer is None:
            return None
        status, body, *location = answer
        return (status, "application/json", body, *(("Location", where) for where in location))


def resign(token, recorded_at):
    """A recorded webhook's token as it would be today: times moved, signed again with the algorithm it had, by the right
    secret if it was signed by that. Others come back as they are."""
    parts = token.removeprefix("Bearer ").removeprefix("bearer ").split(".")
    if len(parts) != 3:
        return token
    head, payload = (json.loads(unbase64(p)) for p in parts[:2])
    right = sign_parts(parts[0], parts[1], head["alg"], SECRET) == parts[2]
    now = int(time.time())
    for name in ("exp", "nbf", "iat"):
        if name in payload:
            payload[name] += now - recorded_at
    fresh = sign(payload, SECRET if right else "another secret of thirty-two letters", head["alg"])
    return token[:token.index(parts[0])] + fresh


def sign_parts(head, payload, alg, secret):
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(alg)
    return url64(hmac.new(secret.encode(), f"{head}.{payload}".encode(), digest).digest()) if digest else ""


def exchange(port, row, body):
    """Sends a recorded request. Returns (status, headers, body); (None, {}, b"") if the connection was cut."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest(row["method"], row["target"], skip_accept_encoding=True)
        for name, value in row.get("headers", {}).items():
            connection.putheader(name, resign(value, row["recorded_at"]) if name == "authorization" else value)
        chunked = "chunked" in row["name"]
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        try:
            if chunked:
                for part in (body[:7], body[7:]):
                    connection.send(b"%x\r\n%s\r\n" % (len(part), part))
                connection.send(b"0\r\n\r\n")
            elif body:
                connection.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # answered before all of it was read
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    except (http.client.RemoteDisconnected, ConnectionResetError):
        return None, {}, b""
    finally:
        connection.close()


def differences(row, answer):
    """How our answer differs from the recorded one: a set of words."""
    status, headers, body = answer
    found = set()
    if status != row["status"]:
        found.add(f"status {status}")
    if row["cors"] != all(headers.get(k) == v for k, v in CORS.items()):
        found.add("no CORS" if row["cors"] else "CORS")
    if headers.get("content-type") != row.get("type"):
        found.add(f"type {headers.get('content-type')}")
    for name, value in row.get("answer_headers", {}).items():
        if headers.get(name) != value:
            found.add(f"no {name}")
    known = ADDED | {"content-type"} | set(CORS) | set(row.get("answer_headers", {}))
    found |= {f"header {name}" for name in headers if name not in known}
    return found | body_differences(row, status, body)


def body_differences(row, status, body):
    text = body.decode(errors="replace")
    if "claims" not in row:
        if text != row["answer"]:
            try:
                return {json.loads(text)["errcode"] + ": " + json.loads(text)["error"]}
            except (ValueError, KeyError, TypeError):
                return {"a token" if '"jwt"' in text else f"body {text[:60]!r}"}
        return set()
    if status != 200:
        try:
            return {json.loads(text)["errcode"] + ": " + json.loads(text)["error"]}
        except (ValueError, KeyError):
            return {f"body {text[:60]!r}"}
    ours, now = claims(json.loads(text)["jwt"]), time.time()
    # Section 4.4: valid from 10 s before now, so that clocks may differ.
    assert ours["exp"] - ours["iat"] == 3600 and ours["iat"] - ours["nbf"] == 10 and abs(now - ours["iat"]) < 5, ours
    assert ours["iss"] == KEY and text.endswith("}\n"), text
    if row["claims"] is None:
        return set()
    return {f"claim {k}" for k in set(ours) | set(row["claims"])
            if k not in ("exp", "nbf", "iat") and ours.get(k) != row["claims"].get(k)}


def replay(port, hs, sfu, row):
    """Asks again. Returns how answer and questions differ from the recorded ones."""
    hs.begin(row)
    lookups, rooms = len(hs.lookups()), len(sfu.created())
    found = differences(row, exchange(port, row, body_of(row)))
    lookups, rooms = len(hs.lookups()) - lookups, len(sfu.created()) - rooms
    asks = row.get("asks", [])
    want_rooms = asks.count("room")
    want = len([a for a in asks if a is None or a != "room" and a[0] != "well-known"])
    # A kept connection that turns out to be dead is replaced once; a new one is not.
    if lookups != want and not (None in asks and lookups == 1):
        found.add(f"{lookups} lookups")
    if rooms != want_rooms:
        found.add(f"{rooms} rooms")
    return found


class Deviations:
    """A table {pattern of names: (what differs, reason)}, and which of its entries were needed."""

    def __init__(self, table):
        self.table = {re.compile(k): (set(what), why) for k, (what, why) in table.items()}
        self.used = set()

    def check(self, test, row, found):
        """Fails if the row differs in another way than the table says."""
        for pattern, (what, _) in self.table.items():
            if pattern.fullmatch(row["name"]):
                self.used.add(pattern)
                test.assertEqual(found, what, row["name"])
                return
        test.assertEqual(found, set(), row["name"])

    def check_used(self, test):
        test.assertEqual([p.pattern for p in self.table if p not in self.used], [], "no row needs these any more")
