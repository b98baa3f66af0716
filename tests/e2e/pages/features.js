// SPDX-License-Identifier: Apache-2.0
// What livekit-client does beside a microphone and a camera: data, calls, news of people, tracks by
// name. Loaded after client.js, also with clients so old that they lack some of it.

/** `length` bytes that look like nothing in particular, the same for the same seed. */
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

/** Text of several bytes a character, whose pieces may not be cut anywhere. */
function longText(length) {
    return 'grüße 🎈 '.repeat(Math.ceil(length / 8)).slice(0, length);
}

async function digest(bytes) {
    const sum = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    return [...sum.slice(0, 8)].map((b) => b.toString(16).padStart(2, '0')).join('');
}

const text = (bytes) => new TextDecoder().decode(bytes);
const bytesOf = (string) => new TextEncoder().encode(string);

class FeatureClient extends Client {
    constructor() {
        super();
        this.inbox = [];
        this.remoteDataTracks = {};
        this.ownDataTracks = {};
        this.stops = {};
        this.keep = (entry) => this.inbox.push({ at: this.now(), ...entry });
    }

    /** What comes in is kept in `inbox`. */
    watch() {
        super.watch();
        const { keep, room } = this;
        room.on(RoomEvent.DataReceived, (payload, from, kind, topic) => {
            const [tag, number] = text(payload).split('|', 2);
            const size = payload.length;
            const sender = from?.identity ?? null;
            keep({ kind: 'packet', from: sender, tag, number: Number(number), size, topic, lossy: kind });
        });
        const chat = (message, from) =>
            keep({
                kind: 'chat',
                from: from?.identity ?? null,
                text: message.message,
                edited: Boolean(message.editTimestamp),
            });
        room.on(RoomEvent.ChatMessage, chat);
        room.on(RoomEvent.SipDTMFReceived, (dtmf, from) =>
            keep({ kind: 'dtmf', from: from?.identity, digit: dtmf.digit }),
        );
        room.on(RoomEvent.ActiveSpeakersChanged, (speakers) =>
            keep({ kind: 'speakers', who: speakers.map((p) => p.identity) }),
        );
        room.on(RoomEvent.Reconnected, () => keep({ kind: 'reconnected' }));
        room.on(RoomEvent.SignalReconnecting, () => keep({ kind: 'signal-reconnecting' }));
        room.on(RoomEvent.LocalTrackUnpublished, (p) =>
            keep({ kind: 'local-unpublished', name: p.trackName }),
        );
        room.on(RoomEvent.TrackSubscriptionFailed, (sid, from, reason) =>
            keep({ kind: 'subscription-failed', from: from.identity, sid, reason }),
        );
        room.on(RoomEvent.TrackSubscriptionPermissionChanged, (p, status, from) =>
            keep({ kind: 'permission', from: from.identity, name: p.trackName, status }),
        );
        if (room.registerTextStreamHandler) this.watchStreams();
        if (RoomEvent.DataTrackPublished) this.watchDataTracks();
    }

    watchStreams() {
        const { keep, room } = this;
        room.registerTextStreamHandler('text', async (reader, { identity }) => {
            const whole = await reader.readAll();
            keep({
                kind: 'text',
                from: identity,
                size: whole.length,
                sum: await digest(bytesOf(whole)),
                attributes: reader.info.attributes,
            });
        });
        room.registerByteStreamHandler('bytes', async (reader, { identity }) => {
            const whole = await new Blob(await reader.readAll()).arrayBuffer();
            const { name, mimeType } = reader.info;
            const sum = await digest(whole);
            keep({ kind: 'bytes', from: identity, size: whole.byteLength, sum, name, mimeType });
        });
        room.registerRpcMethod('echo', async ({ payload, callerIdentity }) =>
            JSON.stringify({ from: callerIdentity, payload }),
        );
        room.registerRpcMethod('refuse', async () => {
            throw new LivekitClient.RpcError(1234, 'no', 'data of it');
        });
    }

    watchDataTracks() {
        const { keep, room } = this;
        room.on(RoomEvent.DataTrackPublished, (track) => {
            const { name } = track.info;
            this.remoteDataTracks[`${track.publisherIdentity}/${name}`] = track;
            keep({ kind: 'data-track', from: track.publisherIdentity, name });
        });
        room.on(RoomEvent.DataTrackUnpublished, (sid) => keep({ kind: 'data-track-gone', sid }));
    }

    /** What came in, without the events before `since` (a length of the inbox). */
    received(since = 0) {
        return this.inbox.slice(since);
    }

    // ------------------------------------------------------------------------------------ data

    async sendPackets({ tag, count, size, reliable, topic, to }) {
        for (let i = 0; i < count; i++) {
            const head = `${tag}|${i}|`;
            const payload = bytesOf(head.padEnd(size, '.'));
            const options = { reliable, topic, ...(to ? { destinationIdentities: to } : {}) };
            await this.room.localParticipant.publishData(payload, options);
        }
    }

    async sendText({ size, attributes, to, pieces }) {
        const whole = longText(size);
        const options = { topic: 'text', attributes, destinationIdentities: to };
        if (pieces) {
            const writer = await this.room.localParticipant.streamText(options);
            const step = Math.ceil(whole.length / pieces);
            // At whole characters: each call is text of its own.
            const characters = [...whole];
            for (let i = 0; i < characters.length; i += step) {
                await writer.write(characters.slice(i, i + step).join(''));
            }
            await writer.close();
        } else {
            await this.room.localParticipant.sendText(whole, options);
        }
        return { kind: 'text', size: whole.length, sum: await digest(bytesOf(whole)) };
    }

    async sendFile({ size, seed, name, to, compress }) {
        const bytes = noise(size, seed);
        const file = new File([bytes], name, { type: 'application/x-noise' });
        const began = this.now();
        await this.room.localParticipant.sendFile(file, {
            topic: 'bytes',
            mimeType: file.type,
            destinationIdentities: to,
            compress,
        });
        const sum = await digest(bytes);
        return { kind: 'bytes', size, sum, name, mimeType: file.type, ms: this.now() - began };
    }

    async chat(message) {
        return this.room.localParticipant.sendChatMessage(message);
    }

    async chatAndEdit({ first, second }) {
        const message = await this.room.localParticipant.sendChatMessage(first);
        await this.room.localParticipant.editChatMessage(second, message);
    }

    async dtmf(digit) {
        await this.room.localParticipant.publishDtmf(Number(digit), digit);
    }

    /** {answer} or {code, message, data} of the RpcError. */
    async rpc({ to, method, payload, size }) {
        const params = { destinationIdentity: to, method, payload: payload ?? longText(size) };
        try {
            const answer = await this.room.localParticipant.performRpc(params);
            return size ? { size: JSON.parse(answer).payload.length } : { answer };
        } catch ({ code, message, data }) {
            return { code, message, data };
        }
    }

    // ---------------------------------------------------------------------------------- people

    async rename({ name, metadata, attributes }) {
        const me = this.room.localParticipant;
        try {
            if (name !== undefined) await me.setName(name);
            if (metadata !== undefined) await me.setMetadata(metadata);
            if (attributes !== undefined) await me.setAttributes(attributes);
            return 'ok';
        } catch (error) {
            return error.message;
        }
    }

    person({ name, metadata, attributes, permissions, sid }) {
        const { canPublish, canSubscribe, canPublishData } = permissions ?? {};
        const grants = permissions && { canPublish, canSubscribe, canPublishData };
        return { name, metadata, attributes, sid, ...grants };
    }

    people() {
        const { room } = this;
        const all = [room.localParticipant, ...room.remoteParticipants.values()];
        return {
            room: { metadata: room.metadata, name: room.name },
            everybody: Object.fromEntries(all.map((p) => [p.identity, this.person(p)])),
        };
    }

    /** The newest access token that the server gave, as its claims. */
    tokenClaims() {
        const token = this.room.engine.token;
        return JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/')));
    }

    // ---------------------------------------------------------------------------------- tracks

    /** A steady tone: sound without a microphone, as many as wanted. */
    async publishTone({ name, dtx = false }) {
        this.audio ??= new AudioContext();
        const oscillator = this.audio.createOscillator();
        const sink = this.audio.createMediaStreamDestination();
        oscillator.connect(sink);
        oscillator.start();
        const [track] = sink.stream.getAudioTracks();
        await this.room.localParticipant.publishTrack(track, { name, dtx, red: false });
    }

    async publishTones({ prefix, count }) {
        for (let i = 0; i < count; i++) await this.publishTone({ name: `${prefix}${i}` });
    }

    async publishPicture({ name, width, height, fps, ...options }) {
        const resolution = { width, height, frameRate: fps };
        const track = await LivekitClient.createLocalVideoTrack({ resolution });
        await this.room.localParticipant.publishTrack(track, { name, ...options });
    }

    published(name) {
        const all = [...this.room.localParticipant.trackPublications.values()];
        return all.find((p) => p.trackName === name);
    }

    async unpublish({ name, stop = true }) {
        const { track } = this.published(name);
        await this.room.localParticipant.unpublishTrack(track, stop);
        this.kept = track;
    }

    /** Publishes what unpublish({stop: false}) took away. */
    async publishAgain({ name }) {
        await this.room.localParticipant.publishTrack(this.kept, { name });
    }

    /** The same tracks in new publications; the camera is not opened anew. */
    async republishAll() {
        await this.room.localParticipant.republishAllTracks(undefined, false);
    }

    async muteOwn({ name, muted }) {
        const { track } = this.published(name);
        await (muted ? track.mute() : track.unmute());
    }

    ownTracks() {
        const all = [...this.room.localParticipant.trackPublications.values()];
        return Object.fromEntries(
            all.map((p) => [p.trackName, { sid: p.trackSid, muted: p.isMuted, mime: p.mimeType }]),
        );
    }

    remote({ from, name }) {
        const participant = this.room.remoteParticipants.get(from);
        return participant && [...participant.trackPublications.values()].find((p) => p.trackName === name);
    }

    subscribe({ from, name, subscribed }) {
        this.remote({ from, name }).setSubscribed(subscribed);
    }

    want({ from, name, quality, enabled }) {
        const publication = this.remote({ from, name });
        if (quality !== undefined) publication.setVideoQuality(VideoQuality[quality]);
        if (enabled !== undefined) publication.setEnabled(enabled);
    }

    /** Tracks of everybody by name, each with what getStats says of it; {from: {name: ...}}. */
    async tracks() {
        const all = {};
        for (const participant of this.room.remoteParticipants.values()) {
            const publications = [...participant.trackPublications.values()];
            const entries = await Promise.all(
                publications.map(async (p) => {
                    const stats = p.track ? await p.track.getRTCStatsReport() : null;
                    const inbound = observe.inbound(stats, p.kind);
                    const codec = [...(stats?.values() ?? [])].find((s) => s.type === 'codec');
                    if (inbound) inbound.codec = codec?.mimeType;
                    const element = this.elements.get(p.trackSid);
                    const shown = element instanceof HTMLVideoElement ? observe.element(element) : null;
                    const { trackSid: sid, isMuted: muted, isSubscribed: subscribed } = p;
                    const { isDesired: desired, mimeType: mime } = p;
                    const allowed = p.permissionStatus === 'allowed';
                    return [
                        p.trackName,
                        { sid, muted, subscribed, desired, allowed, mime, inbound, element: shown },
                    ];
                }),
            );
            all[participant.identity] = Object.fromEntries(entries);
        }
        return all;
    }

    /** Everything that comes in, by MediaStreamTrack: one report, for each costs more than media. */
    async inbounds() {
        const { publisher, subscriber } = this.room.engine.pcManager;
        const reports = await Promise.all([publisher, subscriber].map((pc) => pc?.getStats()));
        const all = reports.flatMap((report) => [...(report?.values() ?? [])]);
        const streams = all.filter((entry) => entry.type === 'inbound-rtp');
        return Object.fromEntries(streams.map((s) => [s.trackIdentifier, s]));
    }

    /** How many tracks of each participant are subscribed, and which of them bring no packets. */
    async countTracks() {
        const inbounds = await this.inbounds();
        const flows = (p) => inbounds[p.track.mediaStreamTrack.id]?.packetsReceived > 0;
        const count = (participant) => {
            const list = [...participant.trackPublications.values()].filter((p) => p.isSubscribed);
            const silent = list.filter((p) => !flows(p)).map((p) => `${p.trackName} ${p.trackSid}`);
            return { subscribed: list.length, silent };
        };
        const participants = [...this.room.remoteParticipants.values()];
        return Object.fromEntries(participants.map((p) => [p.identity, count(p)]));
    }

    allow({ all, only }) {
        const sids = (names) => names.map((name) => this.published(name).trackSid);
        const list = (only ?? []).map(({ who, names }) => ({
            participantIdentity: who,
            allowAll: !names,
            ...(names ? { allowedTrackSids: sids(names) } : {}),
        }));
        this.room.localParticipant.setTrackSubscriptionPermissions(all, list);
    }

    /** The outbound streams of one track, all its codecs: [{codec, rid, active, framesEncoded}]. */
    async sending(name) {
        const { track } = this.published(name);
        const others = [...(track.simulcastCodecs?.values() ?? [])].map((c) => c.sender);
        const all = [];
        for (const sender of [track.sender, ...others]) {
            const stats = await sender?.getStats();
            const codec = [...(stats?.values() ?? [])].find((s) => s.type === 'codec');
            const list = observe.outbound(stats ?? new Map());
            all.push(...list.map((s) => ({ ...s, codec: codec?.mimeType })));
        }
        return all;
    }

    // ----------------------------------------------------------------------------- data tracks

    async publishDataTrack(name) {
        const track = await this.room.localParticipant.publishDataTrack({ name });
        this.ownDataTracks[name] = track;
        return track.info.sid;
    }

    async unpublishDataTrack(name) {
        await this.ownDataTracks[name].unpublish();
    }

    async pushFrames({ name, count, size, everyMs }) {
        let sent = 0;
        for (let i = 0; i < count; i++) {
            const payload = bytesOf(`${name}|${i}|`.padEnd(size, '.'));
            try {
                await this.ownDataTracks[name].tryPush({ payload });
                sent++;
            } catch (error) {
                this.keep({ kind: 'push-failed', text: String(error) });
            }
            await new Promise((resolve) => setTimeout(resolve, everyMs));
        }
        return sent;
    }

    subscribeData({ from, name }) {
        const stop = new AbortController();
        this.stops[`${from}/${name}`] = stop;
        const stream = this.remoteDataTracks[`${from}/${name}`].subscribe({ signal: stop.signal });
        const read = async () => {
            const reader = stream.getReader();
            for (;;) {
                const { done, value } = await reader.read();
                if (done) return;
                const [tag, number] = text(value.payload).split('|', 2);
                const size = value.payload.length;
                this.keep({ kind: 'frame', from, tag, number: Number(number), size });
            }
        };
        read().catch((error) => this.keep({ kind: 'data-stream-ended', text: String(error) }));
    }

    unsubscribeData({ from, name }) {
        this.stops[`${from}/${name}`].abort();
    }
}

globalThis.client = new FeatureClient();
