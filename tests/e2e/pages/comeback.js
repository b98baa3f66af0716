// SPDX-License-Identifier: Apache-2.0
// A participant whose connection is cut in all ways: it numbers its reliable messages, counts those
// of the others, and says what it receives. Media is small: eight of these run at once.
const { Room, RoomEvent, Track } = LivekitClient;

const VIDEO = { resolution: { width: 160, height: 90, frameRate: 10 } };
const TOPIC = 'count';
// Of every eighth message the body is larger than a packet.
const LARGE_EVERY = 8;
const LARGE_BYTES = 3000;

/** Every address of the server becomes the one of this client's own path. */
function goThrough(ports) {
    const line = /^(a=)?candidate:.*$/;
    const elsewhere = (text) => {
        const words = text.split(' ');
        // foundation component transport priority ADDRESS PORT typ ...
        [words[4], words[5]] = ['127.0.0.1', String(ports[words[5]] ?? words[5])];
        return words.join(' ');
    };
    const inSdp = (sdp) =>
        sdp
            .split('\r\n')
            .map((l) => (line.test(l) ? elsewhere(l) : l))
            .join('\r\n');
    const { setRemoteDescription, addIceCandidate } = RTCPeerConnection.prototype;
    RTCPeerConnection.prototype.setRemoteDescription = function (description) {
        const { type, sdp } = description;
        return setRemoteDescription.call(this, { type, sdp: inSdp(sdp) });
    };
    RTCPeerConnection.prototype.addIceCandidate = function (candidate) {
        if (!candidate?.candidate) return addIceCandidate.call(this, candidate);
        const { sdpMid, sdpMLineIndex } = candidate;
        const changed = { sdpMid, sdpMLineIndex, candidate: elsewhere(candidate.candidate) };
        return addIceCandidate.call(this, changed);
    };
}

/** When each of this page's sockets was opened: livekit-client pauses between attempts. */
const opened = [];
globalThis.WebSocket = class extends WebSocket {
    constructor(...args) {
        super(...args);
        this.addEventListener('open', () => opened.push(Date.now()));
    }
};

/** What came of one sender's messages 0, 1, 2, ... */
class Count {
    constructor() {
        this.seen = new Set();
        this.last = -1;
        this.doubled = 0;
        this.reordered = 0;
    }

    take(n) {
        if (this.seen.has(n)) {
            this.doubled += 1;
            return;
        }
        if (n < this.last) this.reordered += 1;
        this.seen.add(n);
        this.last = Math.max(this.last, n);
    }

    report() {
        const { seen, last, doubled, reordered } = this;
        return { received: seen.size, last, doubled, reordered };
    }
}

class Client {
    constructor() {
        this.events = [];
        this.counts = {};
        this.sent = 0;
        this.refused = [];
        this.talking = null;
        this.probes = 0;
    }

    /** `publish` a microphone and a camera, `subscribe` to those of others. */
    async join({ url, token, mediaPorts, singlePeerConnection, publish, subscribe }) {
        if (mediaPorts) goThrough(mediaPorts);
        this.room = new Room({ singlePeerConnection, videoCaptureDefaults: VIDEO });
        this.watch();
        await this.room.connect(url, token, { autoSubscribe: subscribe });
        if (publish) {
            await this.room.localParticipant.setMicrophoneEnabled(true);
            await this.room.localParticipant.setCameraEnabled(true);
        }
    }

    watch() {
        const note = (type, detail) => {
            this.events.push({ at: Date.now(), type, ...detail });
            console.log(`event ${type} ${JSON.stringify(detail ?? {})}`);
        };
        this.room
            .on(RoomEvent.TrackSubscribed, (track) => {
                const element = track.attach();
                element.muted = track.kind === Track.Kind.Video;
                document.getElementById('media').append(element);
            })
            .on(RoomEvent.TrackUnsubscribed, (track) => track.detach().forEach((e) => e.remove()))
            .on(RoomEvent.ParticipantDisconnected, (p) => note('left', { who: p.identity }))
            .on(RoomEvent.Reconnecting, () => note('reconnecting'))
            .on(RoomEvent.SignalReconnecting, () => note('signal reconnecting'))
            .on(RoomEvent.Reconnected, () => note('reconnected'))
            .on(RoomEvent.Disconnected, (reason) => note('disconnected', { reason }))
            .on(RoomEvent.DataReceived, (payload, from, kind, topic) => {
                if (topic !== TOPIC) return;
                const { n, who } = JSON.parse(new TextDecoder().decode(payload));
                (this.counts[who] ??= new Count()).take(n);
            });
    }

    /** Sends a reliable message to everybody every `ms`, whatever the connection is like. */
    talk(ms) {
        this.talking = setInterval(() => this.say(), ms);
    }

    say() {
        const n = this.sent;
        this.sent += 1;
        const who = this.room.localParticipant.identity;
        const body = 'x'.repeat(n % LARGE_EVERY === 0 ? LARGE_BYTES : 0);
        const payload = new TextEncoder().encode(JSON.stringify({ n, who, body }));
        this.room.localParticipant
            .publishData(payload, { reliable: true, topic: TOPIC })
            .catch((error) => this.refused.push({ n, why: String(error) }));
    }

    hush() {
        clearInterval(this.talking);
    }

    /** What flows at this moment; cheap enough to be asked several times a second. */
    async sample() {
        const media = {};
        for (const participant of this.room.remoteParticipants.values()) {
            const flow = { frames: 0, samples: 0 };
            for (const { track } of participant.trackPublications.values()) {
                if (!track?.receiver) continue;
                const stats = observe.inbound(await track.receiver.getStats(), track.kind);
                flow.frames += track.kind === Track.Kind.Video ? (stats?.framesDecoded ?? 0) : 0;
                flow.samples += track.kind === Track.Kind.Audio ? (stats?.packetsReceived ?? 0) : 0;
            }
            media[participant.identity] = flow;
        }
        const counts = Object.entries(this.counts).map(([who, count]) => [who, count.report()]);
        return {
            state: this.room.state,
            sid: this.room.localParticipant.sid,
            people: [...this.room.remoteParticipants.values()].map((p) => p.identity),
            events: this.events,
            opened,
            media,
            sent: this.sent,
            refused: this.refused,
            counts: Object.fromEntries(counts),
        };
    }

    connections() {
        const { publisher, subscriber } = this.room.engine.pcManager;
        return [publisher, subscriber].filter(Boolean).map((transport) => transport.pc);
    }

    /** The server's user name fragments: others after each ICE restart. */
    serverFragments() {
        return this.connections().map(
            (pc) => /a=ice-ufrag:(\S+)/.exec(pc.currentRemoteDescription?.sdp ?? '')?.[1],
        );
    }

    /**
     * ICE restarts without a loss: the server's of the connection that it offers, and ours of the
     * one that we offer. livekit-client asks the server for it only before it joins anew by itself.
     */
    async restartIce() {
        const { engine } = this.room;
        const { onLeave } = engine.client;
        engine.client.onLeave = undefined;
        await this.room.simulateScenario('force-tcp');
        engine.client.onLeave = onLeave;
        await engine.pcManager.publisher.createAndSendOffer({ iceRestart: true });
    }

    /** A request that is answered: the signalling works both ways. */
    async probe() {
        this.probes += 1;
        await this.room.localParticipant.setAttributes({ probe: String(this.probes) });
    }
}

globalThis.client = new Client();
