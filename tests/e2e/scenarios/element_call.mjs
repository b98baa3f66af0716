// SPDX-License-Identifier: Apache-2.0
// Element Call, unmodified, as a widget: two users of a real homeserver in an encrypted room.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { launchChromium } from '../lib/browsers.mjs';
import { must, until } from '../lib/expect.mjs';
import { CALL_MS, look, seesTheOther } from '../lib/spied.mjs';
import { createCallRoom, registerUser } from '../lib/synapse.mjs';

const APPLICATION = { path: '/element-call' };
const LEAVE_MS = 15000;
async function signIn(context, name) {
    const { here } = context.settings;
    const watch = ['observe.js', 'spy.js'].map((file) =>
        readFileSync(join(here, 'pages', file), 'utf8'),
    );
    const user = await registerUser(context.synapse, `${name}-${context.name}`);
    const peer = await launchChromium(name, watch.join('\n'));
    peer.user = user;
    await peer.goto(`${context.pages.url}/pages/widget-host.html`);
    await peer.call('signIn', { user, homeserver: context.synapse.url });
    return peer;
}

/**
 * Users in a call who see and hear each other, two if no more `guests` are named; `now` is what bob
 * saw when he came as the second.
 */
export async function startCall(context, path, guests = []) {
    const peers = [];
    for (const name of ['alice', 'bob', ...guests]) peers.push(await signIn(context, name));
    const [alice, bob, ...others] = peers;
    const roomId = await createCallRoom(
        context.synapse,
        peers.map((peer) => peer.user),
    );
    const start = (peer) =>
        peer.call('startCall', { user: peer.user, roomId, homeserver: context.synapse.url, path });
    await start(alice);
    await until(
        'alice joined her call',
        async () => (await alice.call('report')).actions.includes('io.element.join'),
        CALL_MS,
    );
    await start(bob);
    const { now } = await seesTheOther(bob, APPLICATION);
    const media = [...now.inbound.video, ...now.inbound.audio];
    must(
        'what bob receives is encrypted',
        media.every((m) => m.encrypted),
        media,
    );
    await seesTheOther(alice, APPLICATION);
    for (const peer of others) await start(peer);
    if (others.length) {
        const everybody = { ...APPLICATION, others: peers.length - 1 };
        for (const peer of peers) await seesTheOther(peer, everybody);
    }
    return { alice, bob, others, roomId, now };
}

export function isAlone(peer, ms) {
    return until(
        `${peer.name} is alone again`,
        async () => {
            const report = await look(peer, APPLICATION.path);
            return { ok: report?.videos.length === 0, report };
        },
        ms,
    );
}

async function call(context, path) {
    const { alice, bob, now } = await startCall(context, path);
    const { startedAt } = await bob.call('report');
    await bob.call('hangUp');
    await isAlone(alice, LEAVE_MS);
    return now.firstFrameAt - startedAt;
}

/** Three in a call; one hangs up, and the others go on. */
async function three(context, path) {
    const { alice, bob, others, now } = await startCall(context, path, ['carol']);
    const { startedAt } = await bob.call('report');
    await others[0].call('hangUp');
    await seesTheOther(alice, APPLICATION);
    await seesTheOther(bob, APPLICATION);
    return now.firstFrameAt - startedAt;
}

function scenario(name, path, run = call) {
    return { name, needs: ['synapse', 'sfu', 'jwt'], run: (context) => run(context, path) };
}

export const scenarios = [
    // As published: asks /sfu/get, and its call membership is room state.
    scenario('element-call', '/element-call/'),
    // The same files with the mode set in their config.json: asks /get_token, sticky events.
    scenario('element-call-matrix-2', '/element-call-matrix-2/'),
    scenario('element-call-three', '/element-call-matrix-2/', three),
];
