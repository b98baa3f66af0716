#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes tests/data/signalling/replay/*.jsonl.xz from recordings of a LiveKit server: what was said, without what replay.py
does not look at (raw bytes, texts of descriptions, headers).

    compact.py RECORDINGS OUT [SCENARIO...]"""
import base64
import json
import lzma
import pathlib
import re
import sys

OTHERS = {"http.jsonl", "webhooks.jsonl", "timeline.jsonl"}
UP = {"t", "path", "query"}


def claims_of(token):
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return {k: v for k, v in claims.items() if k not in ("iat", "nbf", "iss")}


class Sdp:
    """Sections of a description; the recording's summary says `mid kind direction codec rid= msid=<stream>`."""

    def __init__(self, root):
        self.root = root

    def sections(self, summary, path):
        """The summary, with the track's id behind its stream's where the text was kept."""
        text = None
        if path and path.startswith("@sdp/"):
            file = self.root / path[1:]
            text = file.read_text() if file.is_file() else None
        tracks = {}
        if text:
            for section in re.split(r"\r?\n(?=m=)", text)[1:]:
                mid = re.search(r"^a=mid:(\S+)", section, re.M)
                msid = re.search(r"^a=msid:(\S+) (\S+)", section, re.M)
                if mid and msid:
                    tracks[mid[1]] = msid[2]
        out = []
        for line in summary:
            mid = line.split()[0]
            out.append(line + (f" track={tracks[mid]}" if mid in tracks else ""))
        return out


def strip(msg, case, sections, sdp):
    if case == "refreshToken":
        return claims_of(msg[case])
    body = msg[case]
    if case in ("offer", "answer"):
        body = dict(body)
        path = body.pop("sdp", "")
        body["sections"] = sdp.sections(sections.get(case, []), path)
    if case == "syncState":
        body = {k: v for k, v in body.items() if k not in ("offer", "answer")}
    return body


def connection(file, sdp):
    name = file.stem
    for line in file.open():
        e = json.loads(line)
        out = {"t": e["t"], "c": name}
        kind = e["kind"]
        if kind == "upgrade-request":
            out["up"] = up = {"v1": e["path"].rstrip("/").endswith("v1"), "claims": (e.get("token") or {}).get("claims", {})}
            agent = dict((k.lower(), v) for k, v in e.get("headers", [])).get("user-agent", "")
            up["agent"] = agent
            if "join_request" in e:
                j = dict(e["join_request"].get("json") or {})
                offer = j.pop("publisherOffer", None)
                if offer:
                    up["offer"] = {"id": offer.get("id", 0),
                                   "sections": sdp.sections(e["sdp_sections"]["join-publisher-offer"], offer.get("sdp"))}
                up["join"] = j
            else:
                up["query"] = {k: v for k, v in e.get("query", {}).items() if k != "access_token"}
        elif kind == "upgrade-response":
            out["status"] = e["status"]
        elif kind == "upgrade-rejected-body":
            out["refused"] = re.sub(r"ey[\w-]+\.[\w-]+\.[\w-]*", "<token>", e["body"])
        elif kind == "frame":
            if "case" in e:
                case = e["case"]
                if e["dir"] == "c2s" and case == "trickle":
                    continue
                out["in" if e["dir"] == "c2s" else "out"] = case
                if case in e["msg"]:
                    out["m"] = strip(e["msg"], case, e.get("sdp_sections", {}), sdp)
            elif e["type"] == "close":
                out["close"] = e["dir"]
                if "code" in e:
                    out["code"] = e["code"]
            elif e["type"] == "text":
                out["in" if e["dir"] == "c2s" else "out"] = "text"
                out["m"] = e["text"]
            elif e["type"] == "binary":
                out["in" if e["dir"] == "c2s" else "out"] = "bytes"
                out["m"] = e.get("raw", "")
            else:
                continue  # WebSocket pings
        elif kind in ("tcp", "proxy-cut", "end"):
            out["end"] = kind
        elif kind == "step":
            out = {"t": e["t"], "step": e["text"]}
        else:
            continue
        yield out


def calls(file):
    """Calls of the server API that went well: what they do to rooms is what clients are told."""
    for line in file.open():
        e = json.loads(line)
        request, response = e.get("request") or {}, e.get("response") or {}
        path = request.get("path", "")
        if "/livekit.RoomService/" not in path or response.get("status") != 200:
            continue
        out = {"t": e["t"], "api": path.rsplit("/", 1)[1]}
        if request.get("body_base64"):
            out["base64"] = request["body_base64"]
        else:
            out["json"] = request.get("body") or "{}"
        yield out


def settings(file):
    """Of the server: seconds that rooms without people last."""
    text = file.read_text()
    number = lambda name, default: int((re.search(rf"^ +{name}: (\d+)", text, re.M) or [0, default])[1])
    return {"t": 0, "conf": {"empty": number("empty_timeout", 300), "departure": number("departure_timeout", 20)}}


def main():
    root, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    sdp = Sdp(root)
    for scenario in sorted(p for p in root.iterdir() if p.is_dir() and p.name != "sdp"):
        if sys.argv[3:] and scenario.name not in sys.argv[3:]:
            continue
        events, steps = [settings(scenario / "server-config.yaml")], set()
        if (scenario / "http.jsonl").is_file():
            events += calls(scenario / "http.jsonl")
        for file in sorted(scenario.glob("*.jsonl")):
            if file.name in OTHERS or ".page." in file.name:
                continue
            for e in connection(file, sdp):
                if "step" in e:
                    key = (round(e["t"] / 100), e["step"])
                    if key in steps:
                        continue
                    steps.add(key)
                events.append(e)
        events.sort(key=lambda e: e["t"])
        text = "".join(json.dumps(e, separators=(",", ":"), ensure_ascii=False) + "\n" for e in events)
        data = lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME)
        (out / f"{scenario.name}.jsonl.xz").write_bytes(data)
        print(f"{scenario.name}: {len(events)} events, {len(text)} bytes, {len(data)} compressed")


main()
