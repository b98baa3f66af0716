# SPDX-License-Identifier: Apache-2.0
"""Delegated leaves across crashes, restarts and trouble of the store: authorization-service section 7.9 to 7.11, 2.4.

With the journal, with a Redis that knows as little as the one of the original's tests, and with the real one."""
import asyncio
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

from jwt_leaves import Leave, LeaveBase, still
from jwt_redis import HASH, FakeRedis, RealRedis
from jwt_testbed import BINARY, ROOM, Service, environment, hash_of, matrix2, settings, wait, webhook_token

JSON = "application/json"
RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"


def go_time(at):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1e9):09d}Z"


class StoreBase(LeaveBase):
    """kinds: every test of recovery runs with each of them."""

    def store(self, kind):
        """(store or None, settings that name it)"""
        if kind == "journal":
            folder = tempfile.TemporaryDirectory(prefix="foci-jwt-")
            self.addCleanup(folder.cleanup)
            return folder, {"FOCI_JWT_STATE_DIR": folder.name}
        if kind == "redis-server" and not RealRedis.installed():
            self.skipTest("redis-server is not installed")
        store = self.own(FakeRedis(self.loop) if kind == "RESP2" else RealRedis())
        return store, {"LIVEKIT_REDIS_URL": store.url}

    def kinds(self):
        return [k for k in ("journal", "RESP2", "redis-server") if k != "redis-server" or RealRedis.installed()]

    def again(self, s):
        """The same service once more, on the same store."""
        return self.own(Service(s.env))

    def bed_with(self, kind, **env):
        store, more = self.store(kind)
        hs, sfu, s = self.bed(**more, **env)
        return store, hs, sfu, s


class Format(StoreBase):
    """7.9: what stands in Redis, so that the original can go on with it."""
    weight = 3

    def test_entry(self):
        for kind in self.kinds()[1:]:
            with self.subTest(kind):
                redis, hs, _, s = self.bed_with(kind)
                leave = self.delegate(hs, s, 8000)
                jobs = redis.jobs()  # [T]: there when the client has its answer
                self.assertEqual(list(jobs), [(ROOM, leave.identity)])
                self.assertEqual(list(redis.hash), [json.dumps([ROOM, leave.identity], separators=(",", ":"))])
                value = jobs[ROOM, leave.identity]
                self.assertEqual(value["Params"], {"DelayId": "syd_1", "DelayTimeout": 8000000000, "ServerName": hs.name,
                                                   "LiveKitRoom": ROOM, "LiveKitIdentity": leave.identity})
                self.assertRegex(value["RestartedAt"], f"^{RFC3339}$")
                self.assertIsInstance(value["Params"]["DelayTimeout"], int)

    def test_writes(self):
        """At creation, after each restart, and removal at the end."""
        redis, hs, _, s = self.bed_with("RESP2")
        leave = self.delegate(hs, s, 1500)
        first = redis.jobs()[ROOM, leave.identity]["RestartedAt"]
        s.webhook("participant_joined", ROOM, leave.identity, sid="PA_1")
        leave.restarted(2, 4)
        wait(lambda: redis.jobs()[ROOM, leave.identity]["RestartedAt"] > first, 2, lambda: redis.hash)
        s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED", sid="PA_1")
        leave.sent()
        wait(lambda: not redis.hash, 2, lambda: redis.hash)
        self.assertEqual(redis.asked("HDEL")[-1][1:], [HASH, json.dumps([ROOM, leave.identity], separators=(",", ":"))])

    def test_removed_whenever_it_ends(self):
        redis, hs, _, s = self.bed_with("RESP2")
        hs.answers["restart"] = [(404, JSON, {})]
        gone = self.connected(hs, s, n=1)
        waited = self.delegate(hs, s, 500, n=2)
        cut = self.delegate(hs, s, n=3)
        s.webhook("participant_left", ROOM, cut.identity, "SIGNAL_CLOSE")
        waited.sent()
        wait(lambda: not redis.hash, 3, lambda: redis.hash)
        self.assertEqual((gone.actions(), cut.actions()), (["restart"], []))

    def test_replaced_is_overwritten(self):
        redis, hs, _, s = self.bed_with("RESP2")
        self.delegate(hs, s, delay_id="syd_first")
        leave = self.delegate(hs, s, delay_id="syd_second")
        self.assertEqual({k: v["Params"]["DelayId"] for k, v in redis.jobs().items()}, {(ROOM, leave.identity): "syd_second"})

    def test_commands(self):
        """2.4 [T]: nothing that the stand-in does not know is needed; database 0 is not selected."""
        redis, hs, _, s = self.bed_with("RESP2")
        self.delegate(hs, s)
        names = {words[0].upper() for _, words in redis.commands}
        self.assertLessEqual({"PING", "HGETALL", "HSET"}, names)
        self.assertFalse(names & {"SELECT", "AUTH"}, names)

    def test_odd_identities(self):
        redis, hs, _, s = self.bed_with("RESP2")
        hs.users["good"] = hs.user
        body = {"room": "!r<&>:x", "device_id": 'D<1>&"\\ä', "delay_id": "syd_<&>", "delay_timeout": 60000,
                "openid_token": {"access_token": "good", "matrix_server_name": hs.name}}
        self.assertEqual(s.post("/sfu/get", body)[0], 200)
        identity = f'{hs.user}:D<1>&"\\ä'
        key = json.dumps([hash_of("!r<&>:x", "m.call#ROOM"), identity], separators=(",", ":"), ensure_ascii=False)
        self.assertEqual(list(redis.hash), [key])  # serde_json's form, not Go's
        s.kill()
        s = self.again(s)
        s.webhook("participant_joined", hash_of("!r<&>:x", "m.call#ROOM"), identity)
        wait(lambda: hs.calls("restart"), 2, s.text)


class Recovery(StoreBase):
    """7.10, with each store."""
    weight = 29

    def each(self, test):
        for kind in self.kinds():
            with self.subTest(kind):
                test(kind)

    def test_killed_while_connected(self):
        def check(kind):
            _, hs, sfu, s = self.bed_with(kind)
            leave = self.connected(hs, s, 30000)
            sfu.rooms[ROOM] = {leave.identity: "PA_1"}
            time.sleep(0.3)  # the state is written behind
            s.kill()
            t = self.again(s)
            leave.restarted(2)  # [B] at once: nobody knows how long we were away
            t.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
            leave.sent()
            self.assertEqual(leave.actions(), ["restart", "restart", "send"])
            t.stop()
            self.assertEqual(self.jobs(self.again(s)), 0)
        self.each(check)

    def test_killed_while_waiting(self):
        """[T]: a restored job reacts like a fresh one."""
        def check(kind):
            _, hs, _, s = self.bed_with(kind)
            leave = self.delegate(hs, s, 30000)
            s.kill()  # right after the answer: it is stored
            s = self.again(s)
            self.assertEqual(self.jobs(s), 1)
            begin = time.monotonic()
            s.webhook("participant_joined", ROOM, leave.identity)
            self.assertLess(leave.restarted()[0]["time"] - begin, 2)
            s.webhook("participant_left", ROOM, leave.identity, "SIGNAL_CLOSE")
            leave.sent()
        self.each(check)

    def test_killed_and_the_participant_is_found(self):
        def check(kind):
            _, hs, sfu, s = self.bed_with(kind)
            leave = self.delegate(hs, s, 30000)
            s.kill()
            sfu.rooms[ROOM] = {leave.identity: "PA_1"}
            self.again(s)
            leave.restarted(1, 5)
        self.each(check)

    def test_expired_while_down(self):
        """[T]: removed, and the homeserver is not called; the state is right with the first healthy answer."""
        def check(kind):
            store, hs, _, s = self.bed_with(kind)
            leave = self.delegate(hs, s, 700)
            s.kill()
            time.sleep(1)
            before = len(leave.calls())
            s = self.again(s)
            self.assertEqual(s.request("GET", "/healthz")[0], 200)
            self.assertEqual(self.jobs(s), 0)
            if kind != "journal":
                self.assertEqual(store.hash, {})
            still(lambda: len(leave.calls()) == before, 0.8, leave.actions)
        self.each(check)

    def test_gone_while_down(self):
        """[B]: the original leaves it to the homeserver (recording 04)."""
        def check(kind):
            _, hs, sfu, s = self.bed_with(kind)
            leave = self.connected(hs, s, 60000)
            time.sleep(0.3)
            s.kill()
            sfu.rooms[ROOM] = {}
            self.again(s)
            leave.sent(12)
        self.each(check)

    def test_killed_while_sending(self):
        def check(kind):
            _, hs, _, s = self.bed_with(kind)
            hs.answers["send"] = [(500, JSON, {})] * 2
            leave = self.connected(hs, s, 30000)
            s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
            leave.sent()
            time.sleep(0.3)
            s.kill()
            s = self.again(s)
            wait(lambda: len(leave.calls("send")) >= 3 or not hs.answers["send"] and self.jobs(s) == 0, 12, leave.actions)
        self.each(check)

    def test_many(self):
        def check(kind):
            _, hs, _, s = self.bed_with(kind)
            users = [f"@u{n}:{hs.name}" for n in range(30)]
            for n, user in enumerate(users):
                hs.users[f"t{n}"] = user
            leaves = []
            for n, user in enumerate(users):
                body = matrix2(hs.name, user, token=f"t{n}", delay_id=f"syd_{n}", delay_timeout=60000)
                self.assertEqual(s.post("/delegate_delayed_leave", body)[0], 200)
                leaves.append(Leave(hs, f"syd_{n}", hash_of(user, "DEVICE", "member-1")))
            s.kill()
            s = self.again(s)
            self.assertEqual(self.jobs(s), 30)
            for leave in leaves:
                s.webhook("participant_joined", ROOM, leave.identity)
            for leave in leaves:
                leave.restarted(1, 5)
        self.each(check)


class Original(StoreBase):
    """7.9: a store that the original wrote, taken over; and what is in it that is none of ours."""
    weight = 5

    def entry(self, hs, identity, delay_ms=60000, restarted=None, room=ROOM, **more):
        params = {"DelayId": "syd_1", "DelayTimeout": delay_ms * 1000000, "ServerName": hs.name, "LiveKitRoom": room,
                  "LiveKitIdentity": identity}
        return json.dumps({"Params": params, "RestartedAt": restarted or go_time(time.time()), **more}, separators=(",", ":"))

    def test_records_of_the_original(self):
        """Times in any offset and with any fraction, unknown members, missing ones."""
        now = time.time()
        local = time.strftime("%Y-%m-%dT%H:%M:%S.5+02:00", time.gmtime(now + 7200))
        rows = {"as it writes them": {}, "with an offset": {"restarted": local},
                "without a fraction": {"restarted": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))},
                "unknown members": {"owner_user_id": "@a:b", "X": [1]}}
        redis, more = self.store("RESP2")
        hs, sfu = self.homeserver(), self.sfu()
        for n, row in enumerate(rows.values()):
            redis.hash[json.dumps([ROOM, f"I{n}"])] = self.entry(hs, f"I{n}", **row).replace("syd_1", f"syd_{n}")
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name,
                          "LIVEKIT_CS_API_URL_OVERRIDES": f"{hs.name}={hs.url}", **more})
        for n, name in enumerate(rows):
            with self.subTest(name):
                s.webhook("participant_joined", ROOM, f"I{n}")
                Leave(hs, f"syd_{n}", f"I{n}").restarted()

    def test_entries_that_end_at_the_start(self):
        redis, more = self.store("RESP2")
        hs, sfu = self.homeserver(), self.sfu()
        rows = {"expired": self.entry(hs, "I0", 5000, go_time(time.time() - 6)), "no time left": self.entry(hs, "I1", 0),
                "of 1970": self.entry(hs, "I2", 5000, "1970-01-01T00:00:00Z"),
                "zero timeout, far future": self.entry(hs, "I3", 0, "2099-01-01T00:00:00Z")}
        for n, value in enumerate(rows.values()):
            redis.hash[json.dumps([ROOM, f"I{n}"], separators=(",", ":"))] = value
        s = self.service({"LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name, "LIVEKIT_CS_API_URL_OVERRIDES": f"{hs.name}={hs.url}", **more})
        self.assertEqual(s.request("GET", "/healthz")[0], 200)
        for n, name in enumerate(rows):
            with self.subTest(name):
                self.assertNotIn(json.dumps([ROOM, f"I{n}"], separators=(",", ":")), redis.hash)
        still(lambda: hs.requests == [], 0.5, lambda: hs.requests)
        self.assertEqual(sfu.requests, [])

    def test_bad_entries_are_left_in_place(self):
        redis, more = self.store("RESP2")
        hs = self.homeserver()
        bad = {"garbage": "{not json", '["r"]': "{}", '["r","i"]': "[]", '["r","j"]': '{"Params":5}', "[1,2]": "{}", "": "x"}
        redis.hash.update(bad)
        redis.hash[json.dumps([ROOM, "I"])] = self.entry(hs, "I")
        s = self.service({"LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name, "LIVEKIT_CS_API_URL_OVERRIDES": f"{hs.name}={hs.url}", **more})
        self.assertEqual(self.jobs(s), 1)
        s.webhook("participant_joined", ROOM, "I")
        Leave(hs, "syd_1", "I").restarted()
        for key, value in bad.items():
            with self.subTest(key):
                self.assertEqual(redis.hash.get(key), value)
        self.assertTrue([e for e in map(json.loads, s.text().splitlines()) if e["level"] == "warn" and e["event"].startswith("jobs.")])

    def test_what_ours_wrote_is_enough_for_the_original(self):
        redis, hs, _, s = self.bed_with("RESP2")
        leave = self.connected(hs, s, 60000)
        wait(lambda: redis.jobs()[ROOM, leave.identity].get("State") in ("connected", 1, "Connected"), 2, lambda: redis.hash)
        value = redis.jobs()[ROOM, leave.identity]
        self.assertLessEqual({"DelayId", "DelayTimeout", "ServerName", "LiveKitRoom", "LiveKitIdentity"}, set(value["Params"]))
        self.assertRegex(value["RestartedAt"], f"^{RFC3339}$")


class Trouble(StoreBase):
    """7.9: Redis that is down, slow, refuses, forgets."""
    weight = 17

    def test_down_while_a_request_comes(self):
        redis, hs, _, s = self.bed_with("RESP2")
        first = self.delegate(hs, s, n=1)
        redis.down()
        begin = time.monotonic()
        second = self.connected(hs, s, n=2)
        self.assertLess(time.monotonic() - begin, 4)  # the creation waits 2 s at most
        self.assertEqual(s.request("GET", "/readyz")[0], 503)
        time.sleep(2)
        third = self.connected(hs, s, n=3)
        s.webhook("participant_left", ROOM, third.identity, "CLIENT_INITIATED")
        third.sent()
        self.assertTrue(s.events("jobs.redis.down"))
        redis.up()
        # What came meanwhile is written, what ended meanwhile is not there.
        wait(lambda: {i for _, i in redis.jobs()} == {first.identity, second.identity}, 15, lambda: redis.hash)
        s.kill()
        self.assertEqual(self.jobs(self.again(s)), 2)

    def test_removed_while_down(self):
        redis, hs, _, s = self.bed_with("RESP2")
        leave = self.connected(hs, s)
        redis.down()
        s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
        leave.sent()
        redis.up()
        wait(lambda: not redis.hash, 15, lambda: redis.hash)

    def test_one_that_forgot_everything(self):
        for kind in self.kinds()[1:]:
            with self.subTest(kind):
                redis, hs, _, s = self.bed_with(kind)
                leave = self.connected(hs, s, 4000)
                redis.down()
                if kind == "RESP2":
                    redis.hash.clear()
                redis.up()
                # The stand-in has no HLEN: there the next restart writes it again.
                wait(lambda a=redis, b=leave: (ROOM, b.identity) in a.jobs(), 15, lambda a=redis: a.hash)

    def test_one_that_refuses_writes(self):
        redis, hs, _, s = self.bed_with("RESP2")
        redis.refuse = "OOM command not allowed when used memory > 'maxmemory'"
        leave = self.connected(hs, s)
        self.assertEqual(redis.hash, {})
        self.assertTrue(s.events("jobs.redis.write_refused"))
        redis.refuse = None
        wait(lambda: (ROOM, leave.identity) in redis.jobs(), 20, lambda: redis.hash)

    def test_one_that_does_not_answer(self):
        redis, hs, _, s = self.bed_with("RESP2")
        redis.stall = True
        begin = time.monotonic()
        leave = self.delegate(hs, s)
        took = time.monotonic() - begin
        self.assertTrue(1.5 < took < 3.5, took)
        s.webhook("participant_joined", ROOM, leave.identity)  # it blocks nothing else
        leave.restarted()
        self.assertEqual(s.request("GET", "/healthz", timeout=1)[0], 200)

    def test_reading_that_fails_at_the_start(self):
        """[B]: tried again for up to 30 s before it listens, so that no job is lost."""
        redis, hs, _, s = self.bed_with("RESP2")
        leave = self.delegate(hs, s)
        s.kill()
        real, failed = redis.answer, []

        def answer(words):
            if words[0].upper() == "HGETALL" and len(failed) < 3:
                failed.append(time.monotonic())
                return b"-LOADING Redis is loading the dataset in memory\r\n"
            return real(words)
        redis.answer = answer
        s = self.again(s)
        self.assertEqual(len(failed), 3)
        s.webhook("participant_joined", ROOM, leave.identity)
        leave.restarted()


class Forms(StoreBase):
    """2.4: forms of the URL, with the real server."""
    weight = 5

    def setUp(self):
        if not RealRedis.installed():
            self.skipTest("redis-server is not installed")

    def check(self, redis, env, auth=(), database="0"):
        hs, _, s = self.bed(**env)
        leave = self.delegate(hs, s)
        if database == "0":
            field = redis.cli("HKEYS", HASH, auth=auth)
        else:
            field = self.in_database(redis, database, auth)
        self.assertEqual(field, [json.dumps([ROOM, leave.identity], separators=(",", ":"))])
        s.kill()
        s = self.again(s)
        self.assertEqual(self.jobs(s), 1)
        self.assertNotIn("pass-word", s.text())
        self.assertNotIn("p@ss:w/rd", s.text())
        s.webhook("participant_joined", ROOM, leave.identity)
        leave.restarted()
        s.stop()  # before: one that lives writes its jobs again
        redis.cli("FLUSHALL", auth=auth)

    def in_database(self, redis, database, auth):
        with socket.create_connection(("127.0.0.1", redis.port), 5) as c, c.makefile("rb") as f:
            for words in ([["AUTH", *auth]] if auth else []) + [["SELECT", database]]:
                c.sendall(" ".join(words).encode() + b"\r\n")
                f.readline()
            c.sendall(f"HKEYS {HASH}\r\n".encode())
            return redis.read(f)

    def test_plain(self):
        redis = self.own(RealRedis())
        for url in (f"redis://127.0.0.1:{redis.port}", f"redis://127.0.0.1:{redis.port}/", f"redis://127.0.0.1:{redis.port}/0",
                    f"redis://localhost:{redis.port}/0", f"unix://{redis.path}"):
            with self.subTest(re.sub(r"\d{4,}|/tmp.*", "x", url)):
                self.check(redis, {"LIVEKIT_REDIS_URL": url})
        for url in (f"redis://127.0.0.1:{redis.port}/3", f"redis://127.0.0.1:{redis.port}?db=3", f"unix://{redis.path}?db=3"):
            with self.subTest(re.sub(r"\d{4,}|/tmp\S*sock", "x", url)):
                self.check(redis, {"LIVEKIT_REDIS_URL": url}, database="3")

    def test_password(self):
        word = "p@ss:w/rd"
        quoted = urllib.parse.quote(word, safe="")
        redis = self.own(RealRedis("--requirepass", word))
        at = f"127.0.0.1:{redis.port}/0"
        for name, env in {"in the URL": {"LIVEKIT_REDIS_URL": f"redis://:{quoted}@{at}"},
                          "beside it": {"LIVEKIT_REDIS_URL": f"redis://{at}", "LIVEKIT_REDIS_PASSWORD": word},
                          "user default": {"LIVEKIT_REDIS_URL": f"redis://default:{quoted}@{at}"}}.items():
            with self.subTest(name):
                self.check(redis, env, auth=(word,))
        with self.subTest("wrong"):
            done = subprocess.run([BINARY], env=settings(LIVEKIT_REDIS_URL=f"redis://:pass-word@{at}"), capture_output=True, text=True,
                                  timeout=30, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("Could not connect Redis store: ", done.stderr)
            self.assertNotIn("pass-word", done.stderr)

    def test_tls(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        try:
            redis = self.own(RealRedis("--tls-port", str(port), "--tls-cert-file", str(self.cert), "--tls-key-file", str(self.key),
                                       "--tls-ca-cert-file", str(self.ca), "--tls-auth-clients", "no"))
        except AssertionError:
            self.skipTest("redis-server without TLS")
        self.check(redis, {"LIVEKIT_REDIS_URL": f"rediss://localhost:{port}/0"})
        with self.subTest("a certificate that nobody trusts"):
            done = subprocess.run([BINARY], env=settings(LIVEKIT_REDIS_URL=f"rediss://localhost:{port}/0"), capture_output=True,
                                  text=True, timeout=30, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("Could not connect Redis store: ", done.stderr)


class TwoInstances(StoreBase):
    """7.9 [B]: on one store each job is run once, and taken over when its owner is gone."""
    weight = 26

    def test_take_over(self):
        if not RealRedis.installed():
            self.skipTest("redis-server is not installed")
        redis, hs, sfu, first = self.bed_with("redis-server", FOCI_JWT_INSTANCE="first")
        second = self.own(Service({**first.env, "FOCI_JWT_INSTANCE": "second", "FOCI_JWT_STATE_DIR": self.folder.name}))
        brief = self.connected(hs, first, 2000, n=1)
        leave = self.connected(hs, first, 60000, n=2)
        sfu.rooms[ROOM] = {brief.identity: "PA_1", leave.identity: "PA_2"}
        times = [c["time"] for c in brief.restarted(4, 8)]
        self.assertTrue(all(b - a > 1.5 for a, b in zip(times, times[1:])), times)  # one of them, not both
        self.assertEqual(self.jobs(second), 0)
        first.kill()
        # A lease lasts 15 s: then it is the second's, which restarts at once. (A delay shorter than that has run out.)
        leave.restarted(2, 20)
        self.assertEqual(self.jobs(second), 1)
        second.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
        leave.sent()
        wait(lambda: not redis.hash, 3, lambda: redis.hash)


class Journal(StoreBase):
    """7.9 [B]: the file."""
    weight = 4

    def folder_of(self, s):
        return pathlib.Path(s.env["FOCI_JWT_STATE_DIR"])

    def journal(self, s):
        files = [p for p in self.folder_of(s).iterdir() if p.stat().st_size > 0 and "lock" not in p.name]
        self.assertEqual(len(files), 1, files)
        return files[0]

    def test_cut_at_any_place(self):
        """All whole records are there, the rest is told once; a further start is quiet."""
        _, hs, _, s = self.bed_with("journal")
        for n in range(4):
            self.delegate(hs, s, n=n)
        s.kill()
        path = self.journal(s)
        whole = path.read_bytes()
        size = len(whole) // 4
        for cut in (1, 7, size // 2, size - 1, size + 5, len(whole) - 30):
            with self.subTest(f"{cut} bytes less"):
                path.write_bytes(whole[:-cut])
                t = self.again(s)
                jobs = self.jobs(t)
                self.assertTrue(3 - cut // max(1, size) - 1 <= jobs < 4, jobs)
                self.assertEqual(len(t.events("jobs.journal.damaged")), 1)
                t.kill()
                t = self.again(s)
                self.assertEqual((self.jobs(t), t.events("jobs.journal.damaged")), (jobs, []))
                t.kill()

    def test_garbage(self):
        _, hs, _, s = self.bed_with("journal")
        leave = self.delegate(hs, s)
        s.kill()
        path = self.journal(s)
        whole = path.read_bytes()
        for name, data, jobs in (("behind", whole + os.urandom(200), 1), ("zeros behind", whole + bytes(4096), 1),
                                 ("all of it", os.urandom(300), 0), ("empty", b"", 0)):
            with self.subTest(name):
                path.write_bytes(data)
                t = self.again(s)
                self.assertEqual(self.jobs(t), jobs)
                if jobs:
                    t.webhook("participant_joined", ROOM, leave.identity)
                    leave.restarted()
                t.kill()

    def test_one_at_a_time(self):
        _, _, _, s = self.bed_with("journal")
        done = subprocess.run([BINARY], env=settings(FOCI_JWT_STATE_DIR=str(self.folder_of(s))), capture_output=True, text=True,
                              timeout=20, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(self.folder_of(s)), done.stderr)

    def test_a_folder_that_cannot_be_used(self):
        file = pathlib.Path(self.folder.name) / "file"
        file.write_text("x")
        done = subprocess.run([BINARY], env=settings(FOCI_JWT_STATE_DIR=str(file)), capture_output=True, text=True, timeout=20,
                              check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(str(file), done.stderr)

    def test_it_does_not_grow_for_ever(self):
        _, hs, _, s = self.bed_with("journal")
        hs.users = {f"t{n}": f"@u{n}:{hs.name}" for n in range(10)}
        body = [json.dumps(matrix2(hs.name, f"@u{n}:{hs.name}", token=f"t{n}", delay_id="none_" + "x" * 200, delay_timeout=1))
                for n in range(10)]
        threads = [threading.Thread(target=lambda b=b: [s.request("POST", "/delegate_delayed_leave", b) for _ in range(60)]) for b in body]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        wait(lambda: self.jobs(s) == 0, 5, lambda: self.jobs(s))
        self.assertLess(sum(p.stat().st_size for p in self.folder_of(s).iterdir()), 1 << 20)

    def test_nobody_else_reads_it(self):
        _, hs, _, s = self.bed_with("journal")
        self.delegate(hs, s)
        self.assertEqual(self.journal(s).stat().st_mode & 0o077, 0)


class Shutdown(StoreBase):
    """7.11."""
    weight = 9

    def test_connected_events_are_restarted_once_more(self):
        for kind in ("journal", "RESP2"):
            with self.subTest(kind):
                _, hs, sfu, s = self.bed_with(kind)
                leaves = [self.connected(hs, s, n=n) for n in range(5)]
                waiting = self.delegate(hs, s, n=9)
                sfu.rooms[ROOM] = {a.identity: "PA_1" for a in leaves}
                begin = time.monotonic()
                code, _ = s.stop()
                self.assertEqual(code, 0)
                self.assertLess(time.monotonic() - begin, 5)
                self.assertEqual([a.actions() for a in leaves], [["restart", "restart"]] * 5)
                self.assertEqual(waiting.actions(), [])
                s = self.again(s)
                self.assertEqual(self.jobs(s), 6)
                s.webhook("participant_left", ROOM, leaves[0].identity, "CLIENT_INITIATED")
                leaves[0].sent()

    def test_a_send_under_way_is_finished(self):
        _, hs, _, s = self.bed_with("journal")

        async def slow(_request):
            await asyncio.sleep(1.5)
            return 200, JSON, {}
        hs.answers["send"] = [slow]
        leave = self.connected(hs, s)
        s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
        leave.sent()
        self.assertEqual(s.stop()[0], 0)
        self.assertEqual(leave.actions(), ["restart", "send"])
        self.assertEqual(self.jobs(self.again(s)), 0)

    def test_a_homeserver_that_hangs_does_not_keep_it(self):
        _, hs, _, s = self.bed_with("journal")
        leave = self.connected(hs, s)

        async def hang(_request):
            await asyncio.sleep(60)
        hs.answers["restart"] = [hang]
        begin = time.monotonic()
        self.assertEqual(s.stop()[0], 0)
        took = time.monotonic() - begin
        self.assertLess(took, 10)
        self.assertEqual(leave.actions(), ["restart", "restart"])
        self.assertEqual(self.jobs(self.again(s)), 1)

    def test_webhooks_meanwhile_are_for_later(self):
        """1.10 [B]: 503, so that the SFU sends them again to whoever comes after."""
        _, hs, _, s = self.bed_with("journal")
        leave = self.connected(hs, s)

        async def slow(_request):
            await asyncio.sleep(2)
            return 200, JSON, {}
        hs.answers["restart"] = [slow]
        with socket.create_connection(("127.0.0.1", s.port)) as c:
            body = json.dumps({"event": "participant_left", "room": {"name": ROOM}, "participant": {"identity": leave.identity}}).encode()
            head = (f"POST /sfu_webhook HTTP/1.1\r\nHost: x\r\nAuthorization: {webhook_token(body)}\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n").encode()
            c.sendall(head + body[:5])
            time.sleep(0.1)
            s.process.send_signal(signal.SIGTERM)
            wait(lambda: s.events("service.stopping"), 5, s.text)
            c.sendall(body[5:])
            c.settimeout(5)
            self.assertIn(b" 503 ", c.recv(4096))
        self.assertEqual(s.stop()[0], 0)
        self.assertNotIn("send", leave.actions())


class Default(StoreBase):
    """2.4: neither Redis nor a folder is named."""

    def test_starts_wherever_it_is_put(self):
        hs, sfu = self.homeserver(), self.sfu()
        with tempfile.TemporaryFile(mode="w+") as log:
            env = settings(LIVEKIT_URL=f"ws://127.0.0.1:{sfu.port}", LIVEKIT_CA_FILE=str(self.ca), LIVEKIT_FULL_ACCESS_HOMESERVERS=hs.name)
            env = {**environment({}), **env}
            p = subprocess.Popen([BINARY], env=env, stderr=log, cwd="/")

            def text():
                return os.pread(log.fileno(), 1 << 16, 0).decode()
            try:
                wait(lambda: '"service.listening"' in text() or p.poll() is not None, 10, text)
                # /var/lib/foci-jwt may be there or not, in use or not: it starts, and warns if leaves will be lost.
                self.assertIsNone(p.poll(), text())
            finally:
                p.terminate()
                self.assertEqual(p.wait(10), 0)
