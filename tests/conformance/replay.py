#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recorded sessions of a LiveKit server are played again to ours: the same clients say the same at the same times, and what our
server answers is compared with what livekit-server 1.13.5 answered, message by message.

    replay.py path/to/room_replay [--list] [--side] [--show] [--server=path/to/foci-sfu] [SCENARIO...]

room_replay is our room layer with clients that have real connections and media, on a virtual clock. From a recording come all
requests (with our ids for theirs), tokens, connect requests and the ends of sockets; offers have the recorded sections.
What is compared, for each connection: every message with all its fields, by kind, in order; between kinds the order that
clients need (order_faults); for updates what is told of each participant, whatever message it shares. Not compared: times, ids by value, numbers that follow
from media (levels, scores, SSRCs), and texts of descriptions (tests/unit/test_jsep_recorded.c), but their sections are.

Differences are listed with their reasons in differences.txt: one that is not listed fails, one that no longer occurs
fails as well. --list prints those that are not listed, --side what both say beside
each other, --show what ours says. With --server connect requests that HTTP refuses are made to the program itself; what differs
there is that ours does not repeat tokens (`invalid token: <token>, error: ...` is `invalid token, error: ...`)."""
import base64
import collections
import fnmatch
import json
import lzma
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import sfu_testbed  # noqa: E402  pylint: disable=wrong-import-position
from testbed import sign  # noqa: E402  pylint: disable=wrong-import-position

DATA = ROOT / "tests/data/signalling/replay"
TABLE = ROOT / "tests/conformance/differences.txt"
KEY, SECRET, CLOCK = "key", "0123456789abcdef0123456789abcdef", 1790000000
SID = re.compile(r"\b(?:PA|TR|RM|ND|DTR)_[0-9A-Za-z]+")
# Where a recording is not played to its end, and why.
UNTIL = {"04-server-restart-v1": (5900, "from the restart of the server on (tests/blackbox/test_sfu_resume.py)")}
# What was done beside the connections, in milliseconds.
ACTIONS = {
    "04-client-freezes-v1": [(5404, "vanish", "alice-1", 1), (50409, "vanish", "alice-1", 0)],
}
# They could only use a relay.
NO_PATH = {("04-force-tls-v1", "alice-2")}
PER_TRACK = {"subscribedQualityUpdate"}
# Said of several tracks in any order.
UNORDERED = {"subscriptionPermissionUpdate", "trackSubscribed"}
# Zero values of enums, which a reader of JSON cannot tell from what is not there.
ZERO = {"LOW", "JOINING", "AUDIO", "UNKNOWN_REASON", "DISCONNECT", "OK", "STANDARD", "PUBLISHER", "SE_UNKNOWN", "ACTIVE_",
        "POOR", "UNKNOWN", "ONE_", "NONE", "UNUSED"}


def mint(claims):
    """A token like the recorded one, of the virtual clock's time."""
    body = {k: v for k, v in claims.items() if k not in ("exp", "nbf", "iat", "iss")}
    return sign(body | {"iss": KEY, "exp": CLOCK + 7200}, SECRET)


def join_request(up):
    """The JoinRequest, as the signalling thread hands it over (sfu/signal/signal_codec.h)."""
    if "join" in up:
        j = json.loads(json.dumps(up["join"]))
    else:
        q = up["query"]
        truth = lambda name, default=False: q.get(name, "1" if default else "0") in ("1", "true")
        info = {"sdk": q.get("sdk", "").upper() or "UNKNOWN", "version": q.get("version", ""),
                "protocol": int(q.get("protocol", 0)), "clientProtocol": int(q.get("client_protocol", 0)),
                "os": q.get("os", ""), "browser": q.get("browser", "")}
        j = {"clientInfo": info, "connectionSettings": {"autoSubscribe": truth("auto_subscribe", True),
                                                        "adaptiveStream": truth("adaptive_stream")},
             "reconnect": truth("reconnect"), "participantSid": q.get("sid", "")}
        if q.get("capabilities"):
            info["capabilities"] = [int(c) for c in q["capabilities"].split(",")]
    info = j.setdefault("clientInfo", {})
    if info.get("sdk") == "JS" and not info.get("browser"):
        agent = up["agent"]
        info["browser"] = next((b for b in ("Firefox", "Chrome", "Safari") if b + "/" in agent), "")
        version = re.search(r"(?:Firefox|Chrome|Version)/([\d.]+)", agent)
        info["browserVersion"] = version[1] if version else ""
        info["os"] = "Linux" if "Linux" in agent else "Mac OS X" if "Mac OS X" in agent else ""
    return j


class Player:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True, encoding="utf-8")

    def tell(self, *fields):
        """(went well, [(connection, ms, payload)])"""
        self.process.stdin.write("\t".join(str(f) for f in fields) + "\n")
        self.process.stdin.flush()
        happened = []
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError("room_replay ended: " + self.process.stderr.read())
            first, *rest = line.rstrip("\n").split("\t", 2)
            if first in ("ok", "no") and len(rest) == 1:
                return first == "ok", happened
            happened.append((first, int(rest[0]), rest[1]))

    def end(self):
        _, errors = self.process.communicate(timeout=60)
        return errors.strip()


class Names:
    """Ids of one side as names that both sides have in common."""

    def __init__(self):
        self.of, self.back, self.cids = {}, {}, collections.Counter()

    def give(self, sid, name):
        if sid and sid not in self.of:
            self.of[sid] = name
            self.back[name] = sid

    def learn(self, connection, case, m):
        if case == "join":
            self.give(m["participant"]["sid"], f"PA:{connection}")
            self.give(m["room"]["sid"], f"RM:{connection}")
            for p in m.get("otherParticipants", []):
                self.learn_tracks(p)
        elif case == "trackPublished":
            sid = m["track"]["sid"]
            if sid not in self.of:
                key = (connection.rsplit("-", 1)[0], m.get("cid", ""))
                self.cids[key] += 1
                self.give(sid, f"TR:{key[0]}:{m.get('cid', '')[:12]}" + (f":{self.cids[key]}" if self.cids[key] > 1 else ""))
        elif case == "publishDataTrackResponse":
            info = m["info"]
            self.give(info["sid"], f"DTR:{connection}:{info.get('pubHandle')}:{info.get('name')}")
        elif case == "update":
            for p in m.get("participants", []):
                self.learn_tracks(p)

    def learn_tracks(self, p):
        pass

    def name(self, text):
        return SID.sub(lambda m: "ND" if m[0].startswith("ND_") else self.of.get(m[0], m[0].split("_")[0] + ":?"), text)


VOLATILE = {"joinedAt", "joinedAtMs", "creationTime", "creationTimeMs", "turnPassword", "lastPingTimestamp", "exp", "version",
            "level", "startedAt", "repairSsrc"}


def normal(value, names, key=""):
    """Without defaults, ids by name."""
    if isinstance(value, dict):
        out = {}
        if key == "subHandles":
            return {f"<handle {i}>": normal(v, names) for i, v in enumerate(value.values(), 1)}
        for k, v in value.items():
            if k in VOLATILE and not (k == "version" and key in ("serverInfo", "clientInfo")):
                continue
            n = normal(v, names, k)
            if n not in (None, "", 0, False, [], {}, "0") or (isinstance(n, float) and n):
                out[names.name(k)] = n
        return out
    if isinstance(value, list):
        return [normal(v, names, key) for v in value]
    if isinstance(value, str):
        if key == "candidateInit":
            return "tcp" if " tcp " in value else "udp" if " udp " in value else value
        if key == "sifTrailer":
            return "<bytes>"
        if key in ("timestamp", "pong"):
            return "<time>"
        if value in ZERO and key in ("quality", "state", "type", "disconnectReason", "action", "reason", "kind", "target", "err",
                                     "encryption", "videoLayerMode", "source", "backupCodecPolicy"):
            return None
        return names.name(value)
    if key == "ssrc":
        return 1
    if key == "score":
        return round(value, 1)
    return value


def sections_of(text):
    """Of a description of ours, as the recordings summarise theirs."""
    out = []
    for section in re.split(r"\r?\n(?=m=)", text)[1:]:
        kind, port = re.match(r"m=(\S+) (\d+)", section).groups()
        attribute = lambda pattern: re.search(rf"^a={pattern}", section, re.M)
        direction = attribute(r"(sendrecv|sendonly|recvonly|inactive)\r?$")
        words = [attribute(r"mid:(\S+)")[1], kind]
        if port == "0":
            words.append("port0")
        words.append(direction[1] if direction else "-")
        if kind != "application":
            first = re.match(r"m=\S+ \d+ \S+ (\d+)", section)[1]
            codec = attribute(rf"rtpmap:{first} (\S+)")
            words.append(codec[1] if codec else "?")
            rids = re.findall(r"^a=rid:(\S+)", section, re.M)
            if rids:
                words.append("rid=" + "/".join(rids))
            msid = attribute(r"msid:(\S+)")
            if msid:
                words.append("msid=" + msid[1])
        out.append(" ".join(words))
    return out


class Side:
    """What one server said: {connection: [(case, message)]} in order."""

    def __init__(self, recorded):
        self.recorded = recorded
        self.names = Names()
        self.raw = collections.OrderedDict()

    def hear(self, connection, t, case, m):
        self.names.learn(connection, case, m)
        self.raw.setdefault(connection, []).append((t, case, m))


def theirs_of(events):
    side, closed = Side(True), set()
    for e in events:
        if "out" in e and e["out"] != "bytes":
            case, m = e["out"], e.get("m", {})
            if case == "text":
                (case, m), = json.loads(m).items()
            side.hear(e["c"], e["t"], case, m)
        elif "refused" in e:
            side.hear(e["c"], e["t"], "refused", {"text": e["refused"]})
        elif e.get("close") == "c2s":
            closed.add(e["c"])
        elif e.get("close") == "s2c" and e["c"] not in closed:
            side.hear(e["c"], e["t"], "close", {})
    return side


class Replay:
    def __init__(self, program, scenario, events):
        self.scenario = scenario
        if scenario in UNTIL:
            events = [e for e in events if e["t"] < UNTIL[scenario][0]]
        events += [{"t": t, "do": what} for t, *what in ACTIONS.get(scenario, [])] + speech(events)
        self.events = events = sorted(events, key=lambda e: e["t"])
        self.player = Player(program)
        self.ours, self.theirs = Side(False), theirs_of(events)
        self.identity, self.sessions, self.gone, self.last, self.ended = {}, {}, set(), {}, set()
        self.cid_used, self.cids = {}, collections.defaultdict(list)
        self.restart, self.first_claims = set(), {}
        self.skipped = collections.Counter()
        if scenario in UNTIL:
            self.skipped[UNTIL[scenario][1]] = ""
        self.answers = {e["c"] for e in events if e.get("in") == "answer"}
        self.statuses = {e["c"]: e["status"] for e in events if "status" in e}
        self.refusals = {e["c"] for e in events if "refused" in e}

    def take(self, happened):
        for connection, t, payload in happened:
            if payload.startswith("close "):
                status = payload.split()[1]
                if connection not in self.ended:
                    if status != "0" and not self.ours.raw.get(connection):
                        self.ours.hear(connection, t, "refused", {"text": "connection closed by media"})
                    else:
                        self.ours.hear(connection, t, "close", {})
                continue
            if connection == "?":
                continue
            message = json.loads(payload)
            if not message:
                continue
            (case, m), = message.items()
            if case == "claims":
                # The signalling thread puts them into the token that follows the first message.
                if connection in self.ours.raw:
                    self.ours.hear(connection, t, "refreshToken", m)
                else:
                    self.first_claims[connection] = m
                continue
            self.ours.hear(connection, t, case, m)
            if case == "reconnect":
                self.ours.hear(connection, t, "refreshToken", self.first_claims[connection])

    def tell(self, *fields):
        ok, happened = self.player.tell(*fields)
        self.take(happened)
        return ok

    def translate(self, value):
        """Their ids in a request as ours."""
        if isinstance(value, dict):
            return {k: self.translate(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.translate(v) for v in value]
        if isinstance(value, str):
            return SID.sub(lambda m: self.ours.names.back.get(self.theirs.names.of.get(m[0]), m[0]), value)
        return value

    def sections(self, connection, lines):
        """The recorded ones, with the id of each sent track that the client named in add_track."""
        identity = connection.rsplit("-", 1)[0]
        used = self.cid_used.setdefault(identity, {})
        out = []
        for line in lines:
            words = line.split()
            mid, kind, rest = words[0], words[1], [w for w in words[2:] if w != "port0"]
            direction = rest[0] if rest else "-"
            codec = rest[1] if len(rest) > 1 and "=" not in rest[1] else "-"
            rids = next((w for w in rest if w.startswith("rid=")), "")
            msid = next((w[5:] for w in rest if w.startswith("msid=")), "")
            track = next((w[6:] for w in rest if w.startswith("track=")), "")
            word = f"{mid} {kind} {direction} {codec}"
            if direction.startswith("send") and kind != "application" and (msid or track):
                known = [c for c, k in self.cids[identity] if k == kind]
                key = (mid, track or msid)
                if key not in used:
                    free = [c for c in known if c not in used.values()] or known[-1:]
                    used[key] = track if track in known or not free else free[0]
                word += f" {rids}" * bool(rids) + f" track={track or used[key]} cid={used[key]}"
            out.append(word)
        return ";".join(out)

    def connect(self, e):
        c, up = e["c"], e["up"]
        claims = up["claims"]
        if c in self.refusals and self.theirs.raw[c][-1][2].get("text") != "connection closed by media" or not claims:
            self.skipped["connect requests that HTTP refuses"] += 1
            return
        identity = claims.get("sub") or claims.get("identity") or claims.get("jti", "")
        j = self.translate(join_request(up))
        short = c.rsplit("-", 1)[0]
        before = self.last.get(short)
        if j.get("reconnect") and before:
            self.restart.add(c)
            self.ended.discard(c)
            ok = self.tell("resume", c, before, mint(claims), json.dumps(j))
        else:
            if before:
                self.tell("vanish", before, 1)
                self.cid_used.pop(short, None)
                self.cids.pop(short, None)
            version = "v1" if up["v1"] else "v0" if c in self.answers else "silent"
            fields = ["join", c, identity, version, mint(claims), json.dumps(j)]
            if "offer" in up:
                fields += [up["offer"]["id"], self.sections(c, up["offer"]["sections"])]
            ok = self.tell(*fields)
        if ok:
            self.last[short] = c
            if (self.scenario, c) in NO_PATH:
                self.tell("path", c, 0)
        else:
            self.skipped["connect requests that were refused by us"] += 1

    def say(self, e):
        c, case, m = e["c"], e["in"], e.get("m", {})
        if c not in self.last.values():
            return
        if case == "text":
            self.tell("say", c, m)
        elif case == "bytes":
            self.tell("say", c, "{}")
        elif case == "offer" and m["sections"]:
            restart = c in self.restart
            self.restart.discard(c)
            self.tell("offer", c, m.get("id", 0), int(restart), self.sections(c, m["sections"]))
        elif case == "answer" and m["sections"]:
            pass  # of a v0 client: to our offer it has its own
        elif case in ("offer", "answer"):
            self.tell("say", c, json.dumps({case: {"type": case, "sdp": "nonsense", "id": m.get("id", 0)}}))
        else:
            if case == "addTrack":
                self.cids[c.rsplit("-", 1)[0]].append((m.get("cid", ""), m.get("type", "AUDIO").lower()))
            self.tell("say", c, json.dumps({case: self.translate(m)}))
            if case == "leave":
                self.gone.add(c)

    def end(self, e):
        """The socket has ended on the client's side."""
        c = e["c"]
        if c in self.ended or c not in self.last.values():
            return
        self.ended.add(c)
        short = c.rsplit("-", 1)[0]
        self.tell("drop", c)
        later = [x for x in self.events if "up" in x and x["c"].rsplit("-", 1)[0] == short and x["t"] > e["t"]]
        resumes = later and join_request(later[0]["up"]).get("reconnect")
        if c in self.gone or not resumes:
            self.tell("vanish", c, 1)

    def call(self, e):
        if "base64" in e:
            # Ids are as long as theirs.
            data = re.sub(rb"(?:PA|TR)_[0-9A-Za-z]+", lambda m: self.translate(m[0].decode()).encode().ljust(len(m[0]))[:len(m[0])],
                          base64.b64decode(e["base64"]))
            body = "base64:" + base64.b64encode(data).decode()
        else:
            body = json.dumps(self.translate(json.loads(e["json"])))
        self.tell("api", e["api"], body)

    def run(self):
        for e in self.events:
            if {"up", "in", "end", "api", "do"} & set(e) or e.get("close") == "c2s":
                self.tell("run", int(e["t"]))
            if "conf" in e:
                self.tell("conf", e["conf"]["empty"], e["conf"]["departure"])
            elif "up" in e:
                self.connect(e)
            elif "in" in e:
                self.say(e)
            elif "end" in e or e.get("close") == "c2s":
                self.end(e)
            elif "api" in e:
                self.call(e)
            elif "do" in e and (e["do"][0] != "level" or e["do"][1] in self.last.values()):
                self.tell(*e["do"])
        self.tell("run", int(self.events[-1]["t"]) + 500)
        return self.player.end()


def speech(events):
    """When microphones were heard, as far as their owners were told."""
    sids, out = {}, []
    for e in events:
        if e.get("out") == "join":
            sids[e["c"]] = e["m"]["participant"]["sid"]
        elif e.get("out") == "speakersChanged":
            for s in e["m"]["speakers"]:
                if s["sid"] == sids.get(e["c"]):
                    active = s.get("active", False)
                    out.append({"t": e["t"] - (450 if active else 900), "do": ["level", e["c"], 25 if active else 127]})
    return out


# ---- comparison --------------------------------------------------------------------------------------------------------


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def fields(theirs, ours, path, out):
    """Differences of two normal values as (path, theirs, ours)."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for k in sorted(set(theirs) | set(ours)):
            fields(theirs.get(k), ours.get(k), f"{path}.{k}", out)
    elif isinstance(theirs, list) and isinstance(ours, list):
        key = lambda x: x.get("sid") or x.get("identity") or x.get("mime") if isinstance(x, dict) else None
        if theirs and all(isinstance(x, dict) and key(x) for x in theirs + ours):
            for name in sorted({key(x) for x in theirs + ours}):
                a, b = ([x for x in side if key(x) == name] for side in (theirs, ours))
                fields(a[0] if a else None, b[0] if b else None, f"{path}[]", out)
            return
        for i in range(max(len(theirs), len(ours))):
            a, b = (side[i] if i < len(side) else None for side in (theirs, ours))
            fields(a, b, f"{path}[]", out)
    elif theirs != ours:
        out.append((path, theirs, ours))


# What it costs to say that a message has no counterpart, in fields that differ without being listed.
ALONE, LISTED = 2.5, 0.05


def pair(theirs, ours, listed):
    """Pairs of two lists in order with as few differences as possible, None where one has no counterpart. listed: whether the
    table has a difference (path, theirs, ours)."""
    def distance(x, y):
        out = []
        fields(x, y, "", out)
        return sum(LISTED if listed(*d) else 1 for d in out)
    if [canonical(x) for x in theirs] == [canonical(x) for x in ours]:
        return list(zip(theirs, ours))
    n, m = len(theirs), len(ours)
    near = [[distance(x, y) for y in ours] for x in theirs]
    cost = [[(i + j) * ALONE if not i or not j else 0 for j in range(m + 1)] for i in range(n + 1)]
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            cost[i][j] = min(cost[i - 1][j - 1] + near[i - 1][j - 1], cost[i - 1][j] + ALONE, cost[i][j - 1] + ALONE)
    out, i, j = [], n, m
    while i or j:
        if i and j and cost[i][j] == cost[i - 1][j - 1] + near[i - 1][j - 1]:
            i, j = i - 1, j - 1
            out.append((theirs[i], ours[j]))
        elif i and cost[i][j] == cost[i - 1][j] + ALONE:
            i -= 1
            out.append((theirs[i], None))
        else:
            j -= 1
            out.append((None, ours[j]))
    return out[::-1]


def prepare(side, connection):
    """{case: [message]}, as far as messages are compared."""
    out, first_offer = collections.defaultdict(list), None
    first_token = True
    for _, case, m in side.raw.get(connection, []):
        if case == "refreshToken" and side.recorded and first_token and "join" in out:
            first_token = False  # the signalling thread's own (tests/unit/test_rtc_session.c)
            continue
        if case in ("offer", "answer"):
            m = dict(m)
            if "sdp" in m:
                m["sections"] = sections_of(m.pop("sdp"))
            m["sections"] = {s.split()[0]: " ".join(w for w in s.split()[1:] if not w.startswith("track=")) for s in m["sections"]}
            m["sections"] = {k: re.sub(r"\|\S+", "", v) for k, v in m["sections"].items()}
            if case == "answer":
                # Spare sections: theirs says sendonly without naming a stream, ours inactive (sfu/transport/jsep.h says why).
                m["sections"] = {k: v if "msid=" in v else v.replace(" sendonly ", " inactive ") for k, v in m["sections"].items()}
            if "midToTrackId" in m:
                m["midToTrackId"] = sorted(side.names.name(x) for x in m["midToTrackId"].values())
            if case == "offer":
                # Any first number, and then the next ones.
                expected = m.get("id", 0) if first_offer is None else first_offer
                first_offer = m.get("id", 0) + 1
                m["id"] = "<next>" if m.get("id", 0) == expected else m.get("id", 0)
        if case == "refreshToken":
            m = {k: m[k] for k in ("identity", "name", "metadata", "attributes", "permission") if k in m} \
                if "video" not in m else claims_as_info(m)
        m = normal(m, side.names)
        out[case].append(m)
    return out


def claims_as_info(c):
    v = c.get("video", {})
    return {"identity": c.get("sub") or c.get("identity"), "name": c.get("name"), "metadata": c.get("metadata"),
            "attributes": c.get("attributes"),
            "permission": {"canPublish": v.get("canPublish", True), "canSubscribe": v.get("canSubscribe", True),
                           "canPublishData": v.get("canPublishData", v.get("canPublish", True)),
                           "canUpdateMetadata": v.get("canUpdateOwnMetadata", False)}}


def compare_lists(diffs, connection, case, theirs, ours):
    for x, y in pair(theirs, ours, diffs.listed(connection, case)):
        if x is None or y is None:
            diffs.add(connection, case, x, y)
        else:
            diffs.compare(connection, case, x, y)


def first_people(messages):
    """Who was there at the join, as an update."""
    return [{"participants": j.get("otherParticipants", [])} for j in messages["join"]]


def people(updates):
    """{sid: [what was told, without repetitions]} of ParticipantUpdates."""
    out = collections.OrderedDict()
    for u in updates:
        for p in u.get("participants", []):
            told = out.setdefault(p.get("sid", "?"), [])
            if told and canonical(bare(told[-1])) == canonical(bare(p)):
                told[-1] = p
            else:
                told.append(p)
    return out


class Differences(list):
    def __init__(self, scenario, rules):
        super().__init__()
        self.scenario, self.rules = scenario, rules
        self.known = {}

    def listed(self, connection, case):
        """For pair()."""
        def check(path, theirs, ours):
            key = (connection, case + path, *("-" if x is None else canonical(x) for x in (theirs, ours)))
            if key not in self.known:
                self.known[key] = any(r.covers((self.scenario, *key)) for r in self.rules)
            return self.known[key]
        return check

    def add(self, connection, path, theirs, ours):
        self.append((connection, path, canonical(theirs) if theirs is not None else "-",
                     canonical(ours) if ours is not None else "-"))

    def compare(self, connection, path, theirs, ours):
        out = []
        fields(theirs, ours, path, out)
        for p, a, b in out:
            self.add(connection, p, a, b)


def compare_people(diffs, connection, theirs, ours):
    a, b = people(theirs), people(ours)
    for sid in sorted(set(a) | set(b)):
        who = sid
        if sid not in b or sid not in a:
            diffs.add(connection, "update", who if sid in a else None, who if sid in b else None)
            continue
        for x, y in pair([bare(p) for p in a[sid]], [bare(p) for p in b[sid]], diffs.listed(connection, "update")):
            if x is None:
                diffs.add(connection, "update.more", None, summary(y))
            elif y is None:
                diffs.add(connection, "update.less", summary(x), None)
            else:
                diffs.compare(connection, "update", x, y)
        diffs.compare(connection, "update.last", a[sid][-1], b[sid][-1])


def bare(value):
    """Without what is known with the first packets only."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if k != "ssrc"}
    return [bare(v) for v in value] if isinstance(value, list) else value


def summary(p):
    return {k: v for k, v in p.items() if k in ("identity", "state", "disconnectReason")} | \
           {"tracks": len(p.get("tracks", []))}


def compare_media(diffs, connection, case, theirs, ours):
    """Of what follows from media only what kinds of entries there are."""
    def shapes(messages):
        out = set()
        for m in messages:
            for entry in m.get("speakers", []) + m.get("updates", []):
                out.add(entry.get("sid") or entry.get("participantSid"))
        return out
    if case == "connectionQuality" and len(theirs) >= 5:
        return  # the recording has the first five
    for x in sorted(shapes(theirs) ^ shapes(ours)):
        diffs.add(connection, case, x if x in shapes(theirs) else None, x if x in shapes(ours) else None)


def compare(replay, rules):
    diffs = Differences(replay.scenario, rules)
    connections = list(replay.theirs.raw) + [c for c in replay.ours.raw if c not in replay.theirs.raw]
    compared = 0
    for c in connections:
        if c not in replay.ours.raw and c in replay.refusals:
            continue
        a = prepare(replay.theirs, c)
        b = prepare(replay.ours, c)
        compared += sum(len(v) for v in a.values())
        for case in sorted(set(a) | set(b)):
            if case == "update":
                compare_people(diffs, c, first_people(a) + a[case], first_people(b) + b[case])
            elif case in ("speakersChanged", "connectionQuality"):
                compare_media(diffs, c, case, a[case], b[case])
            elif case in ("pong", "pongResp"):
                pass
            elif case == "roomUpdate":
                compare_rooms(diffs, c, a[case], b[case])
            else:
                if case in UNORDERED:
                    a[case].sort(key=canonical)
                    b[case].sort(key=canonical)
                # Each track has its own qualities.
                for track in sorted({m.get("trackSid", "") for m in a[case] + b[case]}) if case in PER_TRACK else [None]:
                    x, y = ([m for m in v[case] if track in (None, m.get("trackSid", ""))] for v in (a, b))
                    compare_lists(diffs, c, case, x, y)
        compare_order(diffs, replay, c)
    return diffs, compared


def compare_rooms(diffs, connection, theirs, ours):
    """Counters are told at intervals: only the last counts, and what else is new."""
    def static(messages):
        out = []
        for m in messages:
            room = {k: v for k, v in m["room"].items() if k not in ("numParticipants", "numPublishers")}
            if not out or out[-1] != room:
                out.append(room)
        return out
    for x, y in pair(static(theirs), static(ours), diffs.listed(connection, "roomUpdate.room")):
        if x is None or y is None:
            diffs.add(connection, "roomUpdate.room", x, y)
        else:
            diffs.compare(connection, "roomUpdate.room", x, y)
    if theirs and ours:
        for k in ("numParticipants", "numPublishers"):
            diffs.compare(connection, f"roomUpdate.last.{k}", theirs[-1]["room"].get(k), ours[-1]["room"].get(k))


def order_faults(side, connection):
    """What must come before what (livekit-protocol 3.1, 4.4, 4.8.4, 4.12): clients lose tracks or calls otherwise."""
    faults, listed, permitted, described, published, begun, over = [], set(), set(), set(), set(), False, False
    for _, case, m in side.raw.get(connection, []):
        if over and case != "close":
            faults.append(f"{case} after the end")
        if not begun and case not in ("join", "reconnect", "leave", "refused", "close"):
            faults.append(f"{case} first")
        begun = True
        resumed = case == "reconnect" or any(c == "reconnect" for _, c, _ in side.raw[connection])
        if case in ("update", "join"):
            for p in m.get("participants", []) + m.get("otherParticipants", []):
                for t in p.get("tracks", []):
                    own = side.names.of.get(p["sid"], "").startswith(f"PA:{connection}")
                    if own and t["sid"] not in published and not resumed:
                        faults.append("own track before trackPublished")
                    listed.add(t["sid"])
        elif case == "trackPublished":
            published.add(m["track"]["sid"])
        elif case == "subscriptionPermissionUpdate" and m.get("allowed"):
            permitted.add(m["trackSid"])
        elif case in ("offer", "answer"):
            for t in m.get("midToTrackId", {}).values():
                if t not in listed:
                    faults.append(f"{case} before its track is listed")
                if t not in permitted and not resumed:
                    faults.append(f"{case} before its track is permitted")
                described.add(t)
        elif case == "streamStateUpdate" and not resumed:
            faults += [f"{case} before the offer" for x in m["streamStates"] if x["trackSid"] not in described]
        over = over or case in ("leave", "close", "refused")
    return faults


def compare_order(diffs, replay, connection):
    for fault in sorted(set(order_faults(replay.theirs, connection)) ^ set(order_faults(replay.ours, connection))):
        ours = fault in order_faults(replay.ours, connection)
        diffs.add(connection, "order", None if ours else fault, fault if ours else None)


# ---- refused connect requests -------------------------------------------------------------------------------------------


UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
# An empty JoinRequest.
EMPTY_JOIN = base64.urlsafe_b64encode(b"\x12\x00").decode()


def refused(program):
    """Differences in what is refused before a room hears of it: [(connection, what, theirs, ours)], and how many were asked."""
    events = load("04-auth-errors")
    ups = {e["c"]: e for e in events if "up" in e}
    statuses = {e["c"]: e["status"] for e in events if "status" in e}
    first = next(e for e in events if "up" in e and "exp" in e["up"]["claims"])
    # The clock of the recorded server, from a token that was good for two hours.
    shift = time.time() - (first["up"]["claims"]["exp"] - 7200 - first["t"] / 1000)
    # Rooms are not made by joining, as the recorded server had it.
    server, out, asked = sfu_testbed.Server("--auto-create=false", env={"LIVEKIT_KEYS": f"{KEY}: {SECRET}"}, program=program), [], 0
    try:
        admin = {"iss": KEY, "exp": int(time.time()) + 600, "video": {"roomCreate": True}}
        server.ask("POST", "/twirp/livekit.RoomService/CreateRoom", b'{"name":"room-known"}',
                   {"Authorization": "Bearer " + sign(admin, SECRET), "Content-Type": "application/json"})
        for e in (x for x in events if "refused" in x and x["refused"] != "connection closed by media"):
            up, wrong = ups[e["c"]]["up"], "signature is invalid" in e["refused"]
            claims = {k: v + int(shift - e["t"] / 1000) if k in ("exp", "nbf") else v for k, v in up["claims"].items()}
            if claims.get("iss") == "devkey":
                claims["iss"] = KEY
            # Those without claims: no token, or what is none.
            token = sign(claims, "x" * 32 if wrong else SECRET) if claims else "garbage" if "token" in e["refused"] else ""
            path = "/rtc/v1" if up["v1"] else "/rtc"
            rest = f"&join_request={EMPTY_JOIN}" if up["v1"] else "&auto_subscribe=1&sdk=js&protocol=17"
            theirs = statuses[e["c"]], e["refused"]
            for what, target, headers in (("upgrade", path, UPGRADE), ("validate", path + "/validate", {})):
                status, _, text = server.ask("GET", f"{target}?access_token={token}{rest}", headers=headers)
                ours = status, text.decode()
                asked += 1
                if ours != (theirs[0], theirs[1].replace("invalid token: <token>, error", "invalid token, error")):
                    out.append((e["c"], what, theirs, ours))
    finally:
        server.stop()
    return out, asked


# ---- the table ---------------------------------------------------------------------------------------------------------


class Rule:
    def __init__(self, number, line, reason):
        scenario, connection, path, values = line.split(None, 3)
        theirs, _, ours = values.partition(" => ")
        self.number, self.text, self.reason = number, line, reason
        self.globs = (scenario, connection, path, theirs.strip(), ours.strip())
        self.patterns = [re.compile("|".join(fnmatch.translate(g.replace("[", "[[]")) for g in part.split("||"))) for part in self.globs]
        self.used = 0

    def covers(self, values):
        return all(p.match(v) for p, v in zip(self.patterns, values))


def read_table():
    rules, reason = [], ""
    fresh = True
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("#"):
            reason = line[1:].strip() if fresh else reason + " " + line[1:].strip()
            fresh = False
        elif line.strip():
            rules.append(Rule(number, line.strip(), reason))
            fresh = True
        else:
            fresh = True
    return rules


def load(name):
    with lzma.open(DATA / f"{name}.jsonl.xz", "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def main():
    options = [a for a in sys.argv[1:] if a.startswith("--")]
    program, *wanted = [a for a in sys.argv[1:] if not a.startswith("--")]
    everything = sorted(p.name.removesuffix(".jsonl.xz") for p in DATA.glob("*.jsonl.xz"))
    names = [n for n in everything if not wanted or n in wanted]
    rules, failed, passed = read_table(), 0, 0
    for name in names:
        replay = Replay(program, name, load(name))
        errors = replay.run()
        diffs, compared = compare(replay, rules)
        unlisted = []
        for d in diffs:
            covering = [r for r in rules if r.covers((name, *d))]
            for r in covering:
                r.used += 1
            if not covering:
                unlisted.append(d)
        if "--side" in options:
            for c in replay.theirs.raw:
                lines = [(t, "<", case, m) for t, case, m in replay.theirs.raw[c]] + \
                        [(t, "    >", case, m) for t, case, m in replay.ours.raw.get(c, [])] + \
                        [(e["t"], "=", e["in"], e.get("m", {})) for e in replay.events if e.get("c") == c and "in" in e]
                for t, who, case, m in sorted(lines, key=lambda x: x[0]):
                    if case not in ("pong", "pongResp", "ping", "pingReq", "trickle", "connectionQuality", "speakersChanged"):
                        if "sdp" in m:
                            m = dict(m, sections=sections_of(m["sdp"]), sdp="")
                        text = canonical(normal(m, (replay.theirs if who != "    >" else replay.ours).names))
                        print(f"{c} {who} {t:.0f} {case} {text[:400]}")
        if "--show" in options:
            for c, said in replay.ours.raw.items():
                for t, case, m in said:
                    print(f"  {c} {t} {case} {canonical(normal(m, replay.ours.names))[:300]}")
        counted = collections.Counter(unlisted)
        if "--list" in options or len(counted) <= 30:
            for (c, path, a, b), n in counted.items():
                print(f"{name} {c} {path} {a} => {b}" + (f"    ({n} times)" if n > 1 else ""))
        verdict = "FAIL" if unlisted or errors else "ok"
        notes = ", ".join(f"{n} {what}" for what, n in replay.skipped.items())
        print(f"{verdict:4} {name}: {compared} messages, {len(diffs)} differences, {len(unlisted)} not listed"
              + (f"; {notes} not played" if notes else "") + (f"; {errors}" if errors else ""))
        failed += verdict == "FAIL"
        passed += verdict == "ok"
    for option in options:
        if option.startswith("--server="):
            wrong, asked = refused(option.split("=", 1)[1])
            for what in wrong:
                print("04-auth-errors", *what)
            print(f"{'FAIL' if wrong else 'ok':4} refused connect requests: {asked}, {len(wrong)} answered otherwise")
            failed, passed = failed + bool(wrong), passed + (not wrong)
    if not wanted:
        for r in rules:
            if not r.used:
                print(f"{TABLE.relative_to(ROOT)}:{r.number}: does not occur any more: {r.text}")
                failed += 1
    if os.environ.get("RESULTS"):
        with open(os.environ["RESULTS"], "a", encoding="utf-8") as f:
            f.write(f"{passed} {failed}\n")
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
