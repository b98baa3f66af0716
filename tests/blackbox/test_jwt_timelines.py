# SPDX-License-Identifier: Apache-2.0
"""Recorded calls with delegated leaves, played again: authorization-service section 7.

tests/data/authorization/timelines.jsonl holds what clients, SFU and homeserver did to the original, some of it faster than it
was, and what the original called the homeserver for. Ours must do the same to each event in the same order, send within a
second of it, and restart as often, one more or less. Where answers are failures, how often they are asked for again is ours
([B] 7.4, 7.5)."""
import json
import threading
import time

from jwt_replay import SERVER
from jwt_testbed import DATA, wait
from jwt_leaves import LeaveBase


def runs(actions):
    """["restart", "restart", "send"] as [("restart", 2), ("send", 1)]."""
    out = []
    for action in actions:
        if out and out[-1][0] == action:
            out[-1] = action, out[-1][1] + 1
        else:
            out.append((action, 1))
    return out


class Timelines(LeaveBase):
    weight = 30

    def test_recorded(self):
        with open(DATA / "timelines.jsonl", encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual(len(lines), 9)
        # Each in beds of its own, all at the same time: most of it is waiting.
        results = {}
        beds = {line["name"]: self.beds(line) for line in lines}
        threads = [threading.Thread(target=self.play, args=(line, *beds[line["name"]], results)) for line in lines]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        for line in lines:
            with self.subTest(line["name"]):
                self.assertIn(line["name"], results, "it did not end")
                self.compare(line, results[line["name"]])

    def beds(self, line):
        hs, sfu = self.homeserver(), self.sfu()
        for step in line["steps"]:
            if step["kind"] == "delegate":
                hs.users[step["body"]["openid_token"]["access_token"]] = step["user"]
        for call in line["calls"]:
            # Each event gets the answers that were recorded for it, in their order.
            hs.answers[call["action"]].append(self.answer(call))
        url = f"{SERVER}={hs.url}"
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": SERVER,
                          "LIVEKIT_OPENID_URL_OVERRIDES": url, "LIVEKIT_CS_API_URL_OVERRIDES": url,
                          "LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS": str(line["sanity_s"])})
        return hs, sfu, s

    def answer(self, call):
        if call["status"] is None:
            return None
        more = [("Retry-After", call["retry_after"])] if "retry_after" in call else []
        return (call["status"], "application/json", call.get("body", "{}"), *more)

    def play(self, line, hs, sfu, s, results):
        # In a thread: what fails here shows as a missing result.
        begin = time.monotonic()
        if line["name"] == "03e restarts fail":
            hs.answers["restart"] = [(503, "application/json", "{}")] * 100
        for step in line["steps"]:
            time.sleep(max(0, begin + step["t"] / 1000 - time.monotonic()))
            if step["kind"] == "delegate":
                status, answer = s.post(step["path"], step["body"])
                assert status == 200, answer
                continue
            room = sfu.rooms.setdefault(step["room"], {})
            if step["event"] == "participant_joined":
                room[step["identity"]] = step["sid"]
            elif room.get(step["identity"]) == step["sid"]:
                del room[step["identity"]]
            if not step.get("lost"):
                assert s.webhook(step["event"], step["room"], step["identity"], step.get("reason"), sid=step["sid"]) == 200
        last = max([c["t"] for c in line["calls"]] + [x["t"] for x in line["steps"]]) / 1000
        time.sleep(max(0, begin + last + 1.5 - time.monotonic()))
        if line["name"] == "03e homeserver errors":  # 403 is asked again after 5 s by ours
            wait(lambda: len(hs.calls("send")) == 4, 8, "the last send")
        results[line["name"]] = [(c["time"] - begin, c["path"].split("/")[-2], c["path"].split("/")[-1]) for c in hs.calls()]

    def compare(self, line, ours):
        for delay_id in dict.fromkeys(x["body"]["delay_id"] for x in line["steps"] if x["kind"] == "delegate"):
            theirs = [(c["t"] / 1000, c["action"]) for c in line["calls"] if c["delay_id"] == delay_id]
            mine = [(t, action) for t, event, action in ours if event == delay_id]
            failing = any(c["status"] != 200 and c["action"] == "restart" for c in line["calls"] if c["delay_id"] == delay_id)
            want, got = (runs([a for _, a in x]) for x in (theirs, mine))
            self.assertEqual([a for a, _ in got], [a for a, _ in want], (want, got))
            for (action, n), (_, m) in zip(want, got):
                self.assertTrue(failing or abs(n - m) <= 1, f"{action} {m} times, the original {n}")
            if theirs:
                self.assertLess(abs(mine[0][0] - theirs[0][0]), 1, "the first")
            sends = [next(t for t, a in x if a == "send") for x in (theirs, mine) if "send" in dict(runs([a for _, a in x]))]
            if sends:
                self.assertLess(abs(sends[0] - sends[1]), 1, "the send")
