// SPDX-License-Identifier: Apache-2.0
// A participant made of @livekit/rtc-node; lib/native.mjs says how it is spoken to. Its methods and
// what they give are those of pages/client.js.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import {
    AudioFrame,
    AudioSource,
    AudioStream,
    LocalAudioTrack,
    LocalVideoTrack,
    Room,
    RoomEvent,
    RpcError,
    SimulateScenarioKind,
    TrackKind,
    TrackPublishOptions,
    TrackSource,
    VideoBufferType,
    VideoCodec,
    VideoFrame,
    VideoSource,
    VideoStream,
    dispose,
} from '@livekit/rtc-node';
import { serve } from './lines.mjs';

const PICTURE = { width: 640, height: 360, everyMs: 66 };
const SOUND = { rate: 48000, samples: 480, hertz: 440, amplitude: 8000, everyMs: 10 };
// A client that is stuck does not leave in good order.
const STUCK_MS = 3000;
const TOLD_MS = 2000;
// Pictures are compared on a small copy, as the pages do.
const SAMPLE = { columns: 32, rows: 18 };

const SOURCES = {
    [TrackSource.SOURCE_CAMERA]: 'camera',
    [TrackSource.SOURCE_MICROPHONE]: 'microphone',
    [TrackSource.SOURCE_SCREENSHARE]: 'screen_share',
    [TrackSource.SOURCE_SCREENSHARE_AUDIO]: 'screen_share_audio',
};
const CODECS = {
    vp8: VideoCodec.VP8,
    h264: VideoCodec.H264,
    vp9: VideoCodec.VP9,
    av1: VideoCodec.AV1,
};
const SCENARIOS = {
    'signal-reconnect': SimulateScenarioKind.SIMULATE_SIGNAL_RECONNECT,
    speaker: SimulateScenarioKind.SIMULATE_SPEAKER,
    'node-failure': SimulateScenarioKind.SIMULATE_NODE_FAILURE,
    'server-leave': SimulateScenarioKind.SIMULATE_SERVER_LEAVE,
    migration: SimulateScenarioKind.SIMULATE_MIGRATION,
    'force-tcp': SimulateScenarioKind.SIMULATE_FORCE_TCP,
};

const digest = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 16);
const longText = (length) => 'grüße 🎈 '.repeat(Math.ceil(length / 8)).slice(0, length);

/** The same bytes as noise() of pages/features.js gives. */
function noise(length, seed) {
    const words = new Uint32Array(Math.ceil(length / 4));
    let state = seed >>> 0 || 1;
    for (let i = 0; i < words.length; i++) {
        state ^= state << 13; // xorshift32
        state ^= state >>> 17;
        state ^= state << 5;
        words[i] = state >>> 0;
    }
    return new Uint8Array(words.buffer, 0, length);
}

/** A grey picture with a bright bar that moves; `number` is that of the frame. */
function picture(number) {
    const { width, height } = PICTURE;
    const luma = width * height;
    const data = new Uint8Array((luma * 3) / 2).fill(128);
    const bar = (number * 8) % width;
    for (let row = 0; row < height; row++) {
        data.fill(235, row * width + bar, row * width + Math.min(bar + 80, width));
        data.fill(16, row * width, row * width + 8);
    }
    return new VideoFrame(data, width, height, VideoBufferType.I420);
}

function tone(number) {
    const data = new Int16Array(SOUND.samples);
    for (let i = 0; i < data.length; i++) {
        const at = (number * SOUND.samples + i) / SOUND.rate;
        data[i] = Math.round(SOUND.amplitude * Math.sin(2 * Math.PI * SOUND.hertz * at));
    }
    return new AudioFrame(data, SOUND.rate, 1, SOUND.samples);
}

/** A fingerprint of an I420 picture's luma and how much it differs within. */
function look({ data, width, height }) {
    let hash = 2166136261; // FNV-1a offset basis
    let low = 255;
    let high = 0;
    for (let row = 0; row < SAMPLE.rows; row++) {
        for (let column = 0; column < SAMPLE.columns; column++) {
            const y = Math.floor((row * height) / SAMPLE.rows);
            const value = data[y * width + Math.floor((column * width) / SAMPLE.columns)];
            hash = Math.imul(hash ^ value, 16777619) >>> 0; // FNV-1a prime
            low = Math.min(low, value);
            high = Math.max(high, value);
        }
    }
    return { hash, contrast: high - low };
}

/** Waits until a change of oneself has come back: a round trip. */
async function told(known) {
    const end = Date.now() + TOLD_MS;
    while (!known() && Date.now() < end) await delay(10);
}

class Client {
    constructor() {
        this.room = new Room();
        this.events = [];
        this.inbox = [];
        this.seen = new Map(); // by sid of the track
        this.firstFrames = {};
        this.timers = [];
        this.own = {};
    }

    async ready() {}

    /**
     * rtc-node 1.1: once in some 200 joins the SDK stops taking what the server says while it publishes (a capture
     * has the answer to add_track 0.2 ms after the request, and from then on nothing but pings of the client).
     * Its user would have to come again as well.
     */
    async join(how) {
        try {
            await this.enter(how);
        } catch (error) {
            if (!error.message.includes('no response received from the server')) throw error;
            this.note('stuck', { text: error.message });
            this.room.removeAllListeners();
            await Promise.race([this.leave(), delay(STUCK_MS)]);
            this.room = new Room();
            await this.enter(how);
        }
    }

    async enter({ url, token, publish = true, autoSubscribe = true, codec, simulcast = true }) {
        this.watch();
        this.joinedAt = Date.now();
        await this.room.connect(url, token, { autoSubscribe, dynacast: false });
        this.connectedMs = Date.now() - this.joinedAt;
        this.answerCalls();
        if (!publish) return;
        await this.publishSound();
        await this.publishPicture({ codec, simulcast });
    }

    async publishSound() {
        const source = new AudioSource(SOUND.rate, 1);
        const track = LocalAudioTrack.createAudioTrack('microphone', source);
        const options = new TrackPublishOptions({ source: TrackSource.SOURCE_MICROPHONE });
        let number = 0;
        const pump = async () => {
            // captureFrame waits while its queue is full: that is the clock.
            while (!source.closed) await source.captureFrame(tone(number++));
        };
        pump().catch((error) => this.note('pump', { text: String(error) }));
        this.own.microphone = await this.room.localParticipant.publishTrack(track, options);
    }

    async publishPicture({ codec = 'vp8', simulcast = true }) {
        const source = new VideoSource(PICTURE.width, PICTURE.height);
        const track = LocalVideoTrack.createVideoTrack('camera', source);
        const options = new TrackPublishOptions({
            source: TrackSource.SOURCE_CAMERA,
            videoCodec: CODECS[codec],
            simulcast,
        });
        let number = 0;
        const timer = setInterval(() => source.captureFrame(picture(number++)), PICTURE.everyMs);
        this.timers.push(timer);
        this.own.camera = await this.room.localParticipant.publishTrack(track, options);
    }

    note(type, detail = {}) {
        this.events.push({ at: Date.now(), type, ...detail });
        console.error(`event ${type} ${JSON.stringify(detail)}`);
    }

    keep(entry) {
        this.inbox.push({ at: Date.now(), ...entry });
    }

    watch() {
        const note = (type, detail) => this.note(type, detail);
        const keep = (entry) => this.keep(entry);
        // rtc-node has forgotten its own publication by the time it tells of its end.
        const source = (publication) => SOURCES[publication?.source] ?? 'unknown';
        this.room
            .on(RoomEvent.TrackSubscribed, (track, publication, p) => {
                note('subscribed', { who: p.identity, source: source(publication) });
                this.attach(track, p.identity);
            })
            .on(RoomEvent.TrackUnsubscribed, (track, publication, p) =>
                note('unsubscribed', { who: p.identity, source: source(publication) }),
            )
            .on(RoomEvent.TrackUnpublished, (publication, p) =>
                note('unpublished', { who: p.identity, source: source(publication) }),
            )
            .on(RoomEvent.ParticipantConnected, (p) => note('joined', { who: p.identity }))
            .on(RoomEvent.ParticipantDisconnected, (p) => note('left', { who: p.identity }))
            .on(RoomEvent.Reconnecting, () => note('reconnecting'))
            .on(RoomEvent.Reconnected, () => note('reconnected'))
            .on(RoomEvent.TokenRefreshed, () => note('token'))
            .on(RoomEvent.Disconnected, (reason) => note('disconnected', { reason }))
            .on(RoomEvent.LocalTrackUnpublished, (p) =>
                note('own-unpublished', { source: source(p) }),
            )
            .on(RoomEvent.LocalTrackSubscribed, () => note('own-subscribed'))
            .on(RoomEvent.ActiveSpeakersChanged, (list) =>
                keep({ kind: 'speakers', who: list.map((p) => p.identity) }),
            )
            .on(RoomEvent.ConnectionQualityChanged, (quality, p) =>
                keep({ kind: 'quality', who: p.identity, quality }),
            )
            .on(RoomEvent.ChatMessage, (message, from) =>
                keep({ kind: 'chat', from: from?.identity ?? null, text: message.message }),
            )
            .on(RoomEvent.DtmfReceived, (code, digit, from) =>
                keep({ kind: 'dtmf', from: from.identity, digit }),
            )
            .on(RoomEvent.DataReceived, (payload, from, kind, topic) => {
                const [tag, number] = Buffer.from(payload).toString().split('|', 2);
                const sender = from?.identity ?? null;
                keep({
                    kind: 'packet',
                    from: sender,
                    tag,
                    number: Number(number),
                    size: payload.length,
                    topic: topic || undefined,
                    lossy: kind,
                });
            });
        this.room.registerTextStreamHandler('text', async (reader, { identity }) => {
            const whole = await reader.readAll();
            const { attributes } = reader.info;
            keep({
                kind: 'text',
                from: identity,
                size: whole.length,
                sum: digest(whole),
                attributes,
            });
        });
        this.room.registerByteStreamHandler('bytes', async (reader, { identity }) => {
            const whole = Buffer.concat(await reader.readAll());
            const { name, mimeType } = reader.info;
            keep({
                kind: 'bytes',
                from: identity,
                size: whole.length,
                sum: digest(whole),
                name,
                mimeType,
            });
        });
    }

    /** Only a participant in a room can. */
    answerCalls() {
        const me = this.room.localParticipant;
        me.registerRpcMethod('echo', async ({ payload, callerIdentity }) =>
            JSON.stringify({ from: callerIdentity, payload }),
        );
        me.registerRpcMethod('refuse', async () => {
            throw new RpcError(1234, 'no', 'data of it');
        });
    }

    attach(track, identity) {
        const seen = { frames: 0, width: 0, height: 0, energy: 0, hash: 0, contrast: 0 };
        this.seen.set(track.sid, seen);
        const read = track.kind === TrackKind.KIND_VIDEO ? this.watchPicture : this.listen;
        read.call(this, track, seen, identity).catch((error) =>
            this.note('stream', { text: String(error) }),
        );
    }

    async watchPicture(track, seen, identity) {
        for await (const { frame } of new VideoStream(track)) {
            seen.frames++;
            seen.width = frame.width;
            seen.height = frame.height;
            const i420 = frame.type === VideoBufferType.I420;
            Object.assign(seen, look(i420 ? frame : frame.convert(VideoBufferType.I420)));
            this.firstFrames[identity] ??= Date.now() - this.joinedAt;
        }
    }

    async listen(track, seen) {
        for await (const { data } of new AudioStream(track, SOUND.rate, 1)) {
            seen.frames++;
            for (const sample of data) seen.energy += (sample / 32768) ** 2;
        }
    }

    publication(publication) {
        const seen = this.seen.get(publication.sid);
        return {
            sid: publication.sid,
            subscribed: publication.subscribed,
            muted: publication.muted,
            mime: publication.mimeType,
            inbound: seen && {
                framesDecoded: seen.frames,
                frameWidth: seen.width,
                frameHeight: seen.height,
                totalAudioEnergy: seen.energy,
            },
            // The number of frames stands for the element's clock.
            element: seen?.width
                ? {
                      currentTime: seen.frames,
                      width: seen.width,
                      height: seen.height,
                      hash: seen.hash,
                      contrast: seen.contrast,
                  }
                : null,
        };
    }

    /** Encodings of what is published, as observe.outbound() of the pages gives them. */
    async sent() {
        const { publisherStats } = await this.room.getRtcStats();
        return publisherStats
            .filter((entry) => entry.stats.case === 'outboundRtp')
            .map(({ stats: { value } }) => ({
                kind: value.stream.kind,
                rid: value.outbound.rid,
                packetsSent: Number(value.sent.packetsSent),
                framesEncoded: value.outbound.framesEncoded,
                frameWidth: value.outbound.frameWidth,
            }));
    }

    async report() {
        const remotes = {};
        for (const participant of this.room.remoteParticipants.values()) {
            const tracks = [...participant.trackPublications.values()];
            remotes[participant.identity] = Object.fromEntries(
                tracks.map((p) => [SOURCES[p.source] ?? 'unknown', this.publication(p)]),
            );
        }
        return {
            state: this.room.isConnected ? 'connected' : 'disconnected',
            sid: this.room.localParticipant?.sid,
            connectedMs: this.connectedMs,
            firstFrames: this.firstFrames,
            events: this.events,
            remotes,
            // It may end while it is asked.
            sent: this.room.isConnected ? await this.sent().catch(() => []) : [],
        };
    }

    received() {
        return this.inbox;
    }

    people() {
        const { room } = this;
        const all = [room.localParticipant, ...room.remoteParticipants.values()];
        const person = ({ sid, name, metadata, attributes }) => ({
            sid,
            name,
            metadata,
            attributes,
        });
        return {
            room: { name: room.name, metadata: room.metadata },
            everybody: Object.fromEntries(all.map((p) => [p.identity, person(p)])),
        };
    }

    async rename({ name, metadata, attributes }) {
        const me = this.room.localParticipant;
        try {
            // updateMetadata sends the name as well, as far as this side has heard of it by then.
            if (name !== undefined) {
                await me.updateName(name);
                await told(() => me.name === name);
            }
            if (metadata !== undefined) {
                await me.updateMetadata(metadata);
                await told(() => me.metadata === metadata);
            }
            if (attributes !== undefined) await me.setAttributes(attributes);
            return 'ok';
        } catch (error) {
            return error.message;
        }
    }

    token() {
        return this.room.token;
    }

    tokenClaims() {
        return JSON.parse(Buffer.from(this.room.token.split('.')[1], 'base64url'));
    }

    async sendPackets({ tag, count, size, reliable, topic, to }) {
        for (let i = 0; i < count; i++) {
            const payload = Buffer.from(`${tag}|${i}|`.padEnd(size, '.'));
            await this.room.localParticipant.publishData(payload, {
                reliable,
                topic,
                destination_identities: to,
            });
        }
    }

    async sendText({ size, attributes, to, pieces }) {
        const whole = longText(size);
        const options = { topic: 'text', attributes, destinationIdentities: to };
        if (pieces) {
            const writer = await this.room.localParticipant.streamText(options);
            const characters = [...whole];
            const step = Math.ceil(characters.length / pieces);
            for (let i = 0; i < characters.length; i += step) {
                await writer.write(characters.slice(i, i + step).join(''));
            }
            await writer.close();
        } else {
            await this.room.localParticipant.sendText(whole, options);
        }
        return { kind: 'text', size: whole.length, sum: digest(whole) };
    }

    async sendFile({ size, seed, name, to }) {
        const bytes = noise(size, seed);
        const folder = mkdtempSync(joinPath(tmpdir(), 'rtc-node-'));
        try {
            const path = joinPath(folder, name);
            writeFileSync(path, bytes);
            await this.room.localParticipant.sendFile(path, {
                topic: 'bytes',
                name,
                mimeType: 'application/x-noise',
                destinationIdentities: to,
            });
        } finally {
            rmSync(folder, { recursive: true });
        }
        return { kind: 'bytes', size, sum: digest(bytes), name, mimeType: 'application/x-noise' };
    }

    async chat(message) {
        await this.room.localParticipant.sendChatMessage(message);
    }

    async dtmf(digit) {
        await this.room.localParticipant.publishDtmf(Number(digit), digit);
    }

    async rpc({ to, method, payload, size }) {
        try {
            const answer = await this.room.localParticipant.performRpc({
                destinationIdentity: to,
                method,
                payload: payload ?? longText(size),
            });
            return size ? { size: JSON.parse(answer).payload.length } : { answer };
        } catch ({ code, message, data }) {
            return { code, message, data };
        }
    }

    subscribe({ from, source, subscribed }) {
        const tracks = [...this.room.remoteParticipants.get(from).trackPublications.values()];
        tracks.find((p) => SOURCES[p.source] === source).setSubscribed(subscribed);
    }

    async unpublish({ source }) {
        await this.room.localParticipant.unpublishTrack(this.own[source].sid);
    }

    /** What the SDK does with it shows in `events`. */
    simulate({ scenario }) {
        this.room
            .simulateScenario(SCENARIOS[scenario])
            .catch((error) => this.note('simulate', { text: String(error) }));
    }

    async leave() {
        for (const timer of this.timers) clearInterval(timer);
        await this.room.disconnect();
    }
}

const client = new Client();

serve(client, async () => {
    await client.leave().catch(() => {});
    await dispose();
});
