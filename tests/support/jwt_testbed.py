# SPDX-License-Identifier: Apache-2.0
"""What black-box tests of foci-jwt share: a running service, the requests clients make, tokens, webhooks.

The program under test is named by the environment: FOCI_JWT, and DEV_HOMESERVER where one is used
(tests/blackbox/run_jwt.py sets both)."""
import base64
import fcntl
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

from jwt_standins import Homeserver, Loop, Sfu, make_certificates
from testbed import KEY, SECRET, environment, sign, unbase64, url64, wait

BINARY = os.environ.get("FOCI_JWT", "")
DEV_HOMESERVER = os.environ.get("DEV_HOMESERVER", "")
DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "authorization"
PHRASE = "YES_I_KNOW_WHAT_I_AM_DOING"
CORS = {"access-control-allow-origin": "*", "access-control-allow-methods": "POST",
        "access-control-allow-headers": "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token"}
IN_NAMESPACE = os.environ.get("FOCI_TEST_NAMESPACE") == "1"
REFUSED = "The request could not be authorised."


def hash_of(*parts):
    """H of section 3.1: names of rooms and identities on the SFU."""
    text = json.dumps(list(parts), ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def claims(token, secret=SECRET):
    """Claims of a token of ours, after checking what every one must have (section 4)."""
    head, payload, signature = token.split(".")
    mac = hmac.new(secret.encode(), f"{head}.{payload}".encode(), hashlib.sha256).digest()
    assert url64(mac) == signature, "signature"
    assert "-" not in payload and "_" not in payload, "atob() cannot read the payload"
    assert json.loads(unbase64(head)) == {"alg": "HS256", "typ": "JWT"}
    return json.loads(base64.b64decode(payload + "=="))


def webhook_token(body, key=KEY, secret=SECRET, **more):
    """As an SFU signs its webhooks; None in `more` leaves a claim out."""
    now = int(time.time())
    payload = {"iss": key, "exp": now + 300, "nbf": now, "iat": now,
               "sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(), **more}
    return sign({k: v for k, v in payload.items() if v is not None}, secret)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def settings(**env):
    """The least that foci-jwt starts with."""
    return environment({"LIVEKIT_URL": "ws://127.0.0.1:7880", "LIVEKIT_KEY": KEY, "LIVEKIT_SECRET": SECRET,
                        "LIVEKIT_FULL_ACCESS_HOMESERVERS": "example.org", "LIVEKIT_JWT_BIND": "127.0.0.1:0", **env})


class Service:
    """A running foci-jwt."""

    def __init__(self, env, *args, wait_s=20, program=None):
        self.log = tempfile.TemporaryFile(mode="w+")
        self.state = None
        if "FOCI_JWT_STATE_DIR" not in env:
            self.state = tempfile.TemporaryDirectory(prefix="foci-jwt-")
            env = {**env, "FOCI_JWT_STATE_DIR": self.state.name}
        self.env = env
        self.process = subprocess.Popen([program or BINARY, *args], env=settings(**env), stderr=self.log, stdout=subprocess.DEVNULL)
        self.expected = 0
        self.port = self.wait_for_port(wait_s)

    def text(self):
        return os.pread(self.log.fileno(), 1 << 24, 0).decode(errors="replace")

    def events(self, name):
        """Log lines with this event."""
        return [e for e in (json.loads(line) for line in self.text().splitlines() if line.startswith("{"))
                if e["event"] == name]

    def failures(self):
        """(step, cause) of the requests that failed."""
        return [(e["failed"], e.get("cause")) for e in self.events("request") if "failed" in e]

    def wait_for_port(self, seconds):
        def listening():
            if self.process.poll() is not None:
                raise AssertionError("did not start: " + self.text())
            return self.events("service.listening") if '"service.listening"' in self.text() else None
        return int(wait(listening, seconds, self.text)[0]["address"].rsplit(":", 1)[1])

    def request(self, method, path, body=None, headers=None, timeout=30, host="127.0.0.1"):
        connection = http.client.HTTPConnection(host, self.port, timeout=timeout)
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def post(self, path, body, **kw):
        status, _, data = self.request("POST", path, body, **kw)
        return status, json.loads(data)

    def webhook(self, event, room="", identity="", reason=None, token=None, **participant):
        """Sends one as a LiveKit server (or the original's tests) would; returns the status."""
        who = {"identity": identity, **participant}
        if reason is not None:
            who["disconnectReason"] = reason
        body = json.dumps({"event": event, "room": {"name": room}, "participant": who, "id": "evt_integration_test",
                           "createdAt": 0}).encode()
        headers = {"Content-Type": "application/json", "Authorization": token or webhook_token(body)}
        return self.request("POST", "/sfu_webhook", body, headers)[0]

    def metric(self, name, **labels):
        """The sum of the samples with these labels."""
        total = 0.0
        for line in self.request("GET", "/metrics")[2].decode().splitlines():
            head, _, value = line.rpartition(" ")
            if head.partition("{")[0] == name and all(f'{k}="{v}"' in head for k, v in labels.items()):
                total += float(value)
        return total

    def kill(self):
        """As a crash: without a word."""
        self.process.kill()
        self.process.wait(10)
        self.expected = -signal.SIGKILL

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        text = self.text()
        return code, text

    def close(self):
        code, text = self.stop()
        self.log.close()
        if self.state:
            self.state.cleanup()
        assert code == self.expected, f"exit status {code}: {text[-4000:]}"
        assert SECRET not in text, "the secret is in the log"


def legacy(server, token="good", **more):
    return {"room": "!room:example.com", "device_id": "DEVICE",
            "openid_token": {"access_token": token, "token_type": "Bearer", "matrix_server_name": server,
                             "expires_in": 3600}, **more}


def matrix2(server, user, token="good", **more):
    return {"room_id": "!room:example.com", "slot_id": "m.call#ROOM",
            "openid_token": {"access_token": token, "matrix_server_name": server},
            "member": {"id": "member-1", "claimed_user_id": user, "claimed_device_id": "DEVICE"}, **more}


ROOM = hash_of("!room:example.com", "m.call#ROOM")  # where both of them are


class Base(unittest.TestCase):
    section = None  # of the specification, for the sum at the end; None: other

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.loop = Loop()
        cls.ca, cls.cert, cls.key = make_certificates(cls.folder.name)
        cls.tls = (cls.cert, cls.key)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def own(self, thing):
        """Closed at the end of the test, last one first."""
        self.addCleanup(thing.close)
        return thing

    def homeserver(self, **kw):
        hs = self.own(Homeserver(self.loop, **({"tls": self.tls} | kw)))
        hs.name = f"127.0.0.1:{hs.port}"
        hs.user = f"@alice:{hs.name}"
        hs.url = f"{'https' if kw.get('tls', True) else 'http'}://127.0.0.1:{hs.port}"
        hs.users = {"good": hs.user, "we ird+/=&": hs.user}
        return hs

    def sfu(self, **kw):
        return self.own(Sfu(self.loop, **kw))

    def service(self, env, *args):
        return self.own(Service({"LIVEKIT_CA_FILE": str(self.ca), "LIVEKIT_URL": "ws://127.0.0.1:1",
                                 "LIVEKIT_FULL_ACCESS_HOMESERVERS": ",", **env}, *args))

    def trio(self, **env):
        """A homeserver with full access, an SFU and the service between them."""
        hs, sfu = self.homeserver(), self.sfu()
        s = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}/", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name,
                          "LIVEKIT_CS_API_URL_OVERRIDES": f"{hs.name}={hs.url}", **env})
        return hs, sfu, s

    def assert_error(self, answer, status, errcode, text=None):
        self.assertEqual(answer[0], status, answer)
        self.assertEqual(answer[1]["errcode"], errcode)
        if text:
            self.assertEqual(answer[1]["error"], text)

    def assert_refused(self, answer):
        self.assert_error(answer, 401, "M_UNAUTHORIZED", REFUSED)


def bring_loopback_up():
    """In a fresh network namespace it is down. SIOCSIFFLAGS of ifreq {name, IFF_UP | IFF_RUNNING}."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
