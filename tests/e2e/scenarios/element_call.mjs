// SPDX-License-Identifier: Apache-2.0
// Element Call, unmodified, as a widget: two users of a real homeserver in an encrypted room.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { launchChromium } from '../lib/browsers.mjs';
import { LEAST_CONTRAST, MOVING_FRAMES, must, until } from '../lib/expect.mjs';
import { createCallRoom, registerUser } from '../lib/synapse.mjs';

// Loading the application, signing in and the exchange of keys come on top of the media.
const CALL_MS = 60000;
const LEAVE_MS = 15000;
// Element Call publishes at most one camera and one microphone a participant.
const OTHERS = 1;

async function signIn(context, name) {
    const { here } = context.settings;
    const watch = ['observe.js', 'spy.js'].map((file) => readFileSync(join(here, 'pages', file), 'utf8'));
    const user = await registerUser(context.synapse, `${name}-${context.name}`);
    const peer = await launchChromium(name, watch.join('\n'));
    peer.user = user;
    await peer.goto(`${context.pages.url}/pages/widget-host.html`);
    await peer.call('signIn', { user, homeserver: context.synapse.url });
    return peer;
}

function look(peer) {
    const frame = peer.page.frames().find((f) => f.url().includes('/element-call'));
    return frame?.evaluate(() => globalThis.spy?.report()).catch(() => undefined);
}

function moves(before, now) {
    const decoded = (report) => report.inbound.video.map((v) => v.framesDecoded);
    const energy = (report) => report.inbound.audio.map((a) => a.totalAudioEnergy);
    const sum = (numbers) => numbers.reduce((total, n) => total + n, 0);
    const [old, video] = [before.videos[0], now.videos[0]];
    return (
        sum(decoded(now)) >= sum(decoded(before)) + MOVING_FRAMES &&
        sum(energy(now)) > sum(energy(before)) &&
        video.currentTime > old.currentTime &&
        video.hash !== old.hash &&
        video.contrast >= LEAST_CONTRAST
    );
}

/** Waits until the one other participant's picture moves and is heard, as `peer` sees it. */
async function seesTheOther(peer) {
    let base;
    return until(`${peer.name} sees and hears the other in Element Call`, async () => {
        const now = await look(peer);
        if (!now?.videos.length || !now.inbound.audio.length) return { ok: false, now };
        base ??= now;
        return { ok: now.videos.length === OTHERS && moves(base, now), now };
    }, CALL_MS);
}

async function call(context, path) {
    const alice = await signIn(context, 'alice');
    const bob = await signIn(context, 'bob');
    const roomId = await createCallRoom(context.synapse, [alice.user, bob.user]);
    const start = (peer) =>
        peer.call('startCall', { user: peer.user, roomId, homeserver: context.synapse.url, path });
    await start(alice);
    await until('alice joined her call', async () =>
        (await alice.call('report')).actions.includes('io.element.join'), CALL_MS);
    await start(bob);
    const { now } = await seesTheOther(bob);
    const media = [...now.inbound.video, ...now.inbound.audio];
    must('what bob receives is encrypted', media.every((m) => m.encrypted), media);
    await seesTheOther(alice);
    const { startedAt } = await bob.call('report');
    await bob.call('hangUp');
    await until('alice is alone again', async () => {
        const report = await look(alice);
        return { ok: report?.videos.length === 0, report };
    }, LEAVE_MS);
    return now.firstFrameAt - startedAt;
}

function scenario(name, path) {
    return { name, needs: ['synapse', 'sfu', 'jwt'], run: (context) => call(context, path) };
}

export const scenarios = [
    // As published: asks /sfu/get, and its call membership is room state.
    scenario('element-call', '/element-call/'),
    // The same files with the mode set in their config.json: asks /get_token, sticky events.
    scenario('element-call-matrix-2', '/element-call-matrix-2/'),
];
