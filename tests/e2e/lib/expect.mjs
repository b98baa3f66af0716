// SPDX-License-Identifier: Apache-2.0
// What the scenarios wait for, judged by what the browsers themselves report.
import { delay } from './processes.mjs';

// Two browsers and two servers on two cores: a start of 10 s is normal.
export const MEDIA_MS = 30000;
// Long enough for frames and sound that were on their way to arrive before silence is judged.
const DRAIN_MS = 1000;
const POLL_MS = 250;
// Frames between two looks that prove a moving picture and not a late single frame.
export const MOVING_FRAMES = 4;
// A flat picture (nothing rendered, or undecryptable garbage shown as grey) has no contrast.
export const LEAST_CONTRAST = 8;

/** Polls `probe` until it gives a truthy value and returns that; `what` says what was missing. */
export async function until(what, probe, ms = MEDIA_MS) {
    const end = Date.now() + ms;
    let last;
    for (;;) {
        last = await probe();
        if (last?.ok ?? last) return last;
        if (Date.now() > end) break;
        await delay(POLL_MS);
    }
    const seen = last === undefined ? '' : `; last seen: ${JSON.stringify(last).slice(0, 1500)}`;
    throw new Error(`not in ${ms} ms: ${what}${seen}`);
}

export function must(what, condition, detail) {
    if (!condition) throw new Error(`${what}: ${JSON.stringify(detail)?.slice(0, 1500)}`);
}

function videoMoves(before, now) {
    return (
        now?.inbound &&
        now.element &&
        before?.inbound &&
        before.element &&
        now.inbound.framesDecoded >= before.inbound.framesDecoded + MOVING_FRAMES &&
        now.element.currentTime > before.element.currentTime &&
        now.element.hash !== before.element.hash &&
        now.element.contrast >= LEAST_CONTRAST
    );
}

function soundGrows(before, now) {
    return (
        now?.inbound &&
        before?.inbound &&
        now.inbound.totalAudioEnergy > before.inbound.totalAudioEnergy
    );
}

/** Waits until `peer` sees the picture of `from` move and, unless told otherwise, hears it. */
export async function seesAndHears(peer, from, { sound = true, ms = MEDIA_MS } = {}) {
    const what = `${peer.name} sees${sound ? ' and hears' : ''} ${from}`;
    const first = (await peer.call('report')).remotes[from];
    let base = first;
    return until(
        what,
        async () => {
            const report = await peer.call('report');
            const now = report.remotes[from];
            base = {
                camera: base?.camera?.element ? base.camera : now?.camera,
                microphone: base?.microphone?.inbound ? base.microphone : now?.microphone,
            };
            const ok =
                report.firstFrames[from] >= 0 &&
                videoMoves(base.camera, now?.camera) &&
                (!sound || soundGrows(base.microphone, now?.microphone));
            return { ok, report, now };
        },
        ms,
    );
}

/** Throws if `field` of what `peer` receives from `from` still grows within `ms`. */
export async function standsStill(peer, from, source, field, ms) {
    await delay(DRAIN_MS);
    const read = async () =>
        (await peer.call('report')).remotes[from]?.[source]?.inbound?.[field] ?? 0;
    const before = await read();
    await delay(ms);
    const after = await read();
    must(`${peer.name} still gets ${source} of ${from} (${field})`, before === after, [
        before,
        after,
    ]);
}

/** Waits until `peer` has encoded frames of at least `count` simulcast layers. */
export async function sendsLayers(peer, count) {
    return until(`${peer.name} sends ${count} simulcast layers`, async () => {
        const { sent } = await peer.call('report');
        const layers = sent.filter(
            (s) => s.kind === 'video' && s.framesEncoded > 0 && s.packetsSent > 0,
        );
        return { ok: layers.length >= count, sent };
    });
}

export async function hasLeft(peer, who, ms) {
    return until(
        `${peer.name} notices that ${who} left`,
        async () => {
            const { events, remotes } = await peer.call('report');
            return !(who in remotes) && events.some((e) => e.type === 'left' && e.who === who);
        },
        ms,
    );
}
