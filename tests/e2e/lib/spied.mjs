// SPDX-License-Identifier: Apache-2.0
// What is seen and heard in pages that are not ours, by pages/spy.js injected into them.
import { LEAST_CONTRAST, MOVING_FRAMES, until } from './expect.mjs';

// Loading the application, signing in and the exchange of keys come on top of the media.
export const CALL_MS = 60000;

/** The report of the frame whose URL contains `path`; undefined while it is not there. */
export function look(peer, path = '') {
    const frame = peer.page.frames().find((f) => f.url().includes(path));
    return frame?.evaluate(() => globalThis.spy?.report()).catch(() => undefined);
}

function total(entries, field) {
    return entries.reduce((sum, entry) => sum + entry[field], 0);
}

function moves(before, now) {
    return (
        total(now.inbound.video, 'framesDecoded') >=
            total(before.inbound.video, 'framesDecoded') + MOVING_FRAMES * now.videos.length &&
        now.videos.every(
            (video, i) =>
                video.currentTime > before.videos[i].currentTime &&
                video.hash !== before.videos[i].hash &&
                video.contrast >= LEAST_CONTRAST,
        )
    );
}

function sounds(before, now) {
    return (
        total(now.inbound.audio, 'totalAudioEnergy') >
        total(before.inbound.audio, 'totalAudioEnergy')
    );
}

/** Waits until the pictures of the `others` move and are heard, as `peer` sees it. */
export async function seesTheOther(peer, { path = '', sound = true, others = 1 } = {}) {
    let base;
    return until(
        `${peer.name} sees${sound ? ' and hears' : ''} ${others} other(s)`,
        async () => {
            const now = await look(peer, path);
            if (now?.videos.length !== others || (sound && now.inbound.audio.length < others))
                return { ok: false, now };
            base ??= now;
            return { ok: moves(base, now) && (!sound || sounds(base, now)), now };
        },
        CALL_MS,
    );
}
