// SPDX-License-Identifier: Apache-2.0
// One participant made of the published livekit-client; the scenarios call `client.*`.
const { Room, RoomEvent, Track, VideoQuality, ExternalE2EEKeyProvider } = LivekitClient;

const VIDEO_FPS = 15;

class Client {
    constructor() {
        this.room = null;
        this.events = [];
        this.joinedAt = 0;
        this.connectedMs = 0;
        this.firstFrames = {};
        this.firstMedia = 0;
        this.elements = new Map();
    }

    now() {
        return performance.timeOrigin + performance.now();
    }

    options({ singlePeerConnection, e2eeKey, width, height }) {
        const encryption = e2eeKey && {
            keyProvider: (this.keys = new ExternalE2EEKeyProvider()),
            worker: new Worker('/livekit/livekit-client.e2ee.worker.js'),
        };
        return {
            singlePeerConnection,
            ...(encryption ? { encryption } : {}),
            videoCaptureDefaults: { resolution: { width, height, frameRate: VIDEO_FPS } },
        };
    }

    /** Joins and, unless told otherwise, publishes a microphone and a simulcast camera. */
    async join({ url, token, publish = true, ...options }) {
        this.room = new Room(this.options(options));
        this.watch();
        if (options.e2eeKey) {
            await this.keys.setKey(options.e2eeKey);
            await this.room.setE2EEEnabled(true);
        }
        this.joinedAt = this.now();
        await this.room.connect(url, token);
        this.connectedMs = this.now() - this.joinedAt;
        if (publish) {
            await this.room.localParticipant.setMicrophoneEnabled(true);
            await this.room.localParticipant.setCameraEnabled(true);
        }
    }

    watch() {
        const note = (type, detail) => {
            this.events.push({ at: this.now(), type, ...detail });
            console.log(`event ${type} ${JSON.stringify(detail ?? {})}`);
        };
        const who = (participant) => ({ who: participant.identity });
        this.room
            .on(RoomEvent.TrackSubscribed, (track, publication, participant) => {
                note('subscribed', { ...who(participant), source: publication.source });
                this.attach(track, participant);
            })
            .on(RoomEvent.TrackUnsubscribed, (track, publication, participant) => {
                note('unsubscribed', { ...who(participant), source: publication.source });
                track.detach().forEach((element) => element.remove());
                this.elements.delete(track.sid);
            })
            .on(RoomEvent.ParticipantConnected, (p) => note('joined', who(p)))
            .on(RoomEvent.ParticipantDisconnected, (p) => note('left', who(p)))
            .on(RoomEvent.EncryptionError, (error) => note('encryption', { text: String(error) }))
            .on(RoomEvent.Reconnecting, () => note('reconnecting'))
            .on(RoomEvent.Disconnected, (reason) => note('disconnected', { reason }));
    }

    attach(track, participant) {
        const element = track.attach();
        element.muted = track.kind === Track.Kind.Video;
        document.getElementById('media').append(element);
        this.elements.set(track.sid, element);
        if (track.kind !== Track.Kind.Video) return;
        observe.onFirstFrame(element, (at) => {
            this.firstFrames[participant.identity] ??= at - this.joinedAt;
        });
    }

    async publication(publication) {
        const track = publication.track;
        const element = this.elements.get(publication.trackSid);
        const stats = track ? await track.getRTCStatsReport() : null;
        return {
            kind: publication.kind,
            source: publication.source,
            subscribed: publication.isSubscribed,
            muted: publication.isMuted,
            encrypted: publication.isEncrypted,
            inbound: observe.inbound(stats, publication.kind),
            element: element instanceof HTMLVideoElement ? observe.element(element) : null,
        };
    }

    /** Everything that this participant receives and sends at this moment. */
    async report() {
        const remotes = {};
        for (const participant of this.room.remoteParticipants.values()) {
            const publications = [...participant.trackPublications.values()];
            const tracks = await Promise.all(publications.map((p) => this.publication(p)));
            remotes[participant.identity] = Object.fromEntries(tracks.map((t) => [t.source, t]));
        }
        const locals = [...this.room.localParticipant.trackPublications.values()];
        const sent = await Promise.all(locals.map((p) => p.track?.getRTCStatsReport()));
        return {
            state: this.room.state,
            connectedMs: this.connectedMs,
            firstFrames: this.firstFrames,
            events: this.events,
            remotes,
            sent: sent.flatMap((report) => observe.outbound(report)),
        };
    }

    remotePublication({ from, source }) {
        return this.room.remoteParticipants.get(from).getTrackPublication(source);
    }

    setSubscribed({ from, source, subscribed }) {
        this.remotePublication({ from, source }).setSubscribed(subscribed);
    }

    setQuality({ from, quality }) {
        const publication = this.remotePublication({ from, source: Track.Source.Camera });
        publication.setVideoQuality(VideoQuality[quality]);
    }

    async setMicrophone(enabled) {
        await this.room.localParticipant.setMicrophoneEnabled(enabled);
    }

    async setCamera(enabled) {
        await this.room.localParticipant.setCameraEnabled(enabled);
    }

    async setKey(key) {
        await this.keys.setKey(key);
    }

    async leave() {
        await this.room.disconnect();
    }
}

globalThis.client = new Client();
