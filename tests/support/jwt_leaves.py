# SPDX-License-Identifier: Apache-2.0
"""What tests of delegated leaves share: handing one over, and telling what becomes of it."""
import time

from jwt_testbed import Base, ROOM, hash_of, legacy, matrix2, wait

MATRIX2 = ("/get_token", "/delegate_delayed_leave")


class Leave:
    """One delegation: its event at the homeserver, its participant at the SFU."""

    def __init__(self, hs, delay_id, identity):
        self.hs, self.delay_id, self.identity = hs, delay_id, identity
        self.begun = time.monotonic()

    def calls(self, action=None):
        return self.hs.calls(action, self.delay_id)

    def actions(self):
        return [c["path"].rpartition("/")[2] for c in self.calls()]

    def restarted(self, times=1, seconds=2):
        wait(lambda: len(self.calls("restart")) >= times, seconds, lambda: f"{times} restarts, but {self.actions()}")
        return self.calls("restart")

    def sent(self, seconds=2):
        return wait(lambda: self.calls("send"), seconds, lambda: f"send, but {self.actions()}")[0]


def still(condition, seconds, what):
    """The condition is true, and stays so for a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), what() if callable(what) else what
        time.sleep(0.02)


class LeaveBase(Base):
    section = 7

    def bed(self, **env):
        """A trio without a sanity check, so that only what a test does changes anything."""
        return self.trio(**{"LIVEKIT_SANITY_CHECK_INTERVAL_SECONDS": "0", **env})

    def delegate(self, hs, s, timeout=60000, n=1, path="/delegate_delayed_leave", delay_id=None, member=None):
        delay_id = delay_id or f"syd_{n}"
        member = member or f"member-{n}"
        if path == "/sfu/get":
            body = legacy(hs.name, delay_id=delay_id, delay_timeout=timeout, device_id=f"DEVICE-{n}")
            identity = f"{hs.user}:DEVICE-{n}"
        else:
            body = matrix2(hs.name, hs.user, delay_id=delay_id, delay_timeout=timeout)
            body["member"] = {"id": member, "claimed_user_id": hs.user, "claimed_device_id": f"DEVICE-{n}"}
            identity = hash_of(hs.user, f"DEVICE-{n}", member)
        status, answer = s.post(path, body)
        self.assertEqual(status, 200, (answer, s.text()))
        return Leave(hs, delay_id, identity)

    def connected(self, hs, s, *args, **kw):
        """A delegation whose participant has joined."""
        leave = self.delegate(hs, s, *args, **kw)
        self.assertEqual(s.webhook("participant_joined", ROOM, leave.identity), 200)
        leave.restarted()
        return leave

    def jobs(self, s):
        return s.metric("delegated_jobs")
