// SPDX-License-Identifier: Apache-2.0
// One participant made of the published livekit-client; the scenarios call `client.*`.
const { Room, RoomEvent, Track, VideoQuality, ExternalE2EEKeyProvider } = LivekitClient;

const VIDEO_FPS = 15;
const DATA_FRAME_MS = 50;

class Client {
    constructor() {
        this.room = null;
        this.events = [];
        this.joinedAt = 0;
        this.connectedMs = 0;
        this.firstFrames = {};
        this.firstMedia = 0;
        this.elements = new Map();
        this.spoke = {};
        this.dataTracks = new Map();
        this.dataFrames = {};
        this.dataTracksEnded = 0;
    }

    now() {
        return performance.timeOrigin + performance.now();
    }

    options({ singlePeerConnection, e2eeKey, width, height, roomOptions }) {
        const encryption = e2eeKey && {
            keyProvider: (this.keys = new ExternalE2EEKeyProvider()),
            worker: new Worker('../livekit/livekit-client.e2ee.worker.js'),
        };
        return {
            singlePeerConnection,
            ...(encryption ? { encryption } : {}),
            videoCaptureDefaults: { resolution: { width, height, frameRate: VIDEO_FPS } },
            ...roomOptions,
        };
    }

    /** Joins and, unless told otherwise, publishes a microphone and a simulcast camera. */
    async join({ url, token, publish = true, connectOptions, ...options }) {
        this.room = new Room(this.options(options));
        this.watch();
        if (options.e2eeKey) {
            await this.keys.setKey(options.e2eeKey);
            await this.room.setE2EEEnabled(true);
        }
        this.joinedAt = this.now();
        await this.room.connect(url, token, connectOptions);
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
            .on(RoomEvent.ActiveSpeakersChanged, (speakers) => {
                for (const { identity } of speakers) {
                    this.spoke[identity] = (this.spoke[identity] ?? 0) + 1;
                }
            })
            .on(RoomEvent.EncryptionError, (error) => note('encryption', { text: String(error) }))
            .on(RoomEvent.Reconnecting, () => note('reconnecting'))
            .on(RoomEvent.SignalReconnecting, () => note('signal reconnecting'))
            .on(RoomEvent.Reconnected, () => note('reconnected'))
            .on(RoomEvent.ActiveSpeakersChanged, (speakers) =>
                note('speakers', { who: speakers.map((p) => p.identity) }),
            )
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
            sid: this.room.localParticipant.sid,
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

    /** How good everybody's connection is and who speaks, as far as this participant was told. */
    news() {
        const people = [this.room.localParticipant, ...this.room.remoteParticipants.values()];
        return Object.fromEntries(
            people.map((p) => [
                p.identity,
                {
                    quality: p.connectionQuality,
                    speaking: p.isSpeaking,
                    spoke: this.spoke[p.identity] ?? 0,
                },
            ]),
        );
    }

    /** Takes packets, text and byte streams, and answers calls of the method `echo`. */
    receiveData() {
        const data = { packets: [], texts: [], files: [] };
        this.data = data;
        const text = new TextDecoder();
        this.room.on(RoomEvent.DataReceived, (payload, from, kind, topic) => {
            data.packets.push({ text: text.decode(payload), from: from?.identity, kind, topic });
        });
        this.room.registerTextStreamHandler('notes', async (reader, { identity }) => {
            data.texts.push({ from: identity, length: (await reader.readAll()).length });
        });
        this.room.registerByteStreamHandler('files', async (reader, { identity }) => {
            const file = { from: identity, name: reader.info.name, bytes: 0, bad: 0, whole: false };
            data.files.push(file);
            for await (const chunk of reader) {
                for (let i = 0; i < chunk.length; i += 1) {
                    file.bad += chunk[i] !== (file.bytes + i) % 251;
                }
                file.bytes += chunk.length;
            }
            file.whole = true;
        });
        this.room.registerRpcMethod(
            'echo',
            async ({ callerIdentity, payload }) => `${callerIdentity} said ${payload}`,
        );
    }

    receivedData() {
        return this.data;
    }

    async sendPacket({ text, ...options }) {
        await this.room.localParticipant.publishData(new TextEncoder().encode(text), options);
    }

    async sendText({ length }) {
        await this.room.localParticipant.sendText('x'.repeat(length), { topic: 'notes' });
    }

    /** Bytes count up modulo 251, so that a gap or a repetition shows. */
    async sendFile({ name, bytes }) {
        const content = new Uint8Array(bytes);
        for (let i = 0; i < bytes; i += 1) {
            content[i] = i % 251;
        }
        await this.room.localParticipant.sendFile(new File([content], name), { topic: 'files' });
    }

    async callEcho({ to, payload }) {
        return this.room.localParticipant.performRpc({
            destinationIdentity: to,
            method: 'echo',
            payload,
        });
    }

    async publishDataTrack(name) {
        const track = await this.room.localParticipant.publishDataTrack({ name });
        this.dataTracks.set(name, track);
        return track.info.sid;
    }

    /** Frames of `bytes`, each full of its number. */
    async pushDataFrames({ name, count, bytes }) {
        for (let i = 0; i < count; i += 1) {
            const payload = new Uint8Array(bytes).fill(i);
            await this.dataTracks.get(name).tryPush({ payload });
            await this.dataTracks.get(name).flush();
            // A burst would be dropped: nothing waits long on this channel.
            await new Promise((resolve) => setTimeout(resolve, DATA_FRAME_MS));
        }
    }

    async unpublishDataTrack(name) {
        await this.dataTracks.get(name).unpublish();
    }

    /** Subscribes to every data track that is published from now on, and counts its frames. */
    receiveDataTracks() {
        this.room.on(RoomEvent.DataTrackPublished, (track) => {
            const seen = { frames: 0, bytes: 0, bad: 0 };
            this.dataFrames[track.info.name] = seen;
            this.readDataTrack(track, seen).catch((error) => console.log(`data track: ${error}`));
        });
        this.room.on(RoomEvent.DataTrackUnpublished, () => {
            this.dataTracksEnded += 1;
        });
    }

    async readDataTrack(track, seen) {
        for await (const { payload } of track.subscribe()) {
            seen.bad += payload.some((byte) => byte !== payload[0]);
            seen.frames += 1;
            seen.bytes += payload.length;
        }
    }

    dataReport() {
        return { frames: this.dataFrames, ended: this.dataTracksEnded };
    }

    async setKey(key) {
        await this.keys.setKey(key);
    }

    /** Has the server, or the client itself, do one of livekit-client's test scenarios. */
    simulate({ scenario, argument }) {
        // Some answer only by what happens to the connection.
        this.room.simulateScenario(scenario, argument).catch((e) => console.log(String(e)));
    }

    async leave() {
        await this.room.disconnect();
    }
}
