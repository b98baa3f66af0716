#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compose.yml, the Dockerfiles and the proxy's configuration: their form, whether the services take the settings that they are
given there, and whether the proxy leads where .well-known says. Needs no container engine. Use run.sh, which does the set-up.

    tests/deploy/test_deploy.py BUILD_DIR CADDY [TestName...]"""
import http.client
import http.server
import json
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = None
CADDY = None
DOMAIN = "call.example.org"
SETTINGS = {"FOCI_DOMAIN": DOMAIN, "NODE_IP": "192.0.2.1", "LIVEKIT_KEY": "foci",
            "LIVEKIT_SECRET": "a secret of no worth, long enough for HS256"}
SERVICES = {"synapse", "synapse-setup", "foci-jwt", "foci-sfu", "proxy"}


def compose_config(settings):
    """compose.yml as podman-compose understands it; it only asks podman for its version here."""
    with tempfile.TemporaryDirectory() as d:
        podman = pathlib.Path(d, "podman")
        podman.write_text("#!/bin/sh\necho podman version 4.9.0\n")
        podman.chmod(0o755)
        env_file = pathlib.Path(d, "env")
        env_file.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        return subprocess.run(
            [sys.executable, "-m", "podman_compose", "--podman-path", podman, "--env-file", env_file,
             "-f", ROOT / "compose.yml", "config"],
            capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"], "HOME": d})


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def get(port, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": "localhost", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def wait_for(what, seconds=15):
    end = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError("not up in time")
        time.sleep(0.05)


class Compose(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        result = compose_config(SETTINGS)
        assert result.returncode == 0, result.stderr
        cls.config = yaml.safe_load(result.stdout)
        cls.services = cls.config["services"]

    def test_has_the_services(self):
        self.assertEqual(set(self.services), SERVICES)

    def test_every_service_that_stays_has_a_healthcheck_that_its_image_can_do(self):
        for name in SERVICES - {"synapse-setup"}:
            test = self.services[name]["healthcheck"]["test"]
            self.assertEqual(test[:2], ["CMD", "foci-jwt" if name == "foci-jwt" else "curl"], name)

    def test_a_missing_setting_is_named(self):
        for missing in SETTINGS:
            result = compose_config({k: v for k, v in SETTINGS.items() if k != missing})
            self.assertNotEqual(result.returncode, 0, missing)
            self.assertIn(missing, result.stderr + result.stdout)

    def test_the_example_names_every_setting(self):
        names = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.M))
        used = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yml").read_text()))
        self.assertEqual(names, used)

    def test_what_it_mounts_and_builds_from_is_there(self):
        for name, service in self.services.items():
            if "build" in service:
                self.assertTrue((ROOT / service["build"]["dockerfile"]).is_file(), name)
            for volume in service.get("volumes", []):
                source = volume.split(":")[0] if isinstance(volume, str) else volume["source"]
                if source.startswith("."):
                    self.assertTrue((ROOT / source).exists(), source)
                elif not source.startswith("/"):
                    self.assertIn(source, self.config["volumes"])

    def test_one_media_port_is_published_for_each_worker(self):
        sfu = self.services["foci-sfu"]
        workers = int(sfu["environment"]["FOCI_SFU_WORKERS"])
        self.assertIn(f"7882-{7882 + workers - 1}:7882-{7882 + workers - 1}/udp", sfu["ports"])

    def test_ours_run_without_privileges(self):
        for name in ("foci-sfu", "foci-jwt", "proxy"):
            service = self.services[name]
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)

    def test_the_services_take_their_settings(self):
        for name in ("foci-sfu", "foci-jwt"):
            result = subprocess.run([BUILD / name, "--check-config"], capture_output=True, text=True, timeout=20,
                                    env=self.services[name]["environment"])
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertNotIn("warning", (result.stdout + result.stderr).lower())
            self.assertNotIn(SETTINGS["LIVEKIT_SECRET"], result.stdout + result.stderr)

    def test_synapse_is_told_where_calls_are(self):
        text = (ROOT / "deploy/synapse/foci.yaml.in").read_text().replace("@DOMAIN@", DOMAIN)
        synapse = yaml.safe_load(text)
        self.assertEqual(synapse["matrix_rtc"]["transports"],
                         [{"type": "livekit", "livekit_service_url": f"https://{DOMAIN}/livekit/jwt"}])
        self.assertTrue(synapse["experimental_features"]["msc4143_enabled"])


def instructions(path):
    """[(instruction, argument)] with continued lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


class Dockerfiles(unittest.TestCase):
    KNOWN = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "ENV", "VOLUME"}
    FILES = {name: instructions(ROOT / f"deploy/Dockerfile.{name}") for name in ("sfu", "jwt", "proxy")}

    def test_instructions_are_known_and_begin_with_from(self):
        for name, lines in self.FILES.items():
            self.assertEqual(lines[0][0], "FROM", name)
            self.assertLessEqual({word for word, _ in lines}, self.KNOWN, name)

    def test_images_are_small_unprivileged_and_can_check_themselves(self):
        for name, lines in self.FILES.items():
            last = len(lines) - 1 - [word for word, _ in reversed(lines)].index("FROM")
            self.assertIn("debian:12-slim", lines[last][1])
            final = dict(lines[last:])
            self.assertRegex(final["USER"], r"^[1-9]\d*:[1-9]\d*$", name)
            self.assertIsInstance(json.loads(final["ENTRYPOINT"]), list, name)
            check = json.loads(final["HEALTHCHECK"].split("CMD ", 1)[1])[0]
            installed = " ".join(a for w, a in lines[last:] if w == "RUN").split()
            self.assertTrue(check in installed or check == f"/usr/local/bin/foci-{name}", f"{name}: {check}")

    def test_what_is_copied_exists(self):
        ignored = (ROOT / ".dockerignore").read_text().split()
        for name, lines in self.FILES.items():
            for word, argument in lines:
                parts = shlex.split(argument)
                if word != "COPY" or parts[0].startswith("--from"):
                    continue
                for source in parts[:-1]:
                    self.assertTrue((ROOT / source).exists(), f"{name}: {source}")
                    self.assertNotIn(source, ignored)

    def test_run_commands_are_shell(self):
        for name, lines in self.FILES.items():
            for command in (argument for word, argument in lines if word == "RUN"):
                self.assertEqual(subprocess.run(["sh", "-n", "-c", command]).returncode, 0, f"{name}: {command}")

    def test_every_library_that_a_program_needs_is_installed(self):
        for name in ("sfu", "jwt"):
            wanted = set(" ".join(a for w, a in self.FILES[name] if w == "RUN").replace(")", " ").split()) | {"libc6"}
            dynamic = subprocess.run(["objdump", "-p", BUILD / f"foci-{name}"], capture_output=True, text=True, check=True)
            paths = subprocess.run(["ldd", BUILD / f"foci-{name}"], capture_output=True, text=True, check=True).stdout
            for library in re.findall(r"NEEDED\s+(\S+)", dynamic.stdout):
                path = os.path.realpath(re.search(rf"{re.escape(library)} => (\S+)", paths)[1])
                owner = subprocess.run(["dpkg-query", "-S", "*" + path.removeprefix("/usr")], capture_output=True,
                                       text=True).stdout
                packages = {line.split(":")[0] for line in owner.splitlines()}
                self.assertTrue(packages & wanted, f"Dockerfile.{name} installs nothing that has {library}: {packages}")


class Upstream(http.server.BaseHTTPRequestHandler):
    """Stands where Synapse would: answers with the path that it was asked for."""

    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Proxy(unittest.TestCase):
    """Caddy with our Caddyfile, over plain HTTP, before both services."""

    @classmethod
    def setUpClass(cls):
        cls.processes = []
        cls.dir = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.clean_up)
        cls.synapse = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
        threading.Thread(target=cls.synapse.serve_forever, daemon=True).start()
        cls.port, cls.sfu, cls.jwt = free_port(), free_port(), free_port()
        keys = {"LIVEKIT_KEY": SETTINGS["LIVEKIT_KEY"], "LIVEKIT_SECRET": SETTINGS["LIVEKIT_SECRET"]}
        cls.start([BUILD / "foci-sfu", "--bind", "127.0.0.1", "--port", str(cls.sfu), "--udp-port", "0"],
                  {"LIVEKIT_KEYS": f"{keys['LIVEKIT_KEY']}: {keys['LIVEKIT_SECRET']}"})
        cls.start([BUILD / "foci-jwt"],
                  {**keys, "LIVEKIT_URL": f"ws://127.0.0.1:{cls.sfu}", "LIVEKIT_JWT_BIND": f"127.0.0.1:{cls.jwt}",
                   "LIVEKIT_FULL_ACCESS_HOMESERVERS": DOMAIN, "FOCI_JWT_STATE_DIR": cls.dir.name})
        cls.start([CADDY, "run", "--config", ROOT / "deploy/Caddyfile", "--adapter", "caddyfile"],
                  {"FOCI_SITE": f"http://localhost:{cls.port}", "FOCI_DOMAIN": DOMAIN,
                   "FOCI_SFU": f"127.0.0.1:{cls.sfu}", "FOCI_JWT": f"127.0.0.1:{cls.jwt}",
                   "FOCI_SYNAPSE": "127.0.0.1:%d" % cls.synapse.server_address[1],
                   # Not the usual one, which a Caddy of this machine may have.
                   "FOCI_PROXY_ADMIN": f"127.0.0.1:{free_port()}",
                   "XDG_DATA_HOME": cls.dir.name, "XDG_CONFIG_HOME": cls.dir.name, "HOME": cls.dir.name})
        try:
            for port, path in ((cls.sfu, "/"), (cls.jwt, "/healthz"), (cls.port, "/.well-known/matrix/client")):
                wait_for(lambda: get(port, path)[0] == 200)
        except TimeoutError as e:
            logs = [p.read_text()[-2000:] for p in sorted(pathlib.Path(cls.dir.name).glob("log*"))]
            raise TimeoutError(f"{path} of port {port} does not answer; the logs:\n" + "\n".join(logs)) from e

    @classmethod
    def start(cls, command, env):
        with open(pathlib.Path(cls.dir.name, f"log{len(cls.processes)}"), "w") as log:
            cls.processes.append(
                subprocess.Popen(command, env={"PATH": os.environ["PATH"], **env}, stdout=log, stderr=log))

    @classmethod
    def clean_up(cls):
        for process in cls.processes:
            process.terminate()
        for process in cls.processes:
            process.wait(20)
        cls.synapse.shutdown()
        cls.synapse.server_close()
        cls.dir.cleanup()

    def test_well_known_names_the_path_of_the_authorization_service(self):
        status, headers, body = get(self.port, "/.well-known/matrix/client")
        self.assertEqual(status, 200)
        self.assertEqual(headers["access-control-allow-origin"], "*")
        self.assertEqual(headers["content-type"], "application/json")
        foci = json.loads(body)["org.matrix.msc4143.rtc_foci"]
        self.assertEqual(foci, [{"type": "livekit", "livekit_service_url": f"https://{DOMAIN}/livekit/jwt"}])
        self.assertEqual(json.loads(get(self.port, "/.well-known/matrix/server")[2]), {"m.server": f"{DOMAIN}:443"})

    def test_the_authorization_service_is_behind_its_path(self):
        self.assertEqual(get(self.port, "/livekit/jwt/healthz")[0], 200)
        self.assertEqual(get(self.port, "/livekit/jwt/sfu/get")[0], 405)
        self.assertEqual(get(self.port, "/livekit/jwt/get_token")[0], 405)

    def test_numbers_for_operators_stay_inside(self):
        self.assertEqual(get(self.jwt, "/metrics")[0], 200)
        self.assertEqual(get(self.port, "/livekit/jwt/metrics")[0], 404)

    def test_the_image_can_check_itself(self):
        ask = [BUILD / "foci-jwt", "healthcheck"]
        self.assertEqual(subprocess.run(ask, env={"LIVEKIT_JWT_BIND": f":{self.jwt}"}, timeout=10).returncode, 0)
        self.assertEqual(subprocess.run(ask, env={"LIVEKIT_JWT_BIND": f":{free_port()}"}, timeout=10,
                                        stderr=subprocess.DEVNULL).returncode, 1)

    def test_one_cors_header_reaches_the_browser(self):
        headers = get(self.port, "/livekit/jwt/sfu/get", {"Origin": "https://app.example.org"})[1]
        self.assertEqual(headers["access-control-allow-origin"], "*")

    def test_the_sfu_is_behind_its_path(self):
        self.assertEqual(get(self.port, "/livekit/sfu/")[0], 200)
        self.assertEqual(get(self.port, "/livekit/sfu/rtc/validate")[0], 401)
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                   "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
        self.assertEqual(get(self.port, "/livekit/sfu/rtc/v1", upgrade)[0], 401)

    def test_the_homeserver_gets_its_paths_as_they_are(self):
        self.assertEqual(get(self.port, "/_matrix/client/versions?a=b")[2], "/_matrix/client/versions?a=b")
        self.assertEqual(get(self.port, "/_synapse/admin/v1/users")[0], 404)


if __name__ == "__main__":
    BUILD, CADDY = pathlib.Path(sys.argv.pop(1)).resolve(), pathlib.Path(sys.argv.pop(1)).resolve()
    result = unittest.main(exit=False, verbosity=1).result
    failed = len(result.failures) + len(result.errors)
    passed = result.testsRun - failed - len(result.skipped)
    if os.environ.get("RESULTS"):
        with open(os.environ["RESULTS"], "a") as f:
            f.write(f"{passed} {failed}\n")
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or not passed else 0)
