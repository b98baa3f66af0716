// SPDX-License-Identifier: Apache-2.0
// What a user of this page sees and hears, read from its video elements and from getStats.
// Also injected into pages that are not ours, so it depends on nothing.
(() => {
    // Pictures are compared on a small copy: enough to tell whether anything moves.
    const SAMPLE = { width: 32, height: 18 };

    const canvas = document.createElement('canvas');
    canvas.width = SAMPLE.width;
    canvas.height = SAMPLE.height;

    /** A fingerprint of the picture shown now, and whether it is more than one flat colour. */
    function picture(video) {
        const context = canvas.getContext('2d', { willReadFrequently: true });
        context.drawImage(video, 0, 0, SAMPLE.width, SAMPLE.height);
        const { data } = context.getImageData(0, 0, SAMPLE.width, SAMPLE.height);
        let hash = 2166136261; // FNV-1a offset basis
        let low = 255;
        let high = 0;
        for (let i = 0; i < data.length; i++) {
            hash = Math.imul(hash ^ data[i], 16777619) >>> 0; // FNV-1a prime
            if (i % 4 === 1) {
                low = Math.min(low, data[i]);
                high = Math.max(high, data[i]);
            }
        }
        return { hash, contrast: high - low };
    }

    function element(video) {
        const shown = video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
        return {
            currentTime: video.currentTime,
            paused: video.paused,
            width: video.videoWidth,
            height: video.videoHeight,
            ...(shown && video.videoWidth > 0 ? picture(video) : { hash: 0, contrast: 0 }),
        };
    }

    /** The inbound-rtp numbers of one received track; `report` is an RTCStatsReport. */
    function inbound(report, kind) {
        for (const entry of report?.values() ?? []) {
            if (entry.type !== 'inbound-rtp' || (kind && entry.kind !== kind)) continue;
            return {
                packetsReceived: entry.packetsReceived ?? 0,
                packetsLost: entry.packetsLost ?? 0,
                framesDecoded: entry.framesDecoded ?? 0,
                frameWidth: entry.frameWidth ?? 0,
                frameHeight: entry.frameHeight ?? 0,
                heldS: entry.jitterBufferDelay ?? 0, // all frames together
                framesHeld: entry.jitterBufferEmittedCount ?? 0,
                totalAudioEnergy: entry.totalAudioEnergy ?? 0,
                totalSamplesReceived: entry.totalSamplesReceived ?? 0,
                audioLevel: entry.audioLevel ?? 0,
            };
        }
        return null;
    }

    /** One entry for each encoding that this page sends of one track. */
    function outbound(report) {
        return [...(report?.values() ?? [])]
            .filter((entry) => entry.type === 'outbound-rtp')
            .map((entry) => ({
                kind: entry.kind,
                rid: entry.rid ?? '',
                active: entry.active ?? true,
                packetsSent: entry.packetsSent ?? 0,
                framesEncoded: entry.framesEncoded ?? 0,
                frameWidth: entry.frameWidth ?? 0,
            }));
    }

    /** Calls `then` once with the time (ms since 1970) at which the first frame could be shown. */
    function onFirstFrame(video, then) {
        // Not requestVideoFrameCallback: it waits for the compositor, which a headless page starves.
        video.addEventListener(
            'loadeddata',
            () => then(performance.timeOrigin + performance.now()),
            { once: true },
        );
    }

    globalThis.observe = { element, inbound, outbound, onFirstFrame };
})();
