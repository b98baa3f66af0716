# SPDX-License-Identifier: Apache-2.0
"""foci-jwt under attack and with what surrounds it at fault: it lives, answers, and nothing accepted is lost.

Part of tests/blackbox/run_jwt.py."""
import json
import os
import pathlib
import random
import re
import signal
import socket
import tempfile
import threading
import time

from jwt_testbed import BINARY, CORS, Base, Service, legacy, matrix2, wait

WELL_MS = 100 if b"__asan_init" not in pathlib.Path(BINARY).read_bytes() else 1000


class Faults(Base):
    section = "9"
    weight = 30

    def assert_well(self, service):
        began = time.monotonic()
        self.assertEqual(service.request("GET", "/healthz", timeout=10)[0], 200)
        self.assertLess((time.monotonic() - began) * 1000, WELL_MS)

    def cpu(self, service):
        """Seconds used so far."""
        fields = pathlib.Path(f"/proc/{service.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_a_request_is_not_smuggled_behind_another(self):
        _, _, s = self.trio()
        second = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        for head in ("Host: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     "Host: x\r\nContent-Length: 0\r\nContent-Length: 34\r\n\r\n",
                     "Host: x\r\nContent-Length : 34\r\n\r\n",
                     "Host: x\r\nTransfer-Encoding: identity\r\n\r\n"):
            with self.subTest(head=head), socket.create_connection(("127.0.0.1", s.port), timeout=5) as c:
                c.sendall(("POST /sfu/get HTTP/1.1\r\n" + head + second).encode())
                data = b""
                while part := c.recv(4096):  # to the end: the connection is closed
                    data += part
                self.assertEqual(re.findall(rb"HTTP/1\.1 (\d+)", data), [b"400"])

    def test_what_is_open_at_the_end_is_told_so(self):
        """Within 10 s, although the homeserver takes longer and a client never finishes its body."""
        hs, _, s = self.trio(FOCI_JWT_LIMIT_USER="0")
        hs.delay = 30
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(s.request("POST", "/sfu/get", legacy(hs.name))))
                   for _ in range(5)]
        for t in threads:
            t.start()
        with socket.create_connection(("127.0.0.1", s.port)) as slow:
            slow.sendall(b"POST /sfu/get HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            wait(lambda: len(hs.lookups()) == 5, 5, "lookups")
            began = time.monotonic()
            s.process.send_signal(signal.SIGTERM)
            self.assertEqual(s.process.wait(20), 0)
            self.assertLess(time.monotonic() - began, 10)
        for t in threads:
            t.join()
        for status, headers, body in answers:
            self.assertEqual((status, json.loads(body)),
                             (503, {"errcode": "M_UNKNOWN", "error": "Service is shutting down"}))
            self.assertEqual(CORS | headers, headers)
        self.assertEqual(len(answers), 5)

    def test_files_that_are_none(self):
        """A key or policy file that became a FIFO, a folder, a loop: the old contents stay in force, nothing waits."""
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        keys, policy = folder / "keys", folder / "policy"
        keys.write_text("good: " + "k" * 40 + "\n", encoding="utf-8")
        keys.chmod(0o600)
        policy.write_text("", encoding="utf-8")
        hs, _, s = self.trio(LIVEKIT_KEY=None, LIVEKIT_SECRET=None, LIVEKIT_KEY_FILE=str(keys),
                             FOCI_JWT_POLICY_FILE=str(policy), FOCI_JWT_LIMIT_USER="0")
        for path in (keys, policy):
            for name, make in (("fifo", os.mkfifo), ("folder", os.mkdir), ("loop", lambda p: os.symlink(p, p)),
                               ("endless", lambda p: os.symlink("/dev/zero", p)), ("gone", lambda p: None)):
                with self.subTest(file=path.name, what=name):
                    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
                    make(path)
                    for _ in range(5):
                        s.process.send_signal(signal.SIGHUP)
                        time.sleep(0.002)
                    self.assert_well(s)
                    self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)
                    self.assert_well(s)

    def test_nothing_accepted_is_lost_by_a_crash(self):
        """Killed again and again at some moment of load, also while it recovers: what was answered 200 is there."""
        hs, sfu = self.homeserver(), self.sfu()
        state = self.enterContext(tempfile.TemporaryDirectory())
        hs.users |= {f"t{i}": f"@u{i}:{hs.name}" for i in range(5000)}
        env = {"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}/", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name,
               "LIVEKIT_CS_API_URL_OVERRIDES": f"{hs.name}={hs.url}", "FOCI_JWT_STATE_DIR": state,
               "FOCI_JWT_LIMIT_USER": "0"}
        accepted, numbers = set(), iter(range(5000))

        def load(s, stop):
            while not stop.is_set():
                i = next(numbers)
                q = matrix2(hs.name, f"@u{i}:{hs.name}", token=f"t{i}", delay_id=f"syd_{i:05}", delay_timeout=3600000)
                try:
                    status = s.request("POST", "/delegate_delayed_leave", q)[0]
                except OSError:
                    return
                if status == 200:
                    accepted.add(i)

        for pause in (0.3, 0.0, 0.1, 0.2, 0.01, 0.15):
            s, stop = self.service(env), threading.Event()
            threads = [threading.Thread(target=load, args=(s, stop)) for _ in range(3)]
            for t in threads:
                t.start()
            time.sleep(pause + random.random() * 0.1)
            s.kill()
            stop.set()
            for t in threads:
                t.join()
        self.assertGreater(len(accepted), 20)
        s = self.service(env)
        restored = s.events("leaves.restored")[0]
        self.assertGreaterEqual(restored["records"], len(accepted))
        stored = (pathlib.Path(state) / "jobs.journal").read_bytes()
        self.assertEqual([i for i in accepted if b"syd_%05d" % i not in stored], [])

    def test_without_descriptors_it_waits_and_goes_on(self):
        script = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "limited"
        script.write_text(f'#!/bin/sh\nulimit -n 64\nexec {BINARY} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        hs, sfu = self.homeserver(), self.sfu()
        s = self.own(Service({"LIVEKIT_CA_FILE": str(self.ca), "LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}/",
                              "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name}, program=str(script)))
        crowd = []
        for _ in range(200):
            c = socket.socket()
            c.setblocking(False)
            c.connect_ex(("127.0.0.1", s.port))
            crowd.append(c)
        time.sleep(0.5)
        before = self.cpu(s)
        time.sleep(1)
        self.assertLess(self.cpu(s) - before, 0.2)
        for c in crowd:
            c.close()
        wait(lambda: s.request("GET", "/healthz")[0] == 200, 5, "healthz")
        self.assertEqual(s.post("/sfu/get", legacy(hs.name))[0], 200)
