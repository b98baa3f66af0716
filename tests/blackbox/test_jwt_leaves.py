# SPDX-License-Identifier: Apache-2.0
"""Delegation of delayed leave events: authorization-service section 7.1 to 7.8 and 7.12, by what homeserver and SFU see.

Every delay stands for a longer one: the machine reckons in parts of it. Stores and restarts of the service are in
test_jwt_stores.py, recorded calls in test_jwt_timelines.py."""
import asyncio
import email.utils
import json
import socket
import threading
import time
import urllib.parse

from jwt_leaves import Leave, LeaveBase, MATRIX2, still
from jwt_standins import fields
from jwt_testbed import ROOM, claims, free_port, hash_of, legacy, matrix2, wait

ERROR = {"errcode": "M_UNKNOWN", "error": "x"}
JSON = "application/json"


class Jobs(LeaveBase):
    """7.1, 7.2: what is a job, and what replaces it."""
    weight = 10

    def test_each_endpoint_takes_one(self):
        hs, sfu, s = self.bed()
        for n, path in enumerate(("/sfu/get", *MATRIX2)):
            with self.subTest(path):
                leave = self.connected(hs, s, n=n, path=path)
                self.assertEqual(s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED"), 200)
                leave.sent()

    def test_answers_of_the_endpoints(self):
        hs, _, s = self.bed()
        for path in MATRIX2:
            with self.subTest(path):
                status, answer = s.post(path, matrix2(hs.name, hs.user, delay_id="x", delay_timeout=9000))
                self.assertEqual((status, list(answer)), (200, ["url", "jwt"] if path == "/get_token" else []))

    def test_waiting_one_that_is_replaced_does_nothing(self):
        # [T]
        hs, _, s = self.bed()
        first = self.delegate(hs, s, 1500, delay_id="syd_first")
        second = self.delegate(hs, s, 1500, delay_id="syd_second")
        second.sent(4)
        self.assertEqual(first.calls(), [])

    def test_connected_one_that_is_replaced(self):
        hs, sfu, s = self.bed()
        first = self.connected(hs, s, 2500, delay_id="syd_first")
        sfu.rooms[ROOM] = {first.identity: "PA_1"}
        second = self.delegate(hs, s, 2500, delay_id="syd_second")
        second.restarted(2, 4)  # [B] 9.23: what is known of the participant is kept
        self.assertEqual(first.actions(), ["restart"])
        s.webhook("participant_left", ROOM, second.identity, "CLIENT_INITIATED")
        second.sent()
        self.assertEqual(first.actions(), ["restart"])

    def test_a_send_that_is_under_way_is_finished(self):
        # [B] 9.22
        hs, _, s = self.bed()
        hs.answers["send"] = [(500, JSON, ERROR)]
        first = self.connected(hs, s, 8000, delay_id="syd_first")
        s.webhook("participant_left", ROOM, first.identity, "CLIENT_INITIATED")
        first.sent()
        self.delegate(hs, s, 8000, delay_id="syd_second")
        wait(lambda: len(first.calls("send")) == 2, 5, s.text)

    def test_one_job_for_each_room_and_identity(self):
        hs, _, s = self.bed()
        other = hash_of("!other:example.com", "m.call#ROOM")
        here = self.delegate(hs, s)
        body = matrix2(hs.name, hs.user, delay_id="syd_other", delay_timeout=60000)
        body.update(room_id="!other:example.com", member={"id": "member-1", "claimed_user_id": hs.user,
                                                          "claimed_device_id": "DEVICE-1"})
        self.assertEqual(s.post("/delegate_delayed_leave", body)[0], 200)
        there = Leave(hs, "syd_other", here.identity)
        s.webhook("participant_joined", other, there.identity)
        there.restarted()
        self.assertEqual(here.calls(), [])

    def test_both_identities_are_watched(self):
        # [B] 7.1: whoever joined through /sfu/get is found by a delegation of the newer endpoints.
        hs, sfu, s = self.bed()
        for n, path in enumerate(MATRIX2):
            with self.subTest(f"{path}: webhook"):
                leave = self.delegate(hs, s, n=n, path=path)
                old = f"{hs.user}:DEVICE-{n}"
                s.webhook("participant_joined", ROOM, old)
                leave.restarted()
                s.webhook("participant_left", ROOM, old, "CLIENT_INITIATED")
                leave.sent()
        for lists in (True, False):
            with self.subTest(f"lookup, lists {lists}"):
                n = 5 + lists
                sfu.lists = lists
                sfu.rooms[ROOM] = {f"{hs.user}:DEVICE-{n}": "PA_1"}
                self.delegate(hs, s, n=n).restarted(seconds=5)

    def test_waiting_time(self):
        # 7.2: min(1 h, delay) from the request on; nobody joins.
        hs, _, s = self.bed()
        leaves = [(self.delegate(hs, s, delay, n=delay), delay / 1000) for delay in (500, 1000, 1500, 3000)]
        for leave, seconds in leaves:
            with self.subTest(f"{seconds} s"):
                took = leave.sent(seconds + 2)["time"] - leave.begun
                self.assertTrue(seconds - 0.1 < took < seconds + 0.5, took)
                self.assertEqual(leave.actions(), ["send"])

    def test_shortest_and_longest_delays(self):
        # 7.12: accepted, whatever they are; intervals are what is clamped.
        hs, _, s = self.bed()
        self.delegate(hs, s, 1, n=1).sent()
        for n, delay in enumerate((7 * 86400 * 1000 + 1, 9223372036854775807, 9223372036855)):
            with self.subTest(delay):
                leave = self.connected(hs, s, delay, n=n + 2)
                s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
                leave.sent()
        # 9.13: 1 ms does not make a storm of restarts.
        hs.requests.clear()
        leave = self.delegate(hs, s, 1, n=9)
        s.webhook("participant_joined", ROOM, leave.identity)
        time.sleep(1)
        self.assertLess(len(leave.calls()), 6)

    def test_twenty_for_a_user(self):
        hs, _, s = self.bed()
        for n in range(20):
            self.delegate(hs, s, n=n)
        body = matrix2(hs.name, hs.user, delay_id="syd_more", delay_timeout=60000)
        status, headers, data = s.request("POST", "/delegate_delayed_leave", body)
        self.assertEqual((status, json.loads(data)["errcode"]), (429, "M_LIMIT_EXCEEDED"))
        self.assertGreater(int(headers["retry-after"]), 0)
        self.assertGreater(json.loads(data)["retry_after_ms"], 0)
        self.delegate(hs, s, n=3, delay_id="syd_again")  # one that replaces is none more
        self.assertEqual(self.jobs(s), 20)


class Machine(LeaveBase):
    """7.3: each event in each state. 7.8: reasons, sessions, order."""
    weight = 20

    def test_waiting_joined(self):
        hs, _, s = self.bed()
        leave = self.delegate(hs, s)
        s.webhook("participant_joined", ROOM, leave.identity)
        self.assertLess(leave.restarted()[0]["time"] - leave.begun, 1)
        call = leave.calls()[0]
        self.assertEqual((call["method"], call["body"], call["headers"]["content-type"]), ("POST", b"{}", JSON))
        self.assertNotIn("authorization", call["headers"])
        self.assertEqual(call["path"], hs.DELAYED + "syd_1/restart")

    def test_waiting_found_by_lookup(self):
        # [T]: within 5 s, without a webhook.
        hs, sfu, s = self.bed()
        leave = self.delegate(hs, s)
        sfu.rooms[ROOM] = {leave.identity: "PA_1"}
        leave.restarted(seconds=5)

    def test_waiting_events_that_are_ignored(self):
        hs, _, s = self.bed()
        rows = [("participant_left", "CLIENT_INITIATED"), ("participant_connection_aborted", "CLIENT_INITIATED"),
                ("track_published", None), ("room_started", None), ("some_future_event", None), ("room_finished", None)]
        leaves = [(self.delegate(hs, s, 2000, n=n), row) for n, row in enumerate(rows)]
        for leave, (event, reason) in leaves:
            s.webhook(event, ROOM, leave.identity, reason)
        for leave, row in leaves:
            with self.subTest(str(row)):
                took = leave.sent(4)["time"] - leave.begun
                self.assertTrue(1.9 < took < 2.6, took)  # the waiting time, not the event
                self.assertEqual(leave.actions(), ["send"])

    def test_waiting_aborted_is_given_up(self):
        hs, _, s = self.bed()
        rows = [("participant_left", None), ("participant_left", "SIGNAL_CLOSE"), ("participant_left", "CONNECTION_TIMEOUT"),
                ("participant_connection_aborted", "SIGNAL_CLOSE"), ("participant_connection_aborted", None),
                ("participant_left", "JOIN_FAILURE"), ("participant_left", "PARTICIPANT_REMOVED"), ("participant_left", 14)]
        leaves = [self.delegate(hs, s, 1500, n=n) for n in range(len(rows))]
        for leave, (event, reason) in zip(leaves, rows):
            s.webhook(event, ROOM, leave.identity, reason)
        wait(lambda: self.jobs(s) == 0, 1, lambda: f"{self.jobs(s)} jobs")
        time.sleep(2)
        for leave, row in zip(leaves, rows):
            with self.subTest(str(row)):
                self.assertEqual(leave.calls(), [])

    def test_connected_left(self):
        """[T]: send within 2 s, although the SFU still reports the participant (or cannot be asked)."""
        hs, sfu, s = self.bed()
        reasons = ["CLIENT_INITIATED", "SIGNAL_CLOSE", "CONNECTION_TIMEOUT", "JOIN_FAILURE", "SERVER_SHUTDOWN",
                   "PARTICIPANT_REMOVED", "ROOM_DELETED", "ROOM_CLOSED", "MEDIA_FAILURE", "UNKNOWN_REASON", "BRAND_NEW", 1, 9, None]
        rows = [("participant_left", r) for r in reasons] + [("participant_connection_aborted", r) for r in reasons[:3]]
        leaves = [self.connected(hs, s, n=n) for n in range(len(rows))]
        sfu.rooms[ROOM] = {leave.identity: f"PA_{n}" for n, leave in enumerate(leaves)}
        for leave, (event, reason) in zip(leaves, rows):
            with self.subTest(f"{event} {reason}"):
                begin = time.monotonic()
                s.webhook(event, ROOM, leave.identity, reason)
                self.assertLess(leave.sent()["time"] - begin, 2)
        wait(lambda: self.jobs(s) == 0, 2, lambda: f"{self.jobs(s)} jobs")

    def test_connected_left_with_the_sfu_out_of_reach(self):
        hs, _, _ = self.bed()
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{free_port()}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name,
                          "LIVEKIT_CS_API_URL_OVERRIDES": f"{hs.name}={hs.url}"})
        for n, reason in enumerate(("SIGNAL_CLOSE", "CLIENT_INITIATED")):
            with self.subTest(reason):
                leave = self.connected(hs, s, n=n)
                s.webhook("participant_connection_aborted" if n == 0 else "participant_left", ROOM, leave.identity, reason)
                leave.sent()

    def test_connected_events_that_change_nothing(self):
        hs, sfu, s = self.bed()
        leave = self.connected(hs, s)
        sfu.rooms[ROOM] = {leave.identity: "PA_1"}
        for event, room, identity in (("participant_joined", ROOM, leave.identity), ("track_published", ROOM, leave.identity),
                                      ("participant_left", ROOM, "@other:x"), ("participant_left", "other", leave.identity),
                                      ("room_finished", "other", ""), ("room_finished", ROOM, "")):
            with self.subTest(f"{event} {room == ROOM} {identity == leave.identity}"):
                self.assertEqual(s.webhook(event, room, identity), 200)
        still(lambda: leave.actions() == ["restart"], 1, leave.actions)

    def test_disconnected_is_the_end(self):
        hs, sfu, s = self.bed()
        leave = self.connected(hs, s)
        s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
        leave.sent()
        sfu.rooms[ROOM] = {leave.identity: "PA_2"}
        for event in ("participant_joined", "participant_left"):
            s.webhook(event, ROOM, leave.identity)
        still(lambda: leave.actions() == ["restart", "send"], 1, leave.actions)

    def test_restart_of_an_event_that_is_gone(self):
        hs, sfu, s = self.bed()
        for n, status in enumerate((404, 409)):
            with self.subTest(status):
                hs.answers["restart"] = [(status, JSON, {"errcode": "M_NOT_FOUND"})]
                leave = self.connected(hs, s, 1000, n=n)
                wait(lambda: self.jobs(s) == 0, 2, lambda: f"{self.jobs(s)} jobs")
                s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
                still(lambda a=leave: a.actions() == ["restart"], 1.2, leave.actions)

    def test_restarts_that_fail_until_the_deadline(self):
        hs, _, s = self.bed()
        hs.answers["restart"] = [lambda r: (503, JSON, ERROR)] * 100
        leave = self.connected(hs, s, 1500)
        wait(lambda: self.jobs(s) == 0, 3, lambda: f"{self.jobs(s)} jobs")
        took = time.monotonic() - leave.begun
        self.assertTrue(0.9 < took < 2, took)
        self.assertGreater(len(leave.calls("restart")), 2)
        s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
        still(lambda: not leave.calls("send"), 1, leave.actions)

    def test_sessions(self):
        """7.8 [B]: a leave is of the session that it names."""
        hs, sfu, s = self.bed()

        def joined(n, sid="PA_new", **kw):
            leave = self.delegate(hs, s, n=n, **kw)
            s.webhook("participant_joined", ROOM, leave.identity, sid=sid)
            leave.restarted()
            sfu.rooms.setdefault(ROOM, {})[leave.identity] = sid
            return leave
        rows = {
            "same session": (joined(1), dict(reason="CLIENT_INITIATED", sid="PA_new"), True),
            "an older session": (joined(2), dict(reason="CLIENT_INITIATED", sid="PA_old"), False),
            "duplicate identity, still there": (joined(3), dict(reason="DUPLICATE_IDENTITY"), False),
            "duplicate identity, older": (joined(4), dict(reason="DUPLICATE_IDENTITY", sid="PA_old"), False),
            "migration, still there": (joined(5), dict(reason="MIGRATION"), False),
            "state mismatch, still there": (joined(6), dict(reason="STATE_MISMATCH"), False),
            "no session named": (joined(7), dict(reason="CLIENT_INITIATED"), True),
        }
        gone = joined(8)
        for leave, left, _ in rows.values():
            s.webhook("participant_left", ROOM, leave.identity, **left)
        del sfu.rooms[ROOM][gone.identity]
        s.webhook("participant_left", ROOM, gone.identity, "DUPLICATE_IDENTITY")
        for name, (leave, _, sends) in rows.items():
            with self.subTest(name):
                if sends:
                    leave.sent()
        with self.subTest("duplicate identity, and gone"):
            gone.sent(4)
        time.sleep(max(0, 3 - (time.monotonic() - gone.begun)))
        for name, (leave, _, sends) in rows.items():
            with self.subTest(name + ", later"):
                self.assertEqual("send" in leave.actions(), sends)

    def test_left_before_joined(self):
        """7.8 [B]: out of order; the SFU is asked, and decides."""
        hs, sfu, s = self.bed()
        gone, there = self.delegate(hs, s, n=1), self.delegate(hs, s, n=2)
        sfu.rooms[ROOM] = {}
        for leave in (gone, there):
            s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
            s.webhook("participant_joined", ROOM, leave.identity)
        sfu.rooms[ROOM][there.identity] = "PA_1"
        there.restarted()
        gone.sent(5)
        still(lambda: not there.calls("send"), 1, there.actions)

    def test_room_finished(self):
        hs, sfu, s = self.bed()
        gone, there = self.connected(hs, s, n=1), self.connected(hs, s, n=2)
        sfu.rooms[ROOM] = {there.identity: "PA_1"}
        s.webhook("room_finished", ROOM)
        gone.sent(5)
        still(lambda: not there.calls("send"), 1, there.actions)

    def test_a_flood_of_events(self):
        """9.16: in the original everything stands still."""
        hs, sfu, s = self.bed()
        leave, other = self.connected(hs, s, n=1), self.delegate(hs, s, n=2)
        sfu.rooms[ROOM] = {leave.identity: "PA_1"}
        threads = [threading.Thread(target=lambda: [s.webhook(e, ROOM, leave.identity) for e in
                                                    ("participant_joined", "track_published") * 60]) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        s.webhook("participant_joined", ROOM, other.identity)
        other.restarted()
        self.assertEqual(leave.actions(), ["restart"])

    def test_webhooks_of_others_change_nothing(self):
        hs, _, s = self.bed()
        leave = self.connected(hs, s)
        body_token = "eyJhbGciOiJIUzI1NiJ9.e30.x"
        self.assertEqual(s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED", token=body_token), 401)
        still(lambda: leave.actions() == ["restart"], 0.5, leave.actions)


class Timing(LeaveBase):
    """7.4: when restarts come."""
    weight = 18

    def test_restart_intervals(self):
        hs, _, s = self.bed()
        # 80 % of short delays; from 5 s on a little earlier, so that there is time for a retry ([B] 7.4).
        rows = [(1000, 0.80, 0.80), (2500, 0.80, 0.80), (4000, 0.80, 0.80), (5000, 0.60, 0.80), (8000, 0.60, 0.80)]
        leaves = [(self.connected(hs, s, delay, n=n), delay / 1000, low, high) for n, (delay, low, high) in enumerate(rows)]
        for leave, delay, low, high in leaves:
            with self.subTest(f"{delay} s"):
                times = [c["time"] for c in leave.restarted(3 if delay < 5 else 2, 3 * delay)]
                for a, b in zip(times, times[1:]):
                    self.assertTrue(low * delay - 0.05 < b - a < high * delay + 0.25, (b - a, delay))

    def test_restart_while_waiting(self):
        # [B] 9.20: one at 60 % of delays from 5 s on, so that slow joiners keep their event.
        hs, _, s = self.bed()
        leave, short = self.delegate(hs, s, 5000, n=1), self.delegate(hs, s, 4000, n=2)
        took = leave.restarted(seconds=5)[0]["time"] - leave.begun
        self.assertTrue(2.9 < took < 3.5, took)
        short.sent(6)
        self.assertEqual(short.actions(), ["send"])
        # What was gained is waited for, and then it is sent: 5 s from the restart.
        took = leave.sent(8)["time"] - leave.begun
        self.assertTrue(7.5 < took < 9, took)

    def test_send_budget_has_a_floor(self):
        # 7.4: never connected, so that 1 s is left: one or two attempts.
        hs, _, s = self.bed()
        hs.answers["send"] = [lambda r: (500, JSON, ERROR)] * 50
        leave = self.delegate(hs, s, 500)
        leave.sent()
        wait(lambda: self.jobs(s) == 0, 4, lambda: f"{self.jobs(s)} jobs")
        self.assertIn(len(leave.calls("send")), (1, 2))

    def test_a_homeserver_that_hangs(self):
        # A call that hangs leaves time for another.
        hs, _, s = self.bed()

        async def hang(_request):
            await asyncio.sleep(30)
        hs.answers["restart"] = [hang]
        leave = self.connected(hs, s, 4000)
        leave.restarted(2, 4)


class Answers(LeaveBase):
    """7.5: what each answer of a homeserver does to a restart and to a send."""
    weight = 23
    # name: (answer, least and most seconds until the next restart, the same for send). None: there is no next.
    SOON, LATE = (0.15, 1.0), (0.45, 1.9)
    STUBBORN = (4.9, 7.5)
    NEXT = (4.5, 6.9)  # of a success: 60 to 80 % of 8 s

    def rows(self):
        def limited(after=None, body=None):
            headers = (("Retry-After", after),) if after is not None else ()
            return (429, JSON, body if body is not None else {"errcode": "M_LIMIT_EXCEEDED"}, *headers)

        def ms(value):
            return {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": value}
        soon, late, stubborn = self.SOON, self.LATE, self.STUBBORN
        one, two, paced = (0.95, 1.7), (1.9, 2.8), (0.15, 1.5)
        date = email.utils.formatdate(time.time() + 3, usegmt=True)
        past = email.utils.formatdate(time.time() - 60, usegmt=True)
        out = {
            "200": ((200, JSON, {}), self.NEXT, None), "204": ((204, JSON, ""), self.NEXT, None),
            "404": ((404, JSON, {}), None, None), "404 M_NOT_FOUND": ((404, JSON, {"errcode": "M_NOT_FOUND"}), None, None),
            "409": ((409, JSON, {}), None, None),
            "429 Retry-After 1": (limited("1"), one, one), "429 Retry-After 2": (limited("2"), two, two),
            "429 Retry-After 0": (limited("0"), (0.24, 1.2), (0.24, 1.2)),
            "429 Retry-After -5": (limited("-5"), (0.24, 1.2), (0.24, 1.2)),
            "429 date": (limited(date), (0.9, 3.3), (0.9, 3.3)), "429 date past": (limited(past), (0.24, 1.2), (0.24, 1.2)),
            "429 500 ms": (limited(None, ms(500)), one, one), "429 1500 ms": (limited(None, ms(1500)), two, two),
            "429 header over body": (limited("1", ms(60000)), one, one),
            "429 bad header, body": (limited("soon", ms(1000)), one, one),
            # Ordinary back-off, but never faster than a homeserver that limits us can bear ([B] 9.43).
            "429 nothing": (limited(), paced, late), "429 0 ms": (limited(None, ms(0)), paced, late),
            "429 -1 ms": (limited(None, ms(-1)), paced, late), "429 text ms": (limited(None, ms("x")), paced, late),
            "429 no JSON": (limited(None, "x"), paced, late),
            "429 Retry-After 3600": (limited("3600"), (6, 8), (6, 8)),
            "401": ((401, JSON, {}), stubborn, stubborn), "403": ((403, JSON, {"errcode": "M_FORBIDDEN"}), stubborn, stubborn),
            "301 without Location": ((301, JSON, {}), soon, late),
            "302 to a path": ((302, JSON, {}, ("Location", "/elsewhere")), soon, late),
            "cut": (None, (0, 1.0), (0, 1.9)),
        }
        for status in (500, 502, 503, 504, 400, 408, 418, 421, 423, 425, 201, 202, 206):
            out[str(status)] = ((status, JSON, {}), soon, late)
        return out

    def test_restart(self):
        self.check("restart", 1)

    def test_send(self):
        self.check("send", 2)

    def check(self, action, column):
        rows = self.rows()
        servers = {name: self.homeserver(tls=None) for name in rows}
        names = " ".join(hs.name for hs in servers.values())
        urls = ",".join(f"{hs.name}={hs.url}" for hs in servers.values())
        sfu = self.sfu()
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": names,
                          "LIVEKIT_OPENID_URL_OVERRIDES": urls, "LIVEKIT_CS_API_URL_OVERRIDES": urls,
                          "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS": "0"})
        leaves = {}
        for name, row in rows.items():
            servers[name].answers[action] = [row[0]]
            leaves[name] = self.delegate(servers[name], s, 8000)
        for leave in leaves.values():
            s.webhook("participant_joined", ROOM, leave.identity)
        if action == "send":
            for leave in leaves.values():
                leave.restarted()
                s.webhook("participant_left", ROOM, leave.identity, "CLIENT_INITIATED")
        end = time.monotonic() + 8.2
        for name, row in rows.items():
            with self.subTest(f"{action} {name}"):
                if row[column] is None:
                    continue  # below, when the time is over
                low, high = row[column]
                got = wait(lambda a=leaves[name]: len(a.calls(action)) > 1, max(0.1, end - time.monotonic()),
                           lambda a=leaves[name]: a.actions())
                first, second = (c["time"] for c in leaves[name].calls(action)[:2])
                self.assertTrue(got and low <= second - first <= high, f"{second - first:.3f} s, not {low} to {high}")
        time.sleep(max(0, end - 2 - time.monotonic()))
        for name, row in rows.items():
            if row[column] is None:
                with self.subTest(f"{action} {name}"):
                    self.assertEqual(leaves[name].actions().count(action), 1)
            self.assertEqual([r["path"] for r in servers[name].requests if r["path"] == "/elsewhere"], [])

    def test_endpoint_that_is_not_there(self):
        """[B]: M_UNRECOGNIZED is about the endpoint, not the event: the stable path is tried, and nothing is taken for done."""
        hs, _, s = self.bed()
        gone = (404, JSON, {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"})
        hs.answers["restart"] = [gone] * 10
        leave = self.connected(hs, s, 8000)
        wait(lambda: [r for r in hs.requests if r["path"] == "/_matrix/client/v1/delayed_events/syd_1/restart"], 3, s.text)
        self.assertEqual(self.jobs(s), 1)
        self.assertFalse(leave.calls("send"))

    def test_homeserver_that_demands_a_token(self):
        """[B] 7.5, 11.4: after three in a row no new delegations for it, in the words that make clients keep theirs."""
        hs, _, s = self.bed()
        other = self.homeserver()
        refuse = (401, JSON, {"errcode": "M_MISSING_TOKEN", "error": "Missing access token"})
        hs.answers["restart"] = [refuse] * 100
        for n in range(3):
            self.connected(hs, s, 60000, n=n)
        wait(lambda: len(hs.calls("restart")) >= 3, 5, s.text)

        def refused():
            status, answer = s.post("/sfu/get", legacy(hs.name, delay_id="syd_late", delay_timeout=9000))
            return status == 400 and answer["errcode"] == "M_BAD_JSON"
        wait(refused, 5, s.text)
        # It was the only server with full access: the endpoint does not exist any more (8.6).
        self.assertEqual(s.request("POST", "/delegate_delayed_leave", "{}")[0], 404)
        self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)
        self.assertEqual(other.connections, 0)

    def test_ids_stay_in_their_segment(self):
        # 9.10: in the original they do not.
        hs, _, s = self.bed()
        for n, delay_id in enumerate(("../../x/%2e%2e?y#z", "a b", "ä", "AZaz09-._~", "a/../../b", "%2e%2e", ";x=1", "a+b&c")):
            with self.subTest(delay_id):
                before = len(hs.requests)
                self.delegate(hs, s, 1, n=n, delay_id=delay_id)
                call = wait(lambda b=before: [r for r in hs.requests[b:] if "delayed_events" in r["path"]], 3, s.text)[0]
                segment = call["target"].removeprefix(hs.DELAYED).removesuffix("/send")
                self.assertEqual(urllib.parse.unquote(segment), delay_id)
                self.assertNotRegex(segment, r"[/?#; ]")
        self.assertEqual({r["path"].split("/")[1] for r in hs.requests}, {"_matrix"})

    def test_a_base_path_is_kept(self):
        for base in ("/base", "/base/", "/a/b//"):
            with self.subTest(base):
                hs, sfu = self.homeserver(), self.sfu()
                s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name,
                                  "LIVEKIT_CS_API_URL_OVERRIDES": f"{hs.name}={hs.url}{base}"})
                self.delegate(hs, s, 1)
                wait(lambda h=hs, b=base: [r for r in h.requests if r["target"] == b.rstrip("/") + h.DELAYED + "syd_1/send"], 3, s.text)

    def test_pace_is_learned_from_429(self):
        """[B] 9.43: after a 429 the homeserver is not asked faster than it can bear; sends go first."""
        hs, _, s = self.bed()
        allowed = [0.0]

        def limit(_request):
            now = time.monotonic()
            allowed[0] = max(allowed[0], now - 1)
            if allowed[0] > now:
                return 429, JSON, {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 500}
            allowed[0] += 0.2  # 5 a second, 5 at once
            return 200, JSON, {}
        hs.answers["restart"] = [limit] * 1000
        leaves = [self.connected_soon(hs, s, n) for n in range(15)]
        wait(lambda: all(a.calls("restart") for a in leaves), 6, s.text)
        time.sleep(4)
        # All are there still: nobody's event was lost to the limit.
        self.assertEqual(self.jobs(s), 15)
        s.webhook("participant_left", ROOM, leaves[0].identity, "CLIENT_INITIATED")
        leaves[0].sent()

    def connected_soon(self, hs, s, n):
        leave = self.delegate(hs, s, 20000, n=n)
        s.webhook("participant_joined", ROOM, leave.identity)
        return leave


class Discovery(LeaveBase):
    """7.6: where the client-server API is."""
    weight = 2

    def beds(self, document, **env):
        """A homeserver whose client document is this one; {cs} in it is where its client-server API really is."""
        hs, cs, sfu = self.homeserver(), self.homeserver(tls=None), self.sfu()
        status, kind, body, *more = document
        hs.client_well_known = status, kind, body.replace("{cs}", cs.url), *more
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name, **env})
        return hs, cs, s

    def documents(self, hs):
        return [r for r in hs.requests if r["path"] == "/.well-known/matrix/client"]

    def test_documents(self):
        def doc(value):
            return json.dumps({"m.homeserver": {"base_url": value}})
        good = doc("{cs}")
        rows = {
            "good": ((200, JSON, good), True), "slash": ((200, JSON, doc("{cs}/")), True), "text/plain": ((200, "text/plain", good), True),
            "more": ((200, JSON, json.dumps({"x": [1], "m.homeserver": {"base_url": "{cs}", "y": 1}})), True),
            "404": ((404, JSON, good), False), "500": ((500, JSON, good), False), "201": ((201, JSON, good), False),
            "empty": ((200, JSON, "{}"), False), "no JSON": ((200, JSON, "x"), False), "array": ((200, JSON, f"[{good}]"), False),
            "no base_url": ((200, JSON, '{"m.homeserver":{}}'), False), "base_url empty": ((200, JSON, doc("")), False),
            "base_url number": ((200, JSON, doc(5)), False), "ftp": ((200, JSON, doc("ftp://x")), False), "no scheme": ((200, JSON, doc("x.example")), False),
            "user info": ((200, JSON, doc("http://u:p@127.0.0.1")), False), "query": ((200, JSON, doc("{cs}?x")), False),
            "fragment": ((200, JSON, doc("{cs}#x")), False), "65 KiB": ((200, JSON, good[:-1] + ',"x":"' + "y" * (65 << 10) + '"}'), False),
            "redirect to http": ((302, JSON, "", ("Location", "http://127.0.0.1:1/")), False),
        }
        for name, (document, works) in rows.items():
            with self.subTest(name):
                hs, cs, s = self.beds(document)
                body = matrix2(hs.name, hs.user, delay_id="syd_1", delay_timeout=1)
                status, answer = s.post("/delegate_delayed_leave", body)
                if works:
                    self.assertEqual(status, 200, s.text())
                    wait(lambda c=cs: c.calls("send", "syd_1"), 3, s.text)
                else:
                    self.assert_error((status, answer), 400, "M_BAD_JSON", "Unable to resolve client-server API")
                    self.assertEqual((len(hs.lookups()), cs.requests), (1, []))

    def test_who_is_asked_and_when(self):
        hs, cs, s = self.beds((200, JSON, json.dumps({"m.homeserver": {"base_url": "{cs}"}})))
        self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)
        self.assertEqual(self.documents(hs), [])  # only when an event is to be delegated
        for n in range(3):
            self.delegate(hs, s, 1, n=n)
        wait(lambda: len(cs.calls("send")) == 3, 3, s.text)
        self.assertEqual(len(self.documents(hs)), 1)  # and kept
        self.assertEqual(self.documents(hs)[0]["headers"]["host"], hs.name)

    def test_failures(self):
        hs, cs, s = self.beds((404, JSON, "x"))
        body = matrix2(hs.name, hs.user, delay_id="syd_1", delay_timeout=9000)
        for path in MATRIX2:
            self.assert_error(s.post(path, body), 400, "M_BAD_JSON", "Unable to resolve client-server API")
        # [B]: kept for a minute, so that a homeserver without one is not asked for each request. With port, then without.
        self.assertLessEqual(len(self.documents(hs)), 1)
        self.assertEqual(len(hs.lookups()), 2)

    def test_no_room_is_made_for_what_is_refused(self):
        hs, _, s = self.beds((404, JSON, "x"))
        self.assert_error(s.post("/get_token", matrix2(hs.name, hs.user, delay_id="x", delay_timeout=9000)), 400, "M_BAD_JSON")
        self.assertEqual(s.metric("auth_sfu_calls_total", call="CreateRoom"), 0)

    def test_override_is_for_exactly_that_name(self):
        hs, cs, s = self.beds((404, JSON, "x"), LIVEKIT_CS_API_URL_OVERRIDES="other.example=http://127.0.0.1:1")
        self.assert_error(s.post("/get_token", matrix2(hs.name, hs.user, delay_id="x", delay_timeout=9000)), 400, "M_BAD_JSON")
        hs, cs, s = self.beds((404, JSON, "x"))
        s.stop()
        s = self.service({"LIVEKIT_URL": "ws://127.0.0.1:1", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name,
                          "LIVEKIT_CS_API_URL_OVERRIDES": f"a=http://x, {hs.name} = {cs.url}/"})
        self.assertEqual(s.post("/delegate_delayed_leave", matrix2(hs.name, hs.user, delay_id="syd_1", delay_timeout=1))[0], 200)
        wait(lambda: cs.calls("send", "syd_1"), 3, s.text)
        self.assertEqual(self.documents(hs), [])

    def test_a_strangers_document_does_not_lead_inside(self):
        with socket.socket() as inside:
            inside.bind(("127.0.0.2", 0))
            inside.listen()
            inside.settimeout(0.2)
            url = f"http://127.0.0.2:{inside.getsockname()[1]}"
            hs, _, s = self.beds((200, JSON, json.dumps({"m.homeserver": {"base_url": url}})), LIVEKIT_FULL_ACCESS_HOMESERVERS="*",
                                 FOCI_JWT_ALLOW_ADDRESSES="127.0.0.1/32")
            status, _ = s.post("/delegate_delayed_leave", matrix2(hs.name, hs.user, delay_id="syd_1", delay_timeout=1))
            self.assertIn(status, (200, 400))
            time.sleep(0.5)
            with self.assertRaises(TimeoutError):
                inside.accept()


class Lookups(LeaveBase):
    """7.7."""
    weight = 33

    def test_phase_1_goes_on_until_found(self):
        hs, sfu, s = self.bed()
        for lists in (True, False):
            with self.subTest(f"lists {lists}"):
                sfu.lists = lists
                sfu.rooms.clear()
                before = len(sfu.lookups())
                leave = self.delegate(hs, s, n=1 + lists)
                wait(lambda b=before: len(sfu.lookups()) > b, 1, s.text)  # at once
                wait(lambda b=before: len(sfu.lookups()) > b + 2, 6, s.text)  # and again
                sfu.rooms[ROOM] = {leave.identity: "PA_1"}
                leave.restarted(seconds=5)

    def test_phase_1_survives_errors_of_the_sfu(self):
        hs, sfu, s = self.bed()
        error = 500, JSON, {"code": "internal", "msg": "x"}
        sfu.methods = {"GetParticipant": lambda r: error, "ListParticipants": lambda r: error}
        leave = self.delegate(hs, s)
        wait(lambda: len(sfu.lookups()) > 1, 4, s.text)
        sfu.rooms[ROOM] = {leave.identity: "PA_1"}
        sfu.methods = {}
        leave.restarted(seconds=6)

    def test_sanity_check(self):
        """[T]: with an interval of 1 s, absent leads to a send within 6 s, and the job is gone."""
        for how in ("lookup", "webhook"):
            for lists in (True, False):
                with self.subTest(f"{how}, lists {lists}"):
                    hs, sfu, s = self.bed(LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS="1")
                    sfu.lists = lists
                    leave = self.delegate(hs, s)
                    sfu.rooms[ROOM] = {leave.identity: "PA_1"}
                    if how == "webhook":
                        s.webhook("participant_joined", ROOM, leave.identity)
                    leave.restarted(seconds=5)
                    wait(lambda a=sfu, b=len(sfu.lookups()): len(a.lookups()) > b + 1, 4, s.text)
                    self.assertFalse(leave.calls("send"))
                    sfu.rooms.clear()
                    leave.sent(6)
                    wait(lambda t=s: self.jobs(t) == 0, 2, lambda t=s: f"{self.jobs(t)} jobs")

    def test_longer_intervals_want_two_absences(self):
        # [B]
        hs, sfu, s = self.bed(LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS="5")
        leave = self.delegate(hs, s)
        sfu.rooms[ROOM] = {leave.identity: "PA_1"}
        leave.restarted(seconds=5)
        sfu.rooms.clear()
        n = len(sfu.lookups())
        wait(lambda: len(sfu.lookups()) > n, 7, s.text)
        absent = time.monotonic()
        self.assertFalse(leave.calls("send"))
        took = leave.sent(6)["time"] - absent
        self.assertGreater(took, 1)

    def test_zero_is_never(self):
        hs, sfu, s = self.bed()
        leave = self.connected(hs, s)
        time.sleep(0.5)
        n = len(sfu.lookups())
        time.sleep(3)
        self.assertEqual(len(sfu.lookups()), n)
        self.assertEqual(leave.actions(), ["restart"])

    def test_one_question_for_a_room(self):
        # [B]: eight jobs of a room are one list, not eight calls a second.
        hs, sfu, s = self.bed(LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS="1")
        leaves = [self.delegate(hs, s, n=n) for n in range(8)]
        sfu.rooms[ROOM] = {leave.identity: f"PA_{n}" for n, leave in enumerate(leaves)}
        for leave in leaves:
            leave.restarted(seconds=6)
        n = len(sfu.lookups())
        time.sleep(3)
        self.assertLess(len(sfu.lookups()) - n, 16)
        for call in sfu.calls("ListParticipants"):
            self.assertEqual(fields(call["body"])[1].decode(), ROOM)
            grant = claims(call["headers"]["authorization"].removeprefix("Bearer "))
            self.assertEqual(grant["video"], {"roomAdmin": True, "room": ROOM})
