#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a forwarded packet costs: foci-sfu and the floor forwarder, interleaved, on loopback. It measures and judges nothing.

    tests/bench/run_bench.py BUILD_DIR OUT.json [--rounds N] [--seconds N] [--only SCENARIO]

Each round runs each scenario with both servers, one after the other, each time with fresh processes. Figures are medians of
the rounds:

  us/packet   CPU of all threads of the server (user and system, schedstat) in the window, by packets that arrived at
              subscribers. On loopback this includes the receiver's half of the kernel's path, for both alike. No load
              runs outside of the window, which begins and ends with nothing under way
  ratio       of foci-sfu to the floor
  loss        of all copies that should have arrived
  B/sub       memory (PSS) a subscriber: slope to the next smaller fan-out, for the smallest to the next larger one; of a
              meeting, what it adds to the idle process, by its participants
  join us     CPU from the first join until all are connected and negotiated, by participants
  allocs      calls to the heap by media workers in the window"""
import argparse
import json
import mmap
import os
import pathlib
import re
import secrets
import statistics
import struct
import subprocess
import sys
import tempfile
import time

PACKET_SIZE = 1150
# Packets of a picture, sent back to back: what 1.5 Mbit/s at 30 pictures a second make, rounded down.
BURST = 4
# Loads that leave half of a core of a small machine to the server and all of another to the generator.
FAN_OUT = {"fan-10": (10, 2000), "fan-100": (100, 1000), "fan-1000": (1000, 120)}
MEETING = {"meeting-10": (10, 500)}
JOINS_PER_SECOND = 200
ALLOCATION_RECORD = struct.Struct("=qQ")
ALLOCATION_RECORDS = 256  # malloc_count.c
START_TIMEOUT = 20
RUN_TIMEOUT = 180


class Server:
    """A process that is measured."""

    def __init__(self, command, env, pattern, core, log):
        self.log = open(log, "w+")
        self.process = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **env}, stdout=self.log,
                                        stderr=subprocess.STDOUT, preexec_fn=on_core(core))
        end = time.monotonic() + START_TIMEOUT
        while True:
            text = pathlib.Path(log).read_text()
            found = re.search(pattern, text, re.S)
            if found:
                self.port = int(found[1])
                return
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{command[0]} did not come up:\n{text}")
            time.sleep(0.02)

    def tasks(self):
        return pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()

    def cpu_us(self):
        return sum(int((t / "schedstat").read_text().split()[0]) for t in self.tasks()) / 1000

    def workers(self):
        return {int(t.name) for t in self.tasks() if (t / "comm").read_text().startswith("worker-")}

    def pss(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss:\s+(\d+) kB", text, re.M)[1]) * 1024

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def on_core(core):
    """The server alone on one core, its load on the others, where there are several."""
    return None if core is None else lambda: os.sched_setaffinity(0, core)


def cores():
    available = sorted(os.sched_getaffinity(0))
    return ({available[0]}, set(available[1:])) if len(available) > 1 else (None, None)


class Allocations:
    def __init__(self, path):
        path.write_bytes(bytes(ALLOCATION_RECORD.size * ALLOCATION_RECORDS))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 0)

    def of(self, threads):
        return sum(count for tid, count in ALLOCATION_RECORD.iter_unpack(self.map[:]) if tid in threads)


def run_load(command, core, on_event):
    """Runs a load program; on_event is called for each of its lines as they come. Returns the last."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=on_core(core))
    result = None
    try:
        for line in process.stdout:
            result = json.loads(line)
            on_event(result["event"])
        errors = process.communicate(timeout=RUN_TIMEOUT)[1]
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0 or not result or result["event"] != "result":
        raise RuntimeError(f"{command[0]}: exit {process.returncode}\n{errors}")
    return result


class Bench:
    def __init__(self, build, directory, seconds):
        self.build, self.dir, self.seconds = build, pathlib.Path(directory), seconds
        self.server_core, self.load_core = cores()

    def load_options(self, scenario):
        pattern = ["--packet-size", PACKET_SIZE, "--burst", BURST, "--warmup", 1, "--seconds", self.seconds]
        if scenario in FAN_OUT:
            subscribers, pps = FAN_OUT[scenario]
            return ["--publishers", 1, "--subscribers", subscribers, "--pps", pps, *pattern]
        people, pps = MEETING[scenario]
        return ["--pps", pps, *pattern], people

    def command(self, program, *options):
        return [str(self.build / program), *(str(o) for o in options)]

    def floor(self, scenario):
        server = Server(self.command("floor_forwarder"), {}, r"port (\d+),", self.server_core, self.dir / "floor.log")
        options = self.load_options(scenario)
        if scenario in MEETING:
            options = [*options[0], "--meeting", "--publishers", options[1], "--subscribers", 0]
        cpu = {}
        try:
            result = run_load(self.command("floor_load", "--port", server.port, *options), self.load_core,
                              lambda event: cpu.update({event: server.cpu_us()}))
        finally:
            server.stop()
        return {"us": (cpu["window_end"] - cpu["window_start"]) / result["received"],
                "loss": 1 - result["received"] / result["expected"]}

    def foci(self, scenario):
        secret = secrets.token_hex(32)
        counter = self.dir / "allocations"
        allocations = Allocations(counter)
        # Two workers would not help one room, and would make idle threads part of its memory.
        server = Server(self.command("foci-sfu", "--dev", "--port", 0, "--udp-port", 0, "--workers", 1, "--ipv6", "false",
                                     "--log-format", "json", "--log-level", "info"),
                        {"LIVEKIT_KEYS": f"bench: {secret}", "LD_PRELOAD": str(self.build / "malloc_count.so"),
                         "MALLOC_COUNT_FILE": str(counter)},
                        r'"what":"signalling"[^\n]*"port":(\d+).*service\.ready', self.server_core, self.dir / "sfu.log")
        options = self.load_options(scenario)
        if scenario in MEETING:
            options = [*options[0], "--meeting", options[1]]
        seen = {}

        def on_event(event):
            seen[event] = {"cpu": server.cpu_us(), "allocations": allocations.of(server.workers()), "pss": server.pss()}

        try:
            result = run_load(self.command("loadgen", "--url", f"ws://127.0.0.1:{server.port}", "--key", "bench", "--secret",
                                           secret, "--room", scenario, "--join-rate", JOINS_PER_SECOND, *options),
                              self.load_core, on_event)
        finally:
            server.stop()
        if result["content_errors"]:
            raise RuntimeError(f"{scenario}: {result['content_errors']} packets arrived changed")

        def between(a, b, key):
            return seen[b][key] - seen[a][key]

        return {"us": between("window_start", "window_end", "cpu") / result["received"],
                "loss": result["loss"],
                "join": between("start", "joined", "cpu") / result["clients"],
                "allocations": between("window_start", "window_end", "allocations"),
                "idle": seen["start"]["pss"], "pss": seen["window_end"]["pss"],
                "latency_p99": result["latency_p99_us"]}


def bytes_per_subscriber(scenario, medians):
    """See the head of this file."""
    if scenario in MEETING:
        m = medians[scenario]
        return (m["pss"] - m["idle"]) / MEETING[scenario][0]
    present = [s for s in FAN_OUT if s in medians]
    at = present.index(scenario)
    if len(present) == 1:
        m = medians[scenario]
        return (m["pss"] - m["idle"]) / FAN_OUT[scenario][0]
    small, large = (present[at - 1], scenario) if at > 0 else (scenario, present[1])
    return (medians[large]["pss"] - medians[small]["pss"]) / (FAN_OUT[large][0] - FAN_OUT[small][0])


def measure(bench, scenarios, rounds):
    foci = {s: [] for s in scenarios}
    floor = {s: [] for s in scenarios}
    for number in range(rounds):
        for s in scenarios:
            # The order changes, so that a drift of the machine does not favour one of them.
            for which, samples in [(bench.floor, floor), (bench.foci, foci)][::1 if number % 2 == 0 else -1]:
                samples[s].append(which(s))
            print(f"round {number + 1} of {rounds}: {s:10}  foci-sfu {foci[s][-1]['us']:6.2f} us, floor "
                  f"{floor[s][-1]['us']:5.2f} us a packet", flush=True)
    median = {s: {k: statistics.median(sample[k] for sample in foci[s]) for k in foci[s][0]} for s in scenarios}
    floor_median = {s: statistics.median(sample["us"] for sample in floor[s]) for s in scenarios}
    return median, floor_median, {s: max(sample["loss"] for sample in floor[s]) for s in scenarios}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    scenarios = [s for s in [*FAN_OUT, *MEETING] if re.search(options.only, s)]
    with tempfile.TemporaryDirectory() as directory:
        median, floor, floor_loss = measure(Bench(options.build.resolve(), directory, options.seconds), scenarios, options.rounds)
    table = [{
        "scenario": s,
        "subscribers": (FAN_OUT.get(s) or MEETING[s])[0],
        "us_per_packet": round(median[s]["us"], 3),
        "floor_us_per_packet": round(floor[s], 3),
        "ratio": round(median[s]["us"] / floor[s], 3),
        "loss": round(max(median[s]["loss"], 0), 6),
        "bytes_per_subscriber": round(bytes_per_subscriber(s, median)),
        "join_cpu_us": round(median[s]["join"]),
        "allocations": int(median[s]["allocations"]),
    } for s in scenarios]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(table, indent=2) + "\n")

    print(f"\n{PACKET_SIZE}-byte packets in bursts of {BURST}, loopback, median of {options.rounds} rounds")
    print(f"{'scenario':12}{'subs':>6}{'us/packet':>11}{'floor':>8}{'ratio':>7}{'loss':>9}{'B/sub':>9}{'join us':>9}{'allocs':>8}"
          f"{'p99 us':>8}{'floor loss':>12}")
    for row in table:
        s = row["scenario"]
        print(f"{s:12}{row['subscribers']:>6}{row['us_per_packet']:>11.2f}{row['floor_us_per_packet']:>8.2f}{row['ratio']:>7.2f}"
              f"{row['loss']:>9.5f}{row['bytes_per_subscriber']:>9}{row['join_cpu_us']:>9}{row['allocations']:>8}"
              f"{median[s]['latency_p99']:>8.0f}{floor_loss[s]:>12.5f}")
    print(f"idle with no calls: {median[scenarios[0]]['idle'] / 1e6:.1f} MB (PSS)")
    print(f"written to {options.out}")


if __name__ == "__main__":
    sys.exit(main())
