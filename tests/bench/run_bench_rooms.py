#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What people cost beside their media: joining, news of each other, data, being there, and what is left of them.

    tests/bench/run_bench_rooms.py BUILD_DIR OUT.json [--rounds N] [--people N] [--only ROW]

CPU is that of all threads of foci-sfu (user and system, schedstat), the kernel's half of loopback receivers included.
Figures are medians of the rounds. It measures and judges nothing.

  join     CPU from the first request until keys are established and all is negotiated, by person, into one room at 200 a
           second; by thread, and what of it is public-key arithmetic of the DTLS handshake (floor_dtls, in the same minute)
  flow     delay of a call's packets (p50, p99) alone, and while people join another room of the same worker at 200 a second
  idle     CPU of a room in which nothing happens, in per cent of a core
  update   CPU of a change of the room's metadata, by person told; calls to the heap by the media worker for all of them
  data     CPU of a reliable 1000-byte packet, by receiver; calls to the heap by the media worker, by receiver
  memory   anonymous memory of the process before the first of them, 60 s after as many have come and gone, and 60 s after ten
           times as many more, room by room; the ratio is that of the last to the one before it. What the first leave behind
           are tables that have grown and pages of the heap in which something small has stayed"""
import argparse
import base64
import collections
import hashlib
import hmac
import json
import pathlib
import re
import secrets
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.request

from run_bench import Allocations, Server, cores, run_load

JOINS_PER_SECOND = 200
IDLE_SECONDS = 10
SETTLE_SECONDS = 3      # after the last join: what it set off is over
CALLS = 20              # of the server API in a row
CALL_SPACING = 0.1      # seconds: each is an update of its own
DATA_BYTES = 1000
GENERATIONS = 10        # of people who come and go
MEMORY_SECONDS = 60
FLOW_SUBSCRIBERS, FLOW_PPS, FLOW_SECONDS = 10, 500, 5


def token(key, secret, room):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    now = int(time.time())
    text = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(
        {"iss": key, "sub": "bench", "nbf": now - 10, "exp": now + 3600, "video": {"roomAdmin": True, "roomCreate": True, "room": room}})
    signature = base64.urlsafe_b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).rstrip(b"=")
    return (text + b"." + signature).decode()


class Sfu(Server):
    def __init__(self, bench):
        self.bench, self.secret = bench, secrets.token_hex(32)
        counter = bench.dir / "allocations"
        self.allocations = Allocations(counter)
        super().__init__([str(bench.build / "foci-sfu"), "--dev", "--port", "0", "--udp-port", "0", "--workers", "1", "--ipv6",
                          "false", "--log-format", "json", "--log-level", "info"],
                         {"LIVEKIT_KEYS": f"bench: {self.secret}", "LD_PRELOAD": str(bench.build / "malloc_count.so"),
                          "MALLOC_COUNT_FILE": str(counter)},
                         r'"what":"signalling"[^\n]*"port":(\d+).*service\.ready', bench.server_core, bench.dir / "sfu.log")

    def load(self, room, on_event=lambda event: None, *options, nice=0):
        command = ["nice", "-n", str(nice), str(self.bench.build / "loadgen"), "--url", f"ws://127.0.0.1:{self.port}", "--key", "bench", "--secret",
                   self.secret, "--room", room, "--join-rate", str(JOINS_PER_SECOND), *(str(o) for o in options)]
        return run_load(command, self.bench.load_core, on_event)

    def crowd(self, room, people, seconds, on_event=lambda event: None, **how):
        """People who neither publish nor have anything to subscribe to."""
        return self.load(room, on_event, "--publishers", 0, "--subscribers", people, "--pps", 0, "--warmup", SETTLE_SECONDS,
                         "--seconds", seconds, **how)

    def cpu_by_thread(self):
        cpu = collections.Counter()
        for t in self.tasks():
            name = (t / "comm").read_text().strip()
            kind = "dtls" if name.startswith("dtls-") else "worker" if name.startswith("worker-") else "signalling"
            cpu[kind] += int((t / "schedstat").read_text().split()[0]) / 1000
        return cpu

    def call(self, room, method, **arguments):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/twirp/livekit.RoomService/{method}",
                                         json.dumps({"room": room, **arguments}).encode(),
                                         {"Authorization": f"Bearer {token('bench', self.secret, room)}",
                                          "Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=10).read()

    def heap_calls(self):
        return self.allocations.of(self.workers())


class Bench:
    def __init__(self, build, directory, people):
        self.build, self.dir, self.people = build, pathlib.Path(directory), people
        self.server_core, self.load_core = cores()

    def crowd(self):
        """One room: how it fills, is there, hears news and gets data."""
        sfu, seen = Sfu(self), {}

        def repeated(room, method, **arguments):
            cpu, heap = sfu.cpu_us(), sfu.heap_calls()
            for i in range(CALLS):
                sfu.call(room, method, **{k: v.replace("#", str(i)) if isinstance(v, str) else v for k, v in arguments.items()})
                time.sleep(CALL_SPACING)
            return (sfu.cpu_us() - cpu) / CALLS, (sfu.heap_calls() - heap) / CALLS

        def on_event(event):
            seen[event] = sfu.cpu_by_thread()
            if event == "window_start":
                cpu = sfu.cpu_us()
                time.sleep(IDLE_SECONDS)
                seen["idle"] = (sfu.cpu_us() - cpu) / IDLE_SECONDS
                seen["update"] = repeated("crowd", "UpdateRoomMetadata", metadata="news #")
                payload = base64.b64encode(bytes(DATA_BYTES)).decode()
                seen["data"] = repeated("crowd", "SendData", data=payload, kind="RELIABLE", topic="bench")

        try:
            sfu.crowd("crowd", self.people, IDLE_SECONDS + round(2 * CALLS * (CALL_SPACING + 0.1)), on_event)
        finally:
            sfu.stop()
        arithmetic = json.loads(subprocess.run([self.build / "floor_dtls"], check=True, capture_output=True).stdout)["total"]
        join = {k: (seen["joined"][k] - seen["start"][k]) / self.people for k in seen["joined"]}
        background = seen["idle"] * CALL_SPACING  # beside a call; small against it
        return {
            "join_us": sum(join.values()),
            "join_signalling_us": join["signalling"],
            "join_worker_us": join["worker"],
            "join_dtls_us": join["dtls"],
            "join_public_key_us": arithmetic,
            "join_other_us": sum(join.values()) - arithmetic,
            "idle_percent": seen["idle"] / 1e6 * 100,
            "update_us_each": (seen["update"][0] - background) / self.people,
            "update_heap_calls": seen["update"][1],
            "data_us_each": (seen["data"][0] - background) / self.people,
            "data_heap_calls_each": seen["data"][1] / self.people,
        }

    def flow(self):
        """A call, alone and while others join."""
        delays = {}
        for name, joining in [("alone", False), ("joins", True)]:
            sfu, others = Sfu(self), []

            def on_event(event):
                if joining and event == "window_start":
                    # The work of those who join must not keep the call's own clients from their packets.
                    others.append(threading.Thread(target=sfu.crowd, args=("others", FLOW_SECONDS * JOINS_PER_SECOND, 1),
                                                   kwargs={"nice": 19}))
                    others[0].start()

            try:
                result = sfu.load("call", on_event, "--publishers", 1, "--subscribers", FLOW_SUBSCRIBERS, "--pps", FLOW_PPS,
                                  "--sample-every", 1, "--warmup", 1, "--seconds", FLOW_SECONDS)
                for thread in others:
                    thread.join()
            finally:
                sfu.stop()
            delays[name] = result
        return {f"flow_{q}_{name}_us": delays[name][f"latency_{q}_us"] for q in ["p50", "p99"] for name in delays}

    def memory(self):
        sfu = Sfu(self)
        seen = []

        def anonymous():
            text = pathlib.Path(f"/proc/{sfu.process.pid}/smaps_rollup").read_text()
            return int(re.search(r"^Anonymous:\s+(\d+) kB", text, re.M)[1]) * 1024

        try:
            time.sleep(1)
            before = anonymous()
            sfu.crowd("first", self.people, 1, lambda event: seen.append(anonymous()))
            time.sleep(MEMORY_SECONDS)
            first = anonymous()
            for i in range(GENERATIONS):
                sfu.crowd(f"generation-{i}", self.people, 1, lambda event: seen.append(anonymous()))
            time.sleep(MEMORY_SECONDS)
            after = anonymous()
        finally:
            sfu.stop()
        return {"memory_before": before, "memory_highest": max(seen), "memory_first_gone": first, "memory_all_gone": after,
                "memory_ratio": after / first}

ROWS = {"crowd": Bench.crowd, "flow": Bench.flow, "memory": Bench.memory}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(options.build.resolve(), directory, options.people)
        for name, measure in ROWS.items():
            if not re.search(options.only, name):
                continue
            # Memory takes two minutes and does not vary.
            rounds = 1 if name == "memory" else options.rounds
            samples = [measure(bench) for _ in range(rounds)]
            for key in samples[0]:
                figures[key] = round(statistics.median(s[key] for s in samples), 3)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"people": options.people, **figures}, indent=2) + "\n")
    for key, value in figures.items():
        print(f"{key:24}{value:>16,}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
