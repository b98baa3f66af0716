#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a token request costs foci-jwt, and what waiting costs it, beside stand-ins for homeserver and SFU on loopback. It
measures and judges nothing.

    tests/bench/run_bench_jwt.py BUILD_DIR OUT.json [--rounds N] [--seconds N] [--only ROW]

Each row is measured with fresh processes; figures are medians of the rounds.

  req/s core   token requests by the CPU that foci-jwt itself used for them (all threads, user and system, schedstat)
  req/s        answered a second, with as many connections as make it busy; stand-ins and load share the other cores
  p50, p99     of a request at a fixed rate that leaves foci-jwt mostly idle; the homeserver answers at once, its time and
               that of the SFU are within
  waiting      10,000 requests that wait for one homeserver which does not answer until all are there: memory (PSS) then,
               how long /healthz takes then (and at worst while they come, and while all are answered at once), and how
               many get a token
  leaves       100,000 delegated leaves of participants in calls, restored from the journal and from a redis-server if there
               is one: time from the start of the program until it listens; then all are restarted once at the homeserver;
               memory after that, and CPU of a core while nothing but their time passes
  idle         memory and wake-ups (context switches of all threads) in ten seconds of nothing to do"""
import argparse
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

KEY, SECRET = "benchkey", "benchsecretbenchsecretbenchsecret00"
NAME = "bench.example.org"
CONNECTIONS = 64
LATENCY_RATE = 1000
WAITING = 10000
LEAVES = 100000
LEAVE_SERVERS = 20
LEAVE_DELAY_S = 3600
IDLE_S = 10
START_TIMEOUT = 30
RUN_TIMEOUT = 120
# homeserver: how it is found; access: full makes the room as well; fresh: a new connection for each request.
TOKEN_ROWS = {
    "http full": ("http", "full", False),
    "http full, new connections": ("http", "full", True),
    "http restricted": ("http", "restricted", False),
    "http restricted, new connections": ("http", "restricted", True),
    "tls full": ("tls", "full", False),
    "tls restricted": ("tls", "restricted", False),
}


def cores():
    available = sorted(os.sched_getaffinity(0))
    return ({available[0]}, set(available[1:])) if len(available) > 1 else (None, None)


SERVER_CORE, LOAD_CORE = cores()


def on_core(core):
    return None if core is None else lambda: os.sched_setaffinity(0, core)


class Process:
    """A child with its output in a file."""

    def __init__(self, command, env, core, log):
        self.log_path = pathlib.Path(log)
        self.log = open(log, "w+")
        self.process = subprocess.Popen([str(c) for c in command], env={"PATH": os.environ["PATH"], **env}, stdout=self.log,
                                        stderr=subprocess.STDOUT, preexec_fn=on_core(core))

    def wait_for(self, pattern, timeout=START_TIMEOUT):
        end = time.monotonic() + timeout
        while True:
            text = self.log_path.read_text(errors="replace")
            found = re.search(pattern, text)
            if found:
                return found
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{self.process.args[0]} did not say {pattern!r}:\n{text[-3000:]}")
            time.sleep(0.005)

    def tasks(self):
        return pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()

    def cpu_us(self):
        return sum(int((t / "schedstat").read_text().split()[0]) for t in self.tasks()) / 1000

    def switches(self):
        return sum(int(n) for t in self.tasks() for n in re.findall(r"ctxt_switches:\s+(\d+)", (t / "status").read_text()))

    def memory(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return {k: int(re.search(rf"^{k}:\s+(\d+) kB", text, re.M)[1]) * 1024 for k in ("Pss", "Rss")}

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Bench:
    def __init__(self, build, directory, seconds):
        self.build, self.dir, self.seconds = build, pathlib.Path(directory), seconds
        self.cert, self.key = self.dir / "hs.pem", self.dir / "hs.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", self.key, "-out", self.cert, "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)

    # ---- processes ---------------------------------------------------------------------------

    def stand_ins(self):
        p = Process([self.build / "jwt_standin", "--cert", self.cert, "--key", self.key], {}, LOAD_CORE,
                    self.dir / "standin.log")
        p.ports = json.loads(p.wait_for(r"\{.*\}")[0])
        return p

    def service(self, stand_ins, homeserver="http", access="full", env=()):
        ports = stand_ins.ports
        url = f"http://127.0.0.1:{ports['homeserver']}"
        full = f"localhost:{ports['tls']}" if homeserver == "tls" else NAME
        name = full if access == "full" else NAME
        if homeserver == "tls" and access != "full":
            url = f"https://localhost:{ports['tls']}"
        state = self.dir / "state"
        state.mkdir(exist_ok=True, mode=0o700)
        p = Process([self.build / "foci-jwt"], {
            "LIVEKIT_JWT_BIND": "127.0.0.1:0", "LIVEKIT_KEY": KEY, "LIVEKIT_SECRET": SECRET,
            "LIVEKIT_URL": "wss://sfu.example.org/livekit", "LIVEKIT_INTERNAL_URL": f"http://127.0.0.1:{ports['sfu']}",
            "LIVEKIT_FULL_ACCESS_HOMESERVERS": full if access == "full" else "other.example.org",
            "LIVEKIT_OPENID_URL_OVERRIDES": f"{NAME}={url}", "LIVEKIT_CA_FILE": str(self.cert),
            "LIVEKIT_LOG_FORMAT": "json", "FOCI_JWT_STATE_DIR": str(state), **dict(env)}, SERVER_CORE, self.dir / "jwt.log")
        found = p.wait_for(r'service\.listening.*?"address":"127\.0\.0\.1:(\d+)"')
        p.port, p.name = int(found[1]), name
        return p

    def load(self, service, *options, on_waiting=None):
        command = [self.build / "jwt_load", "--port", service.port, "--server", service.name, "--pid", service.process.pid,
                   *options]
        p = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, preexec_fn=on_core(LOAD_CORE))
        result = None
        try:
            for line in p.stdout:
                result = json.loads(line)
                if result["event"] == "waiting":
                    on_waiting()
            p.wait(RUN_TIMEOUT)
        finally:
            p.kill()
            p.wait()
        if p.returncode != 0 or not result:
            raise RuntimeError(f"jwt_load: exit {p.returncode}")
        return result

    def control(self, stand_ins, what):
        c = http.client.HTTPConnection("127.0.0.1", stand_ins.ports["homeserver"], timeout=10)
        c.request("GET", f"/bench/{what}")
        return json.loads(c.getresponse().read())

    # ---- rows --------------------------------------------------------------------------------

    def tokens(self, row):
        homeserver, access, fresh = TOKEN_ROWS[row]
        options = ["--new"] if fresh else []
        with self.stand_ins() as s, self.service(s, homeserver, access) as jwt:
            busy = self.load(jwt, "--connections", CONNECTIONS, "--seconds", self.seconds, *options)
            calm = self.load(jwt, "--connections", CONNECTIONS, "--rate", LATENCY_RATE, "--seconds", self.seconds, *options)
            memory = jwt.memory()["Pss"]
        if busy["failed"] or calm["failed"]:
            raise RuntimeError(f"{row}: {busy['failed'] + calm['failed']} requests failed")
        return {"per_core": busy["ok"] / busy["cpu_us"] * 1e6, "wall": busy["ok"] / busy["us"] * 1e6,
                "us": busy["cpu_us"] / busy["ok"], "busy_p50_us": busy["latency"]["p50_us"],
                "busy_p99_us": busy["latency"]["p99_us"], "p50_us": calm["latency"]["p50_us"],
                "p99_us": calm["latency"]["p99_us"], "pss": memory}

    def waiting(self):
        seen = {}
        with self.stand_ins() as s, self.service(s) as jwt:
            idle = jwt.memory()
            self.control(s, "hold")

            def on_waiting():
                time.sleep(1)
                seen.update(jwt.memory())
                self.control(s, "release")

            result = self.load(jwt, "--once", "--probe", "--connections", WAITING, on_waiting=on_waiting)
            after = jwt.memory()["Pss"]
        return {"pss": seen["Pss"], "rss": seen["Rss"], "bytes_each": (seen["Pss"] - idle["Pss"]) / WAITING,
                "ok": result["ok"], "failed": result["failed"], "seconds": result["us"] / 1e6,
                "healthz_coming_us": result["coming"]["max_us"], "healthz_p50_us": result["waiting"]["p50_us"],
                "healthz_p99_us": result["waiting"]["p99_us"], "healthz_max_us": result["waiting"]["max_us"],
                "healthz_going_us": result["probes"]["max_us"], "after": after}

    def leaves(self, redis_url=None):
        servers = [f"hs{i}.example.org" for i in range(LEAVE_SERVERS)]
        shutil.rmtree(self.dir / "state", ignore_errors=True)
        (self.dir / "state").mkdir(mode=0o700)
        where = ["--redis", redis_url] if redis_url else ["--state-dir", self.dir / "state"]
        names = [a for s in servers for a in ("--server", s)]
        subprocess.run([self.build / "jwt_jobs", *where, "--count", str(LEAVES), "--delay", str(LEAVE_DELAY_S), *names],
                       check=True)
        with self.stand_ins() as s:
            url = f"http://127.0.0.1:{s.ports['homeserver']}"
            env = {"LIVEKIT_CS_API_URL_OVERRIDES": ",".join(f"{n}={url}" for n in servers),
                   "LIVEKIT_FULL_ACCESS_HOMESERVERS": ",".join(servers)}
            if redis_url:
                env["LIVEKIT_REDIS_URL"] = redis_url
            began = time.monotonic()
            with self.service(s, env=env) as jwt:
                started = time.monotonic() - began
                cpu_start = jwt.cpu_us()
                restored = jwt.memory()["Pss"]
                said = jwt.wait_for(r'leaves\.restored.*?"records":(\d+).*?"ms":(\d+)')
                end = time.monotonic() + RUN_TIMEOUT
                while self.control(s, "counts")["restarts"] < LEAVES and time.monotonic() < end:
                    time.sleep(0.05)
                settled = time.monotonic() - began
                time.sleep(8)  # buffers of the burst are given back
                first = self.control(s, "counts")
                cpu, switches = jwt.cpu_us(), jwt.switches()
                time.sleep(IDLE_S)
                cpu, switches = jwt.cpu_us() - cpu, jwt.switches() - switches
                counts = self.control(s, "counts")
                memory = jwt.memory()["Pss"]
                jwt.stop(signal.SIGKILL)
        return {"records": int(said[1]), "load_ms": int(said[2]), "start_s": started, "start_cpu_s": cpu_start / 1e6,
                "restored_pss": restored, "settled_s": settled, "pss": memory, "cpu_percent": cpu / IDLE_S / 1e4,
                "switches": switches, "restarts": counts["restarts"], "sends": counts["sends"], "lookups": counts["lookups"],
                "idle_lookups": counts["lookups"] - first["lookups"], "idle_restarts": counts["restarts"] - first["restarts"]}

    def leaves_redis(self):
        if not shutil.which("redis-server"):
            return None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with Process(["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", self.dir], {}, LOAD_CORE,
                     self.dir / "redis.log") as redis:
            redis.wait_for("Ready to accept")
            return self.leaves(f"redis://127.0.0.1:{port}")

    def idle(self):
        with self.stand_ins() as s, self.service(s) as jwt:
            time.sleep(35)  # what starting begins has ended, and its connections are closed
            fresh = jwt.memory()
            switches = jwt.switches()
            time.sleep(IDLE_S)
            switches = jwt.switches() - switches
            # And once more after it had something to do.
            self.load(jwt, "--connections", CONNECTIONS, "--seconds", 1)
            time.sleep(40)
            later, again = jwt.memory(), jwt.switches()
            time.sleep(IDLE_S)
            return {"pss": fresh["Pss"], "rss": fresh["Rss"], "switches": switches, "later_pss": later["Pss"],
                    "later_switches": jwt.switches() - again}


def median_of(samples):
    return {k: statistics.median(s[k] for s in samples) for k in samples[0]}


def mb(n):
    return f"{n / 1e6:.1f} MB"


def print_table(out):
    print(f"\n{'tokens':34}{'req/s core':>11}{'us CPU':>8}{'req/s':>8}{'p50 us':>8}{'p99 us':>8}{'busy p50':>10}{'busy p99':>10}")
    for row in TOKEN_ROWS:
        if row in out:
            m = out[row]
            print(f"{row:34}{m['per_core']:>11.0f}{m['us']:>8.1f}{m['wall']:>8.0f}{m['p50_us']:>8.0f}{m['p99_us']:>8.0f}"
                  f"{m['busy_p50_us']:>10.0f}{m['busy_p99_us']:>10.0f}")
    if "waiting" in out:
        m = out["waiting"]
        print(f"{WAITING} waiting: {mb(m['pss'])} ({m['bytes_each']:.0f} bytes each, {mb(m['after'])} afterwards), /healthz "
              f"p50 {m['healthz_p50_us']:.0f} us, p99 {m['healthz_p99_us']:.0f} us, max {m['healthz_max_us']:.0f} us (max "
              f"{m['healthz_coming_us']:.0f} us while they come and {m['healthz_going_us']:.0f} us while all are answered); "
              f"{m['ok']:.0f} got a token, {m['failed']:.0f} did not")
    for row in ("leaves, journal", "leaves, redis"):
        if out.get(row):
            m = out[row]
            print(f"{row}: {m['records']:.0f} restored in {m['load_ms']:.0f} ms, listening after {m['start_s']:.2f} s, all "
                  f"restarted after {m['settled_s']:.1f} s; {mb(m['pss'])} ({mb(m['restored_pss'])} when it listens); idle "
                  f"with them {m['cpu_percent']:.2f} % of a core, {m['idle_lookups'] / IDLE_S:.0f} lookups and "
                  f"{m['idle_restarts'] / IDLE_S:.0f} restarts a second; {m['sends']:.0f} sent")
    if "idle" in out:
        m = out["idle"]
        print(f"idle: {mb(m['pss'])}, {m['switches']:.0f} wake-ups in {IDLE_S} s; after load: {mb(m['later_pss'])}, "
              f"{m['later_switches']:.0f} wake-ups")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    out = {}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(options.build.resolve(), directory, options.seconds)
        rows = {row: lambda row=row: bench.tokens(row) for row in TOKEN_ROWS}
        rows.update({"waiting": bench.waiting, "leaves, journal": bench.leaves, "leaves, redis": bench.leaves_redis,
                     "idle": bench.idle})
        for row, run in rows.items():
            if re.search(options.only, row):
                print(f"{row} ...", flush=True)
                rounds = options.rounds if row in TOKEN_ROWS else 1
                samples = [m for m in (run() for _ in range(rounds)) if m]
                out[row] = median_of(samples) if samples else None
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(out, indent=2) + "\n")
    print_table(out)
    print(f"written to {options.out}")


if __name__ == "__main__":
    sys.exit(main())
