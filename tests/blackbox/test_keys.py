# SPDX-License-Identifier: Apache-2.0
"""API keys from outside: foci-jwt, foci-sfu and focictl as built, with one key file between them.

The other two programs are looked for beside foci-jwt. Part of tests/blackbox/run_jwt.py."""
import json
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import sfu_testbed
from jwt_testbed import BINARY, Base, claims, environment, legacy, settings, sign, unbase64, wait

SFU = pathlib.Path(BINARY).with_name("foci-sfu")
CTL = pathlib.Path(BINARY).with_name("focictl")
OLD, NEW = "OldSecretOldSecretOldSecretOldSecret1234", "NewSecretNewSecretNewSecretNewSecret1234"
TOKEN = re.compile(rb"eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
GRACE_S = 2  # KEY_WATCH_GRACE_MS


def with_asan():
    return b"__asan_init" in pathlib.Path(BINARY).read_bytes()


class Server(sfu_testbed.Server):
    """With the keys of a file."""

    def __init__(self, env, *args):
        super().__init__("--loopback", *args, env=env, program=SFU, dev=None, workers=1)

    def validate(self, token):
        """Whether a token joins: (status, text), by the endpoint that clients ask when they could not connect."""
        status, _, text = self.ask("GET", f"/rtc/validate?access_token={token}")
        return status, text.decode()

    def close(self):
        code, text = self.stop(), self.text()
        self.log.close()
        assert code == 0, f"exit status {code}: {text[-4000:]}"


class Call:
    """A client's WebSocket: what the server sent is read all the time."""

    def __init__(self, port, token, **query):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.sendall(sfu_testbed.upgrade_request(token, **query))
        self.data, self.ended = b"", False
        threading.Thread(target=self.read, daemon=True).start()
        wait(lambda: b"\r\n\r\n" in self.data or self.ended, 20, lambda: self.data)
        self.status = int(self.data.split(b" ", 2)[1])

    def read(self):
        try:
            while part := self.socket.recv(65536):
                self.data += part
        except OSError:
            pass
        self.ended = True

    def tokens(self):
        return [t.decode() for t in TOKEN.findall(self.data)]

    def close(self):
        self.socket.close()


def issuer(token):
    return json.loads(unbase64(token.split(".")[1]))["iss"]


class KeyFile(Base):
    """A key file, and what may read and change it."""

    def setUp(self):
        self.here = tempfile.TemporaryDirectory(prefix="foci-keys-")
        self.addCleanup(self.here.cleanup)
        self.path = pathlib.Path(self.here.name) / "keys.yaml"
        self.known = {"old": OLD, "new": NEW}  # names and secrets that must be in no log

    def put(self, text, mode=0o600):
        """As an editor saves."""
        temp = self.path.with_suffix(".tmp")
        temp.write_text(text, encoding="utf-8")
        temp.chmod(mode)
        temp.rename(self.path)

    def ctl(self, *args, status=0):
        done = subprocess.run([CTL, "keys", *args], env=environment({"LIVEKIT_KEY_FILE": str(self.path)}), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        if args[0] != "generate":
            self.assert_no_secret(done.stdout)
        self.assert_no_secret(done.stderr)
        return done.stdout if status == 0 else done.stderr

    def learn(self):
        """Notes the secrets of the file, which focictl makes."""
        for line in self.path.read_text(encoding="utf-8").splitlines():
            if m := re.match(r"\s*([\w.-]+): ([A-Za-z0-9]{40,})", line):
                self.known[m[1]] = m[2]

    def assert_no_secret(self, text):
        for secret in self.known.values():
            self.assertNotIn(secret, text)

    def server(self, env=None, *args):
        s = self.own(Server({"LIVEKIT_KEY_FILE": str(self.path)} if env is None else env, *args))
        self.addCleanup(lambda: self.assert_no_secret(s.text()))
        return s

    def pair(self, path=None):
        """The two services, and a homeserver whose users may do everything."""
        hs = self.homeserver()
        sfu = self.server({"LIVEKIT_KEY_FILE": str(path or self.path)})
        jwt = self.service({"LIVEKIT_URL": f"ws://127.0.0.1:{sfu.port}", "LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name,
                            "LIVEKIT_KEY": None, "LIVEKIT_SECRET": None, "LIVEKIT_KEY_FILE": str(path or self.path)})
        self.addCleanup(lambda: self.assert_no_secret(jwt.text()))
        return hs, sfu, jwt

    def token(self, hs, jwt):
        status, answer = jwt.post("/sfu/get", legacy(hs.name))
        self.assertEqual(status, 200, jwt.text()[-2000:])
        return answer["jwt"]

    def both_say(self, services, event, seconds=5, n=1, **what):
        """Each of the services has logged the event n times, with these values in its last line."""
        for s in services:
            wait(lambda s=s: len(s.events(event)) >= n, seconds, s.text)
            for key, value in what.items():
                self.assertEqual(s.events(event)[-1].get(key), value, s.events(event))


class Keys(KeyFile):
    weight = 5

    def test_a_rotation_is_felt_by_nobody(self):
        """Every token of every moment joins; the old key's tokens do until it retires; calls go on."""
        self.put(f"old: {OLD}\n")
        hs, sfu, jwt = self.pair()
        first = self.token(hs, jwt)
        self.assertEqual(issuer(first), "old")
        self.assertEqual(sfu.validate(first), (200, "success"))
        call = self.own(Call(sfu.port, first))
        self.assertEqual(call.status, 101, call.data)
        wait(call.tokens, 10, lambda: call.data)
        self.assertEqual(issuer(call.tokens()[-1]), "old")

        said = self.ctl("rotate", "--overlap", "8s", "--delay", "1s", "--name", "new")
        rotated = time.monotonic()
        self.learn()
        self.assertRegex(said, r"new key new signs from 20\S+Z on\nold key old is accepted until 20\S+Z and retires then")
        issuers = []
        while (not issuers or issuers[-1] == "old") and time.monotonic() < rotated + 8:
            token = self.token(hs, jwt)
            self.assertEqual(sfu.validate(token), (200, "success"), (sfu.text(), jwt.text()))
            issuers.append(issuer(token))
        self.assertEqual(issuers[-1], "new", jwt.text())
        self.assertGreaterEqual(time.monotonic() - rotated, 1)
        claims(token, self.known["new"])
        self.both_say((sfu, jwt), "keys.loaded", keys=2, first="new")
        self.both_say((sfu, jwt), "keys.signing", key="new")
        # The client of the call has a token of the new key, before the old one retires.
        wait(lambda: issuer(call.tokens()[-1]) == "new", 5, lambda: call.data)
        fresh = call.tokens()[-1]
        claims(fresh, self.known["new"])
        if time.monotonic() < rotated + 7:
            self.assertEqual(sfu.validate(first)[0], 200)
        self.both_say((sfu, jwt), "keys.retired", seconds=15, key="old")
        self.assertEqual(sfu.validate(first), (401, "invalid API key: old (retired)"))
        self.assertEqual(self.own(Call(sfu.port, first)).status, 401)
        self.assertEqual(sfu.events("signal.refused")[-1]["why"], "invalid API key: old (retired)")
        self.assertFalse(call.ended, "the call ended with the key")
        self.assertEqual(self.own(Call(sfu.port, fresh, reconnect="1")).status, 101)
        self.assertEqual(sfu.validate(self.token(hs, jwt)), (200, "success"))
        self.assertIn("retired", self.ctl("list"))

    def test_without_a_delay_the_service_waits_by_itself(self):
        """A file that somebody edits says nothing of delays: no token is refused nevertheless."""
        self.put(f"old: {OLD}\n")
        hs, sfu, jwt = self.pair()
        sfu.process.send_signal(signal.SIGSTOP)  # it reads the file a second later
        self.put(f"new: {NEW}\nold: {OLD}\n")
        self.both_say((jwt,), "keys.loaded")
        began = time.monotonic()
        time.sleep(1)
        sfu.process.send_signal(signal.SIGCONT)
        while True:
            token = self.token(hs, jwt)
            self.assertEqual(sfu.validate(token), (200, "success"))
            if issuer(token) == "new":
                break
            self.assertLess(time.monotonic() - began, 10)
        self.assertGreaterEqual(time.monotonic() - began, GRACE_S - 0.5)

    def test_a_wrong_file_changes_nothing_and_is_told(self):
        self.put(f"old: {OLD}\n")
        hs, sfu, jwt = self.pair()
        self.put(f"new: {NEW}\nold: {OLD}\nrubbish\n")
        self.both_say((sfu, jwt), "keys.refused", file=str(self.path), line=3)
        self.path.unlink()
        self.both_say((sfu, jwt), "keys.refused", n=2)
        self.assertIn("cannot read", jwt.events("keys.refused")[-1]["text"])
        self.assertEqual(sfu.validate(self.token(hs, jwt)), (200, "success"))
        # A strict server keeps a strong key too; the authorization service takes any and warns.
        self.put("devkey: secret\n")
        self.both_say((sfu,), "keys.refused", n=3)
        self.assertIn("focictl keys generate", sfu.events("keys.refused")[-1]["text"])
        self.both_say((jwt,), "keys.warning", what="sample_secret", key="devkey")
        self.put(f"new: {NEW}\n")
        self.both_say((sfu,), "keys.loaded", first="new")
        self.both_say((jwt,), "keys.loaded", n=2, first="new")  # the first was the sample key
        self.assertEqual(sfu.validate(self.token(hs, jwt)), (200, "success"))
        self.assertEqual(sfu.validate(sign({"iss": "old", "exp": int(time.time()) + 60}, OLD)),
                         (401, "invalid API key: old"))

    def test_ways_in_which_files_change(self):
        """In place, in halves, by links as Kubernetes does, and after SIGHUP."""
        folder = pathlib.Path(self.here.name)
        (folder / "..1").mkdir()
        (folder / "..1" / "keys").write_text(f"old: {OLD}\n", encoding="utf-8")
        (folder / "..data").symlink_to("..1")
        link = folder / "keys"
        link.symlink_to("..data/keys")
        hs, sfu, jwt = self.pair(link)
        (folder / "..2").mkdir()
        (folder / "..2" / "keys").write_text(f"old: {OLD}\nsecond: {NEW}\n", encoding="utf-8")
        (folder / "..tmp").symlink_to("..2")
        (folder / "..tmp").rename(folder / "..data")
        self.both_say((sfu, jwt), "keys.loaded", keys=2)
        with open(link, "w", encoding="utf-8") as f:
            f.write(f"old: {OLD}\nsecond: {NEW}\nthird: {NEW[:20]}")
            f.flush()
            time.sleep(0.4)
            f.write(f"{NEW[20:]}\n")
        self.both_say((sfu, jwt), "keys.loaded", n=2, keys=3)
        for s in (sfu, jwt):
            self.assertEqual(s.events("keys.refused"), [])
            s.process.send_signal(signal.SIGHUP)
        self.both_say((sfu, jwt), "service.reloading")
        self.assertEqual([len(s.events("keys.loaded")) for s in (sfu, jwt)], [2, 2])
        third = sign({"iss": "third", "exp": int(time.time()) + 60, "video": {"roomJoin": True, "room": "r"}, "sub": "x"}, NEW)
        self.assertEqual(sfu.validate(third)[0], 200)
        self.assertEqual(self.token(hs, jwt).count("."), 2)

    def test_weak_and_readable_keys_are_told_at_the_start(self):
        self.put("devkey: secret\n", 0o644)
        done = subprocess.run([SFU, "--port", "0", "--key-file", self.path], env=environment({}), text=True,
                              stderr=subprocess.PIPE, timeout=20)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r'^foci-sfu: key_file \(flag --key-file\): key "devkey": .*focictl keys generate')
        self.server(None, "--dev", "--key-file", str(self.path))
        hs, env = self.homeserver(), {"LIVEKIT_KEY": None, "LIVEKIT_SECRET": None, "LIVEKIT_KEY_FILE": str(self.path)}
        jwt = self.service({"LIVEKIT_FULL_ACCESS_HOMESERVERS": hs.name, **env})
        self.assertEqual([e["what"] for e in jwt.events("keys.warning")], ["sample_secret", "readable_file"])
        self.assertIn("644", jwt.events("keys.warning")[1]["text"])

    def test_secrets_stay_in_the_process(self):
        self.put(f"old: {OLD}\n")
        for program, args, env in ((SFU, ("--keys", f"old: {OLD}"), {}),
                                   (SFU, (), {"LIVEKIT_KEYS": f"old: {OLD}"})):
            s = self.server(env, *args)
            self.assert_process_hides(s.process.pid, str(program))
        jwt = self.service({"LIVEKIT_KEY": "old", "LIVEKIT_SECRET": OLD, "LIVEKIT_REDIS_PASSWORD": None})
        self.assert_process_hides(jwt.process.pid, BINARY)
        self.assert_no_secret(jwt.text())
        for command in (["--check-config"], ["--check-config", "--secret", OLD]):
            env = settings(LIVEKIT_SECRET=OLD if len(command) == 1 else None)
            done = subprocess.run([BINARY, *command], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assert_no_secret(done.stdout)

    def assert_process_hides(self, pid, what):
        for name in ("cmdline", "environ"):
            self.assertNotIn(OLD.encode(), pathlib.Path(f"/proc/{pid}/{name}").read_bytes(), (what, name))
        if not with_asan():  # whose leak check traces the process
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")
            self.assertRegex(limits, r"Max core file size +0 +0 ")

    def test_credentials_of_systemd(self):
        folder = pathlib.Path(self.here.name)
        (folder / "key_file").write_text(f"old: {OLD}\n", encoding="utf-8")
        env = {"CREDENTIALS_DIRECTORY": str(folder)}
        sfu = self.server(env)
        jwt = self.service({"LIVEKIT_KEY": None, "LIVEKIT_SECRET": None, **env})
        for s in (sfu, jwt):
            self.assertEqual(s.events("config.warning"), [])
        (folder / "key_file").unlink()
        (folder / "secret").write_text(OLD, encoding="utf-8")
        (folder / "key").write_text("from-credential", encoding="utf-8")
        env = settings(LIVEKIT_KEY=None, LIVEKIT_SECRET=None, **env)
        done = subprocess.run([BINARY, "--check-config"], env=env, text=True, stdout=subprocess.PIPE)
        self.assertEqual(done.returncode, 0)
        self.assertIn(f"key = from-credential  (credential {folder}/key)", done.stdout)
        self.assertIn(f"secret = ***  (credential {folder}/secret)", done.stdout)
        self.assert_no_secret(done.stdout)


class Tool(KeyFile):
    """focictl by itself."""
    weight = 1

    def test_generate(self):
        pairs = [self.ctl("generate") for _ in range(2)]
        self.assertNotEqual(*pairs)
        self.assertRegex(pairs[0], r"^API[A-Za-z0-9]{12}: [A-Za-z0-9]{44}\n$")
        self.assertFalse(self.path.exists())  # the file of the environment is left alone
        said = self.ctl("generate", "--file", str(self.path), "--name", "mine")
        self.assertEqual(said, f"key mine is in {self.path}\n")
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.learn()
        self.assertIn("rotate", self.ctl("generate", "--file", str(self.path), status=1))
        self.assertIn("mine                 signs", self.ctl("list"))

    def test_rotate_keeps_what_it_need_not_change(self):
        self.put(f"# mine\n\nold: {OLD} # of Alice\nother: {NEW}\n", 0o640)
        link = self.path.with_name("link")
        link.symlink_to(self.path)
        self.ctl("rotate", "--file", str(link), "--name", "next")
        self.learn()
        self.assertTrue(link.is_symlink())
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o640)
        self.assertRegex(self.path.read_text(encoding="utf-8"),
                         rf"^# mine\n\nnext: \w+ # added \S+Z, signs \S+Z\nold: {OLD} # of Alice, retires \S+Z\nother: {NEW}\n$")
        self.assertEqual(sorted(p.name for p in self.path.parent.iterdir()), ["keys.yaml", "link"])

    def test_many_at_once(self):
        self.put(f"old: {OLD}\n")
        env = environment({"LIVEKIT_KEY_FILE": str(self.path)})
        running = [subprocess.Popen([CTL, "keys", "rotate"], env=env, stdout=subprocess.DEVNULL) for _ in range(10)]
        self.assertEqual([p.wait(30) for p in running], [0] * 10)
        self.learn()
        table = self.ctl("list").splitlines()[1:]
        self.assertEqual(len(table), 11)
        self.assertEqual(sum(line.endswith(" -") for line in table), 1)  # all the others retire

    def test_what_cannot_be_done_is_told_in_one_line(self):
        cases = [((), "LIVEKIT_KEY_FILE", False), (("--overlap", "1s"), "shorter than --delay", True),
                 (("--name", "a: b"), "letters", True), (("--overlap", "soon"), "overlap", True), (("x",), "x", True)]
        for more, says, has_file in cases:
            self.put(f"old: {OLD}\n")
            env = environment({"LIVEKIT_KEY_FILE": str(self.path) if has_file else None})
            done = subprocess.run([CTL, "keys", "rotate", *more], env=env, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stdout), (1, ""), done)
            self.assertRegex(done.stderr, rf"^focictl: [^\n]*{says}[^\n]*\n$")
            self.assertEqual(self.path.read_text(encoding="utf-8"), f"old: {OLD}\n")
        self.put("rubbish\n")
        for command in ("rotate", "list"):
            self.assertIn(f"{self.path}, line 1: ", self.ctl(command, status=1))
        self.path.unlink()
        for command in ("rotate", "list"):
            self.assertIn("No such file", self.ctl(command, status=1))

    def test_a_short_overlap_is_told(self):
        self.put(f"old: {OLD}\n")
        done = subprocess.run([CTL, "keys", "rotate", "--file", self.path, "--overlap", "30m"], env=environment({}), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0)
        self.assertIn("warning: tokens live for 3600 s", done.stderr)


if __name__ == "__main__":
    unittest.main()
