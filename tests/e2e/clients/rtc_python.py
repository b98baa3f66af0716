# SPDX-License-Identifier: Apache-2.0
"""A participant made of PyPI's livekit; lib/native.mjs says how it is spoken to. Its methods and what
they give are those of pages/client.js and clients/rtc_node.mjs."""
import asyncio
import base64
import hashlib
import json
import math
import sys
import time
import traceback

import lines
import numpy
from livekit import rtc

WIDTH, HEIGHT, FPS = 640, 360, 15
RATE, SAMPLES, HERTZ, AMPLITUDE = 48000, 480, 440, 8000
# A change of oneself comes back within a round trip.
TOLD_S = 2
# More than the pictures of a busy machine are apart.
PICTURE_S = 3
# Pictures are compared on a small copy, as the pages do.
COLUMNS, ROWS = 32, 18

SOURCES = {
    rtc.TrackSource.SOURCE_CAMERA: "camera",
    rtc.TrackSource.SOURCE_MICROPHONE: "microphone",
    rtc.TrackSource.SOURCE_SCREENSHARE: "screen_share",
    rtc.TrackSource.SOURCE_SCREENSHARE_AUDIO: "screen_share_audio",
}
CODECS = {
    "vp8": rtc.VideoCodec.VP8,
    "h264": rtc.VideoCodec.H264,
    "vp9": rtc.VideoCodec.VP9,
    "av1": rtc.VideoCodec.AV1,
}
SCENARIOS = {
    "signal-reconnect": rtc.SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT,
    "speaker": rtc.SimulateScenarioKind.SIMULATE_SPEAKER,
    "node-failure": rtc.SimulateScenarioKind.SIMULATE_NODE_FAILURE,
    "server-leave": rtc.SimulateScenarioKind.SIMULATE_SERVER_LEAVE,
    "migration": rtc.SimulateScenarioKind.SIMULATE_MIGRATION,
    "force-tcp": rtc.SimulateScenarioKind.SIMULATE_FORCE_TCP,
}


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def noise(length, seed):
    """The same bytes as noise() of pages/features.js gives."""
    words = numpy.empty(-(-length // 4), dtype="<u4")
    state = seed & 0xFFFFFFFF or 1
    for i in range(len(words)):
        state ^= state << 13 & 0xFFFFFFFF  # xorshift32
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        words[i] = state
    return words.tobytes()[:length]


def units(text):
    """The length of a text as JavaScript counts it."""
    return len(text.encode("utf-16-le")) // 2


def long_text(length):
    """As longText() of the pages: cut at `length` units of UTF-16."""
    whole = ("grüße 🎈 " * -(-length // 8)).encode("utf-16-le")[: 2 * length]
    return whole.decode("utf-16-le", "ignore")


def picture(number):
    """A grey picture with a bright bar that moves."""
    data = numpy.full(WIDTH * HEIGHT * 3 // 2, 128, dtype=numpy.uint8)
    luma = data[: WIDTH * HEIGHT].reshape(HEIGHT, WIDTH)
    bar = number * 8 % WIDTH
    luma[:, bar : bar + 80] = 235
    luma[:, :8] = 16
    return rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.I420, data.tobytes())


def tone(number):
    at = (number * SAMPLES + numpy.arange(SAMPLES)) / RATE
    data = (AMPLITUDE * numpy.sin(2 * math.pi * HERTZ * at)).astype("<i2")
    return rtc.AudioFrame(data.tobytes(), RATE, 1, SAMPLES)


def look(frame):
    """A fingerprint of an I420 picture's luma and how much it differs within."""
    luma = numpy.frombuffer(frame.data, dtype=numpy.uint8)[: frame.width * frame.height]
    luma = luma.reshape(frame.height, frame.width)
    rows = numpy.arange(ROWS) * frame.height // ROWS
    columns = numpy.arange(COLUMNS) * frame.width // COLUMNS
    small = luma[numpy.ix_(rows, columns)]
    return {"hash": digest(small.tobytes()), "contrast": int(small.max()) - int(small.min())}


class Client:
    """One method for each that a scenario calls."""

    def __init__(self):
        self.room = rtc.Room()
        self.events, self.inbox, self.tasks = [], [], set()
        self.seen, self.first_frames, self.own = {}, {}, {}
        self.joined_at = self.connected_ms = 0
        self.data_tracks, self.remote_data_tracks = {}, {}

    def spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.done)

    def done(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.note("task", text=repr(task.exception()))

    async def ready(self):
        """Answers when everything is loaded."""

    # pylint: disable-next=too-many-arguments
    async def join(self, *, url, token, publish=True, autoSubscribe=True, codec="vp8", simulcast=True):
        self.watch()
        self.joined_at = time.time()
        options = rtc.RoomOptions(auto_subscribe=autoSubscribe, dynacast=False)
        await self.room.connect(url, token, options)
        self.connected_ms = (time.time() - self.joined_at) * 1000
        self.answer_calls()
        if publish:
            await self.publishSound()
            await self.publishPicture(codec=codec, simulcast=simulcast)

    async def publishSound(self):
        source = rtc.AudioSource(RATE, 1)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        self.spawn(self.play(source))
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        self.own["microphone"] = await self.room.local_participant.publish_track(track, options)

    async def play(self, source):
        number = 0
        while True:  # capture_frame waits while its queue is full: that is the clock
            await source.capture_frame(tone(number))
            number += 1

    async def publishPicture(self, *, codec="vp8", simulcast=True):
        source = rtc.VideoSource(WIDTH, HEIGHT)
        track = rtc.LocalVideoTrack.create_video_track("camera", source)
        self.spawn(self.film(source))
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA, video_codec=CODECS[codec], simulcast=simulcast
        )
        self.own["camera"] = await self.room.local_participant.publish_track(track, options)

    async def film(self, source):
        number = 0
        while True:
            source.capture_frame(picture(number))
            number += 1
            await asyncio.sleep(1 / FPS)

    def note(self, kind, **detail):
        self.events.append({"at": time.time() * 1000, "type": kind, **detail})
        print(f"event {kind} {detail}", file=sys.stderr)

    def keep(self, kind, **detail):
        self.inbox.append({"at": time.time() * 1000, "kind": kind, **detail})

    def watch(self):
        note, keep, on = self.note, self.keep, self.room.on

        def source(publication):
            return SOURCES.get(publication.source, "unknown")

        def subscribed(track, publication, participant):
            note("subscribed", who=participant.identity, source=source(publication))
            self.attach(publication, track, participant.identity)

        on("track_subscribed", subscribed)
        on("track_unsubscribed", lambda _, p, who: note("unsubscribed", who=who.identity, source=source(p)))
        on("track_unpublished", lambda p, who: note("unpublished", who=who.identity, source=source(p)))
        on("participant_connected", lambda who: note("joined", who=who.identity))
        on("participant_disconnected", lambda who: note("left", who=who.identity))
        on("reconnecting", lambda: note("reconnecting"))
        on("reconnected", lambda: note("reconnected"))
        on("token_refreshed", lambda: note("token"))
        on("disconnected", lambda reason: note("disconnected", reason=reason))
        on("local_track_unpublished", lambda p: note("own-unpublished", source=source(p)))
        on("local_track_subscribed", lambda _: note("own-subscribed"))
        on("active_speakers_changed", lambda all_: keep("speakers", who=[p.identity for p in all_]))
        on("connection_quality_changed", lambda who, q: keep("quality", who=who.identity, quality=q))
        on("data_received", self.take_packet)
        on("sip_dtmf_received", lambda d: keep("dtmf", **{"from": d.participant.identity}, digit=d.digit))
        on("data_track_published", self.take_data_track)
        on("data_track_unpublished", lambda sid: keep("data-track-gone", sid=sid))
        self.room.register_text_stream_handler("text", lambda r, who: self.spawn(self.take_text(r, who)))
        self.room.register_byte_stream_handler("bytes", lambda r, who: self.spawn(self.take_bytes(r, who)))

    def answer_calls(self):
        """Only a participant in a room can."""
        me = self.room.local_participant

        async def echo(call):
            # As JSON.stringify writes it: a whole answer may hold 15,360 bytes, and escapes are longer.
            answer = {"from": call.caller_identity, "payload": call.payload}
            return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))

        async def refuse(_call):
            raise rtc.RpcError(1234, "no", "data of it")

        me.register_rpc_method("echo", echo)
        me.register_rpc_method("refuse", refuse)

    def take_packet(self, packet):
        tag, number = packet.data.decode().split("|")[:2]
        self.keep(
            "packet",
            **{"from": packet.participant.identity if packet.participant else None},
            tag=tag,
            number=int(number),
            size=len(packet.data),
            lossy=packet.kind,
            **({"topic": packet.topic} if packet.topic else {}),
        )

    async def take_text(self, reader, identity):
        whole = await reader.read_all()
        self.keep(
            "text",
            **{"from": identity},
            size=units(whole),
            sum=digest(whole.encode()),
            attributes=dict(reader.info.attributes or {}),
        )

    async def take_bytes(self, reader, identity):
        whole = b"".join([chunk async for chunk in reader])
        self.keep(
            "bytes",
            **{"from": identity},
            size=len(whole),
            sum=digest(whole),
            name=reader.info.name,
            mimeType=reader.info.mime_type,
        )

    def attach(self, publication, track, identity):
        seen = {"frames": 0, "width": 0, "height": 0, "energy": 0.0, "hash": 0, "contrast": 0}
        self.seen[track.sid] = seen
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            self.spawn(self.watch_picture(publication, track, seen, identity))
        else:
            self.spawn(self.listen(track, seen))

    async def watch_picture(self, publication, track, seen, identity):
        """livekit 1.2: the pictures of one track in 10 to 60 end after none, one or two, though the SDK's statistics
        go on counting decoded frames; beside livekit-server as well. Another stream of the track gives none either:
        it has to come again."""
        stream = rtc.VideoStream(track, format=rtc.VideoBufferType.I420)
        decoded = None  # when none was handed on for PICTURE_S
        while publication.track is track:
            try:
                event = await asyncio.wait_for(stream.__anext__(), PICTURE_S)
            except StopAsyncIteration:
                break
            except asyncio.TimeoutError:
                before, decoded = decoded, await self.decoded(track)
                if publication.track is not track or before is None or decoded <= before:
                    continue
                self.note("stuck", who=identity)
                publication.set_subscribed(False)
                await asyncio.sleep(0.5)
                publication.set_subscribed(True)
                break
            decoded = None
            frame = event.frame
            seen.update(look(frame), frames=seen["frames"] + 1, width=frame.width, height=frame.height)
            self.first_frames.setdefault(identity, (time.time() - self.joined_at) * 1000)
        await stream.aclose()

    async def decoded(self, track):
        """How many pictures of this track the SDK decoded."""
        stats = await track.get_stats()
        return sum(s.inbound_rtp.inbound.frames_decoded for s in stats if s.HasField("inbound_rtp"))

    async def listen(self, track, seen):
        async for event in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
            samples = numpy.frombuffer(event.frame.data, dtype="<i2") / 32768.0
            seen["frames"] += 1
            seen["energy"] += float((samples**2).sum())

    def publication(self, publication):
        seen = self.seen.get(publication.sid)
        return {
            "sid": publication.sid,
            "subscribed": publication.subscribed,
            "muted": publication.muted,
            "mime": publication.mime_type,
            "inbound": seen
            and {
                "framesDecoded": seen["frames"],
                "frameWidth": seen["width"],
                "frameHeight": seen["height"],
                "totalAudioEnergy": seen["energy"],
            },
            # The number of frames stands for the element's clock.
            "element": seen and seen["width"] and {**seen, "currentTime": seen["frames"]} or None,
        }

    async def sent(self):
        """Encodings of what is published, as observe.outbound() of the pages gives them."""
        stats = await self.room.get_rtc_stats()
        outbound = [s.outbound_rtp for s in stats.publisher_stats if s.HasField("outbound_rtp")]
        return [
            {
                "kind": s.stream.kind,
                "rid": s.outbound.rid,
                "packetsSent": s.sent.packets_sent,
                "framesEncoded": s.outbound.frames_encoded,
                "frameWidth": s.outbound.frame_width,
            }
            for s in outbound
        ]

    async def report(self):
        return {
            "state": "connected" if self.room.isconnected() else "disconnected",
            "sid": self.room.local_participant.sid,
            "connectedMs": self.connected_ms,
            "firstFrames": self.first_frames,
            "events": self.events,
            "remotes": {
                who.identity: {
                    SOURCES.get(p.source, "unknown"): self.publication(p)
                    for p in who.track_publications.values()
                }
                for who in self.room.remote_participants.values()
            },
            "sent": await self.sent() if self.room.isconnected() else [],
        }

    def received(self):
        return self.inbox

    def people(self):
        all_ = [self.room.local_participant, *self.room.remote_participants.values()]
        return {
            "room": {"name": self.room.name, "metadata": self.room.metadata},
            "everybody": {
                p.identity: {
                    "sid": p.sid,
                    "name": p.name,
                    "metadata": p.metadata,
                    "attributes": dict(p.attributes),
                }
                for p in all_
            },
        }

    async def told(self, known):
        end = time.time() + TOLD_S
        while not known() and time.time() < end:
            await asyncio.sleep(0.01)

    async def rename(self, *, name=None, metadata=None, attributes=None):
        me = self.room.local_participant
        try:
            # set_metadata sends the name as well, as far as this side has heard of it by then.
            if name is not None:
                await me.set_name(name)
                await self.told(lambda: me.name == name)
            if metadata is not None:
                await me.set_metadata(metadata)
                await self.told(lambda: me.metadata == metadata)
            if attributes is not None:
                await me.set_attributes(attributes)
            return "ok"
        except Exception as error:  # pylint: disable=broad-except
            return str(error)

    def token(self):
        return self.room._token  # pylint: disable=protected-access

    def tokenClaims(self):
        claims = self.token().split(".")[1]
        return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))

    # pylint: disable-next=too-many-arguments
    async def sendPackets(self, *, tag, count, size, reliable, topic=None, to=None):
        for i in range(count):
            payload = f"{tag}|{i}|".ljust(size, ".")
            await self.room.local_participant.publish_data(
                payload, reliable=reliable, topic=topic or "", destination_identities=to or []
            )

    async def sendText(self, *, size, attributes=None, to=None, pieces=0):
        whole = long_text(size)
        options = {"topic": "text", "attributes": attributes, "destination_identities": to}
        if pieces:
            writer = await self.room.local_participant.stream_text(**options)
            step = -(-len(whole) // pieces)
            for i in range(0, len(whole), step):
                await writer.write(whole[i : i + step])
            await writer.aclose()
        else:
            await self.room.local_participant.send_text(whole, **options)
        return {"kind": "text", "size": units(whole), "sum": digest(whole.encode())}

    async def sendFile(self, *, size, seed, name, to=None):
        data = noise(size, seed)
        kind = "application/x-noise"
        writer = await self.room.local_participant.stream_bytes(
            name, total_size=size, mime_type=kind, topic="bytes", destination_identities=to
        )
        await writer.write(data)
        await writer.aclose()
        return {"kind": "bytes", "size": size, "sum": digest(data), "name": name, "mimeType": kind}

    async def dtmf(self, digit):
        await self.room.local_participant.publish_dtmf(code=int(digit), digit=digit)

    async def rpc(self, *, to, method, payload=None, size=0):
        try:
            answer = await self.room.local_participant.perform_rpc(
                destination_identity=to, method=method, payload=payload or long_text(size)
            )
            return {"size": units(json.loads(answer)["payload"])} if size else {"answer": answer}
        except rtc.RpcError as error:
            return {"code": error.code, "message": error.message, "data": error.data}

    def mute(self, *, source, muted):
        track = self.own[source].track
        if muted:
            track.mute()
        else:
            track.unmute()

    def subscribe(self, *, from_, source, subscribed):
        tracks = self.room.remote_participants[from_].track_publications.values()
        next(p for p in tracks if SOURCES[p.source] == source).set_subscribed(subscribed)

    async def unpublish(self, *, source):
        await self.room.local_participant.unpublish_track(self.own[source].sid)

    def take_data_track(self, track):
        self.remote_data_tracks[track.info.name] = track
        self.keep("data-track", **{"from": track.publisher_identity}, name=track.info.name)

    async def publishDataTrack(self, name):
        self.data_tracks[name] = await self.room.local_participant.publish_data_track(name=name)
        return self.data_tracks[name].info.sid

    async def unpublishDataTrack(self, name):
        await self.data_tracks[name].unpublish()

    async def pushFrames(self, *, name, count, size, everyMs):
        for i in range(count):
            payload = f"{name}|{i}|".ljust(size, ".").encode()
            self.data_tracks[name].try_push(rtc.DataTrackFrame(payload=payload))
            await asyncio.sleep(everyMs / 1000)

    def subscribeData(self, *, from_, name):
        self.spawn(self.read_data_track(from_, name))

    async def read_data_track(self, who, name):
        async for frame in self.remote_data_tracks[name].subscribe():
            tag, number = frame.payload.split(b"|")[:2]
            self.keep("frame", **{"from": who}, tag=tag.decode(), number=int(number), size=len(frame.payload))

    def simulate(self, *, scenario):
        """What the SDK does with it shows in `events`."""
        self.spawn(self.room.simulate_scenario(SCENARIOS[scenario]))

    async def leave(self):
        for task in list(self.tasks):
            task.cancel()
        await self.room.disconnect()


async def main():
    client = Client()
    await lines.serve(client)
    try:
        await asyncio.wait_for(client.leave(), 2)
    except Exception:  # pylint: disable=broad-except
        traceback.print_exc()


asyncio.run(main())
