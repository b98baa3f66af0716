// SPDX-License-Identifier: Apache-2.0
// Injected, after observe.js, into every frame of a page that is not ours: keeps the peer
// connections that it makes so that their getStats can be read. It changes none of them.
(() => {
    // The time to the first frame is as exact as this.
    const LOOK_MS = 20;

    const connections = [];
    let firstFrameAt = 0;

    const Original = globalThis.RTCPeerConnection;
    // livekit-client decrypts by createEncodedStreams in Chromium, by a transform in others.
    const decrypted = new WeakSet();
    const { prototype } = RTCRtpReceiver;
    const { createEncodedStreams } = prototype;
    if (createEncodedStreams) {
        prototype.createEncodedStreams = function note(...parameters) {
            decrypted.add(this);
            return createEncodedStreams.apply(this, parameters);
        };
    }

    globalThis.RTCPeerConnection = class extends Original {
        constructor(...parameters) {
            super(...parameters);
            connections.push(this);
        }
    };

    function receivedTracks() {
        const receivers = connections.flatMap((connection) => connection.getReceivers());
        return new Set(receivers.map((receiver) => receiver.track.id));
    }

    /** Whether this element shows somebody else: Element Call shows the own camera too. */
    function isRemote(video) {
        const tracks = video.srcObject?.getVideoTracks() ?? [];
        const received = receivedTracks();
        return tracks.some((track) => received.has(track.id));
    }

    // Not by events: the page's document may be another one than when this ran.
    const timer = setInterval(() => {
        const shown = (video) => video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
        const videos = [...document.querySelectorAll('video')];
        if (!videos.some((video) => shown(video) && isRemote(video))) return;
        firstFrameAt = performance.timeOrigin + performance.now();
        clearInterval(timer);
    }, LOOK_MS);

    async function report() {
        const inbound = { video: [], audio: [] };
        for (const connection of connections) {
            if (connection.connectionState !== 'connected') continue;
            for (const receiver of connection.getReceivers()) {
                const { kind } = receiver.track;
                const numbers = observe.inbound(await receiver.getStats(), kind);
                const encrypted = decrypted.has(receiver) || Boolean(receiver.transform);
                if (numbers) inbound[kind].push({ ...numbers, encrypted });
            }
        }
        const videos = [...document.querySelectorAll('video')].filter(isRemote);
        return {
            firstFrameAt,
            inbound,
            videos: videos.map((video) => observe.element(video)),
            text: document.body?.innerText?.slice(0, 300),
        };
    }

    globalThis.spy = { report };
})();
