// SPDX-License-Identifier: Apache-2.0
// The SDKs for servers and agents, @livekit/rtc-node and PyPI's livekit (both made of LiveKit's Rust
// SDK with libwebrtc inside), with each other and with livekit-client.
import { launchChromium } from '../lib/browsers.mjs';
import { hasLeft, must, seesAndHears, sendsLayers, standsStill, until } from '../lib/expect.mjs';
import { launchNode, launchPython } from '../lib/native.mjs';
import { accessToken } from '../lib/token.mjs';
import { scenarios as data } from './data.mjs';
import { scenarios as people } from './people.mjs';

const PICTURE = { width: 640, height: 360 };
// The SDKs make as many simulcast layers of 640x360: 320x180 and 640x360.
const LAYERS = 2;
const LEAVE_MS = 5000;
const STILL_MS = 2000;
const PACKETS = 200;

const LAUNCH = { node: launchNode, python: launchPython };

async function join(context, peer, options = {}) {
    await peer.call('join', {
        url: context.sfu.url,
        token: accessToken(context.sfu, peer.name, `e2e-${context.name}`),
        ...options,
    });
}

/** A process of `kind` (node, python), in the room. */
async function enter(context, kind, name, options) {
    const peer = await LAUNCH[kind](context.settings, name);
    await join(context, peer, options);
    return peer;
}

async function undisturbed(...peers) {
    for (const peer of peers) {
        const { events, state } = await peer.call('report');
        const odd = events.filter((e) => ['reconnecting', 'disconnected'].includes(e.type));
        must(`${peer.name} had an undisturbed call`, state === 'connected' && !odd.length, odd);
    }
}

/** Livekit-client in Chromium and an SDK see and hear each other. */
async function withBrowser(context, { kind }) {
    const alice = await launchChromium('alice');
    await alice.goto(`${context.pages.url}/pages/client.html`);
    await join(context, alice, { ...PICTURE, singlePeerConnection: true });
    const bob = await enter(context, kind, 'bob');
    const { report } = await seesAndHears(bob, 'alice');
    await seesAndHears(alice, 'bob');
    await sendsLayers(bob, LAYERS);
    await bob.call('subscribe', { from: 'alice', source: 'camera', subscribed: false });
    await standsStill(bob, 'alice', 'camera', 'framesDecoded', STILL_MS);
    await bob.call('subscribe', { from: 'alice', source: 'camera', subscribed: true });
    await seesAndHears(bob, 'alice');
    await bob.call('unpublish', { source: 'microphone' });
    await until(
        'alice has no microphone of bob any more',
        async () => !(await alice.call('report')).remotes.bob.microphone,
        LEAVE_MS,
    );
    await seesAndHears(alice, 'bob', { sound: false });
    await undisturbed(alice, bob);
    await bob.call('leave');
    await hasLeft(alice, 'bob', LEAVE_MS);
    return report.firstFrames.alice;
}

async function eachOther(context, { codec }) {
    const alice = await enter(context, 'node', 'alice', { codec });
    const bob = await enter(context, 'python', 'bob', { codec });
    const { report } = await seesAndHears(bob, 'alice');
    await seesAndHears(alice, 'bob');
    for (const [peer, from] of [
        [alice, 'bob'],
        [bob, 'alice'],
    ]) {
        const { mime } = (await peer.call('report')).remotes[from].camera;
        must('the codec is what was asked for', mime.toLowerCase() === `video/${codec}`, mime);
    }
    await undisturbed(alice, bob);
    return report.firstFrames.alice;
}

/**
 * One of the SDK's own test scenarios while its reliable packets are on their way: it comes back by
 * itself, in the same session or another one, and so do the media both ways; a resumed session
 * neither loses nor repeats a packet.
 */
async function comesBack(context, { kind, scenario, same }) {
    const alice = await enter(context, kind, 'alice');
    const bob = await enter(context, kind === 'node' ? 'python' : 'node', 'bob');
    await seesAndHears(bob, 'alice');
    await seesAndHears(alice, 'bob');
    const before = (await alice.call('report')).sid;
    const packets = { tag: 'during', size: 1000, reliable: true };
    const began = Date.now();
    const sending = same && bob.call('sendPackets', { ...packets, count: PACKETS });
    await alice.call('simulate', { scenario });
    await until(`${kind} is back`, async () =>
        (await alice.call('report')).events.some((e) => e.type === 'reconnected'),
    );
    const took = Date.now() - began;
    await seesAndHears(bob, 'alice');
    await seesAndHears(alice, 'bob');
    const { sid, events } = await alice.call('report');
    must('the session is the one expected', (sid === before) === same, { before, sid, events });
    if (same) {
        await sending;
        await alice.call('sendPackets', { ...packets, tag: 'after', count: 1 });
        await until('bob gets what alice sends', async () =>
            (await bob.call('received')).some((e) => e.tag === 'after'),
        );
        const got = await until('alice has everything', async () => {
            const list = (await alice.call('received')).filter((e) => e.tag === 'during');
            return { ok: list.length >= PACKETS, list };
        });
        const inOrder = got.list.every((e, i) => e.number === i);
        must('each packet once, in order', inOrder && got.list.length === PACKETS, got.list);
    }
    must('nobody was put out', !events.some((e) => e.type === 'disconnected'), events);
    return took;
}

/** A leave without a way back is obeyed, and the other sees it. */
async function putOut(context, { kind }) {
    const alice = await enter(context, kind, 'alice');
    const bob = await enter(context, kind === 'node' ? 'python' : 'node', 'bob');
    await seesAndHears(bob, 'alice');
    const began = Date.now();
    await alice.call('simulate', { scenario: 'server-leave' });
    await until('alice is out', async () =>
        (await alice.call('report')).events.some((e) => e.type === 'disconnected'),
    );
    const took = Date.now() - began;
    await hasLeft(bob, 'alice', LEAVE_MS);
    return took;
}

const back = (kind, scenario, same) => ({
    name: `sdk-${kind}-${scenario}`,
    needs: ['sfu'],
    what: 'back after',
    run: (context) => comesBack(context, { kind, scenario, same }),
});

/** Scenarios of all kinds of livekit-client, with the SDKs and one browser in place of the browsers. */
const NAMES = ['rtc-node', 'rtc-python', 'chromium-v1'];

function borrowed(list, name, names = NAMES) {
    const { run, ...rest } = list.find((s) => s.name === name);
    return { ...rest, name: `sdk-${name}`, run: (context) => run({ ...context, names }) };
}

export const scenarios = [
    ...['node', 'python'].map((kind) => ({
        name: `sdk-${kind}-av`,
        needs: ['sfu'],
        run: (context) => withBrowser(context, { kind }),
    })),
    ...['vp8', 'h264', 'vp9', 'av1'].map((codec) => ({
        name: `sdk-${codec}`,
        needs: ['sfu'],
        run: (context) => eachOther(context, { codec }),
    })),
    borrowed(data, 'data-packets'),
    borrowed(data, 'data-streams'),
    borrowed(data, 'data-rpc'),
    borrowed(data, 'data-tracks', ['rtc-python', 'chromium-v1']),
    borrowed(people, 'people-names'),
    // Not people-names-refused: neither SDK tells its application of a refusal.
    ...['node', 'python'].flatMap((kind) => [
        back(kind, 'signal-reconnect', true),
        back(kind, 'node-failure', false),
        back(kind, 'migration', false),
        {
            ...back(kind, 'server-leave'),
            what: 'out after',
            run: (context) => putOut(context, { kind }),
        },
    ]),
];
