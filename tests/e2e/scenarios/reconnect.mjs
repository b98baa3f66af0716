// SPDX-License-Identifier: Apache-2.0
// livekit-client coming back: its own test scenarios (room.simulateScenario), and a server that ends
// and is started again. Alice is disturbed; bob must not notice more than he has to.
import { launchChromium } from '../lib/browsers.mjs';
import { must, seesAndHears, until } from '../lib/expect.mjs';
import { sfuPorts } from '../lib/ports.mjs';
import { delay } from '../lib/processes.mjs';
import { startSfu } from '../lib/servers.mjs';
import { accessToken } from '../lib/token.mjs';

const PICTURE = { width: 640, height: 360 };
// The client's own pauses between its attempts: up to 0.5, 0.3, 1.2 s, and 2 s to settle after a resume.
const BACK_MS = 20000;
const QUIET_MS = 3000;
const FROZEN_MS = 20000;

async function join(context, peer, sfu, options) {
    await peer.goto(`${context.pages.url}/pages/client.html`);
    const token = accessToken(sfu, peer.name, `e2e-${context.name}`);
    await peer.call('join', { url: sfu.url, token, ...PICTURE, ...options });
}

async function call(context, sfu, options) {
    const alice = await launchChromium('alice');
    const bob = await launchChromium('bob');
    await join(context, alice, sfu, options);
    await join(context, bob, sfu, options);
    await seesAndHears(bob, 'alice');
    await seesAndHears(alice, 'bob');
    return { alice, bob };
}

const events = async (peer, type) =>
    (await peer.call('report')).events.filter((e) => e.type === type);

async function bothFlow(alice, bob) {
    await seesAndHears(bob, 'alice', { ms: BACK_MS });
    await seesAndHears(alice, 'bob', { ms: BACK_MS });
}

/** What the client says of itself is the scenario's; the same session or another one, as expected. */
async function comesBack(context, { scenario, same, singlePeerConnection, quietly }) {
    const { alice, bob } = await call(context, context.sfu, { singlePeerConnection });
    const before = (await alice.call('report')).sid;
    const began = Date.now();
    await alice.call('simulate', { scenario });
    await until(`alice came back`, async () => (await events(alice, 'reconnected')).length > 0, BACK_MS);
    const took = Date.now() - began;
    const after = (await alice.call('report')).sid;
    must(same ? 'the session is the same' : 'it is another session', (before === after) === same, [
        before,
        after,
    ]);
    await bothFlow(alice, bob);
    const left = await events(bob, 'left');
    must('bob sees somebody leave only if the session ended', !quietly || !left.length, left);
    must('bob was not disturbed', !(await events(bob, 'reconnecting')).length);
    return took;
}

async function serverLeave(context, { singlePeerConnection }) {
    const { alice, bob } = await call(context, context.sfu, { singlePeerConnection });
    const began = Date.now();
    await alice.call('simulate', { scenario: 'server-leave' });
    await until('alice is out', async () => (await events(alice, 'disconnected')).length > 0);
    const took = Date.now() - began;
    await until('bob sees it', async () => (await events(bob, 'left')).length > 0);
    await delay(QUIET_MS);
    must('alice stays out', (await alice.call('report')).state === 'disconnected');
    return took;
}

async function speaker(context, { singlePeerConnection }) {
    const { alice, bob } = await call(context, context.sfu, { singlePeerConnection });
    const spoke = async () => (await events(bob, 'speakers')).filter((e) => e.who.includes('alice'));
    const before = (await spoke()).length;
    const began = Date.now();
    await alice.call('simulate', { scenario: 'speaker' });
    await until('bob is told that alice speaks', async () => (await spoke()).length > before);
    return Date.now() - began;
}

async function bandwidth(context, { singlePeerConnection }) {
    const { alice, bob } = await call(context, context.sfu, { singlePeerConnection });
    const width = async () =>
        (await bob.call('report')).remotes.alice.camera.inbound?.frameWidth ?? 0;
    await until('bob sees the large picture', async () => (await width()) === 640);
    const began = Date.now();
    await bob.call('simulate', { scenario: 'subscriber-bandwidth', argument: 200000 });
    await until('bob sees a smaller one', async () => (await width()) < 640);
    const took = Date.now() - began;
    await bob.call('simulate', { scenario: 'subscriber-bandwidth', argument: 0 });
    await until('bob sees the large picture again', async () => (await width()) === 640);
    await bothFlow(alice, bob);
    return took;
}

/** No process of the browser runs for 20 s: the server has given its media up, but not its session. */
async function frozen(context, { singlePeerConnection }) {
    const { alice, bob } = await call(context, context.sfu, { singlePeerConnection });
    const before = (await alice.call('report')).sid;
    alice.freeze(true);
    await delay(FROZEN_MS);
    alice.freeze(false);
    const began = Date.now();
    await seesAndHears(bob, 'alice', { ms: BACK_MS });
    const took = Date.now() - began;
    await bothFlow(alice, bob);
    must('the session is the same', (await alice.call('report')).sid === before);
    must('bob saw nobody leave', !(await events(bob, 'left')).length);
    return took;
}

/** A restart by an operator: SIGTERM, a moment without server, the same address again. */
async function serverRestart(context, { singlePeerConnection }) {
    const ports = await sfuPorts();
    const first = await startSfu(context.settings, ports, {});
    const { alice, bob } = await call(context, first, { singlePeerConnection });
    const began = Date.now();
    await first.stop();
    const second = await startSfu(context.settings, ports, {});
    try {
        for (const peer of [alice, bob]) {
            await until(
                `${peer.name} came back`,
                async () => (await events(peer, 'reconnected')).length > 0,
                BACK_MS,
            );
        }
        const took = Date.now() - began;
        await bothFlow(alice, bob);
        must('nobody was thrown out', !(await events(alice, 'disconnected')).length);
        return took;
    } finally {
        await second.stop();
    }
}

const V0 = { singlePeerConnection: false };
const V1 = { singlePeerConnection: true };

function both(name, run, options = {}, needs = ['sfu']) {
    return [
        ['v1', V1],
        ['v0', V0],
    ].map(([version, v]) => ({
        name: `${version}-${name}`,
        what: 'back after',
        needs,
        run: (context) => run(context, { ...v, ...options }),
    }));
}

const scenario = (name, same, quietly = same) =>
    both(`reconnect-${name}`, comesBack, { scenario: name, same, quietly });

export const scenarios = [
    ...scenario('signal-reconnect', true),
    ...scenario('disconnect-signal-on-resume', true),
    ...scenario('disconnect-signal-on-resume-no-messages', true),
    ...scenario('full-reconnect', false, true),
    ...scenario('resume-reconnect', false), // the client sends a leave before it joins anew
    ...scenario('node-failure', false),
    ...scenario('migration', false),
    ...scenario('leave-full-reconnect', false),
    ...scenario('force-tcp', false),
    ...both('reconnect-server-leave', serverLeave),
    ...both('reconnect-frozen', frozen),
    ...both('simulated-speaker', speaker),
    ...both('simulated-bandwidth', bandwidth),
    ...both('reconnect-server-restart', serverRestart, {}, []),
];
