// SPDX-License-Identifier: Apache-2.0
// A client made of Pion (pion/) that speaks as LiveKit's Go SDK does: two peer connections, offers
// without an id, tracks subscribed to by their participant, simulcast H264 by rids.
import { launchChromium } from '../lib/browsers.mjs';
import { hasLeft, must, seesAndHears, standsStill, until } from '../lib/expect.mjs';
import { launchNode, launchPion } from '../lib/native.mjs';
import { accessToken } from '../lib/token.mjs';

const PICTURE = { width: 640, height: 360 };
const LEAVE_MS = 5000;
const STILL_MS = 1000;
const PACKETS = 200;
// Packets between two looks that prove a track which goes on.
const FLOWING = 20;
const LAYERS = 3;
// The width of the layers q and f of pion/media.go.
const LOW_WIDTH = 192;
const HIGH_WIDTH = 640;

async function join(context, peer, options = {}) {
    const token = accessToken(context.sfu, peer.name, `e2e-${context.name}`);
    await peer.call('join', { url: context.sfu.url, token, ...options });
}

async function enter(context, launch, name, options) {
    const peer = await launch(context.settings, name);
    await join(context, peer, options);
    return peer;
}

async function enterBrowser(context, options = {}) {
    const alice = await launchChromium('alice');
    await alice.goto(`${context.pages.url}/pages/features.html`);
    await join(context, alice, { ...PICTURE, singlePeerConnection: true, ...options });
    return alice;
}

/** Waits until RTP of each of `wanted` goes on coming. */
async function counts(peer, from, wanted = ['camera', 'microphone']) {
    const read = async () => (await peer.call('report')).remotes[from] ?? {};
    const packets = (tracks, source) => tracks[source]?.inbound?.packetsReceived ?? 0;
    const before = await read();
    await until(`${peer.name} gets RTP of ${from}`, async () => {
        const now = await read();
        const ok = wanted.every((w) => packets(now, w) >= packets(before, w) + FLOWING);
        return { ok, before, now };
    });
}

/** Of what `peer` sends, the layers that are wanted. */
async function sendsLayers(peer, count) {
    await until(`${peer.name} sends ${count} layers`, async () => {
        const { sent } = await peer.call('report');
        const active = sent.filter((s) => s.kind === 'video' && s.active && s.packetsSent > 0);
        return { ok: active.length === count, sent };
    });
}

async function undisturbed(...peers) {
    for (const peer of peers) {
        const { events, state } = await peer.call('report');
        const odd = events.filter((e) =>
            ['reconnecting', 'disconnected', 'error'].includes(e.type),
        );
        must(`${peer.name} had an undisturbed call`, state === 'connected' && !odd.length, odd);
    }
}

/** Livekit-client, rtc-node and Pion in one room; the first two decode what Pion sends. */
async function media(context) {
    const alice = await enterBrowser(context);
    const bob = await enter(context, launchNode, 'bob');
    const gopher = await enter(context, launchPion, 'gopher');
    const { report } = await seesAndHears(alice, 'gopher');
    await seesAndHears(bob, 'gopher');
    await counts(gopher, 'alice');
    await counts(gopher, 'bob');
    await sendsLayers(gopher, LAYERS);
    const mime = (await gopher.call('report')).remotes.alice.camera.inbound.mime;
    must('the codec is the one that alice sends', mime === 'video/VP8', mime);

    await gopher.call('mute', { source: 'microphone', muted: true });
    await until(
        'alice is told that gopher is muted',
        async () => (await alice.call('report')).remotes.gopher.microphone.muted,
    );
    await gopher.call('mute', { source: 'microphone', muted: false });
    await gopher.call('subscribe', { from: 'alice', source: 'camera', subscribed: false });
    await until(
        "gopher has no picture of alice's",
        async () => !(await gopher.call('report')).remotes.alice.camera.inbound,
    );
    await counts(gopher, 'alice', ['microphone']);
    await gopher.call('subscribe', { from: 'alice', source: 'camera', subscribed: true });
    await counts(gopher, 'alice');
    await undisturbed(alice, bob, gopher);
    await gopher.call('leave');
    await hasLeft(alice, 'gopher', LEAVE_MS);
    return report.firstFrames.gopher;
}

/** Only the layers that somebody sees are sent; which one it is shows in its size. */
async function dynacast(context) {
    const gopher = await enter(context, launchPion, 'gopher');
    const alice = await enterBrowser(context, { publish: false });
    const { report } = await seesAndHears(alice, 'gopher');
    const shows = (width) =>
        until(`alice sees a picture ${width} wide`, async () => {
            const { inbound } = (await alice.call('report')).remotes.gopher.camera;
            return { ok: inbound.frameWidth === width, inbound };
        });
    await shows(HIGH_WIDTH);
    await alice.call('setQuality', { from: 'gopher', quality: 'LOW' });
    await shows(LOW_WIDTH);
    await sendsLayers(gopher, 1);
    const updates = (await gopher.call('received')).filter((e) => e.kind === 'dynacast');
    must(
        'codecs by their bare names',
        updates.every((u) => u.codec === 'h264'),
        updates,
    );
    await alice.call('setQuality', { from: 'gopher', quality: 'HIGH' });
    await shows(HIGH_WIDTH);
    await sendsLayers(gopher, LAYERS);
    await undisturbed(alice, gopher);
    return report.firstFrames.gopher;
}

/** As `lk load-test`: nothing is subscribed to but what is asked for, by participant and size. */
async function manual(context) {
    const bob = await enter(context, launchNode, 'bob');
    const gopher = await enter(context, launchPion, 'gopher', {
        autoSubscribe: false,
        publish: false,
    });
    await until(
        'gopher knows of both tracks',
        async () => Object.keys((await gopher.call('report')).remotes.bob ?? {}).length === 2,
    );
    await standsStill(gopher, 'bob', 'camera', 'packetsReceived', STILL_MS);
    const began = Date.now();
    for (const source of ['microphone', 'camera']) {
        await gopher.call('subscribe', { from: 'bob', source, subscribed: true });
    }
    await counts(gopher, 'bob');
    const took = Date.now() - began;
    await gopher.call('want', { from: 'bob', source: 'camera', quality: 0 });
    await counts(gopher, 'bob');
    await undisturbed(bob, gopher);
    return took;
}

const packets = async (peer, tag) => (await peer.call('received')).filter((e) => e.tag === tag);

async function allArrive(peer, from, tag, count) {
    const { list } = await until(`${peer.name} gets ${count} packets`, async () => {
        const got = await packets(peer, tag);
        return { ok: got.length >= count, list: got };
    });
    const inOrder = list.every((e, i) => e.number === i && e.from === from);
    must('each packet once, in order', inOrder && list.length === count, list);
}

async function data(context) {
    const gopher = await enter(context, launchPion, 'gopher', { publish: false });
    const alice = await enterBrowser(context, { publish: false });
    const began = Date.now();
    const some = { count: PACKETS, size: 1000, reliable: true };
    await Promise.all([
        gopher.call('sendPackets', { ...some, tag: 'from-gopher', topic: 'of gopher' }),
        alice.call('sendPackets', { ...some, tag: 'from-alice' }),
    ]);
    await allArrive(alice, 'gopher', 'from-gopher', PACKETS);
    await allArrive(gopher, 'alice', 'from-alice', PACKETS);
    const [first] = await packets(alice, 'from-gopher');
    must('with its topic', first.topic === 'of gopher' && first.size === 1000, first);
    const took = Date.now() - began;
    await gopher.call('sendPackets', { tag: 'lossy', count: 10, size: 100, reliable: false });
    await until('most lossy packets', async () => (await packets(alice, 'lossy')).length > 7);
    await gopher.call('sendPackets', { ...some, count: 1, tag: 'nobody', to: ['nobody'] });
    await gopher.call('sendPackets', { ...some, count: 1, tag: 'last', to: ['alice'] });
    await allArrive(alice, 'gopher', 'last', 1);
    must('what is for others does not come', (await packets(alice, 'nobody')).length === 0);
    await undisturbed(alice, gopher);
    return took;
}

/** The signalling is cut; the session goes on, and what was sent meanwhile is there once. */
async function resume(context) {
    const bob = await enter(context, launchNode, 'bob');
    const gopher = await enter(context, launchPion, 'gopher');
    await seesAndHears(bob, 'gopher');
    await counts(gopher, 'bob');
    const { sid } = await gopher.call('report');
    const began = Date.now();
    const sending = bob.call('sendPackets', {
        tag: 'during',
        count: PACKETS,
        size: 1000,
        reliable: true,
    });
    await gopher.call('cut');
    await until('gopher is back', async () => {
        const { events } = await gopher.call('report');
        return { ok: events.some((e) => e.type === 'reconnected'), events };
    });
    const took = Date.now() - began;
    await sending;
    await allArrive(gopher, 'bob', 'during', PACKETS);
    await gopher.call('sendPackets', { tag: 'after', count: 1, size: 100, reliable: true });
    await allArrive(bob, 'gopher', 'after', 1);
    await seesAndHears(bob, 'gopher');
    await counts(gopher, 'bob');
    const after = await gopher.call('report');
    must('it is the same session', after.sid === sid, after.events);
    must(
        'nothing went wrong',
        !after.events.some((e) => ['error', 'disconnected'].includes(e.type)),
        after.events,
    );
    must('bob saw nobody leave', !(await bob.call('report')).events.some((e) => e.type === 'left'));
    await undisturbed(bob);
    return took;
}

function scenario(name, run, what) {
    return { name: `pion-${name}`, needs: ['sfu'], what, run };
}

export const scenarios = [
    scenario('av', media),
    scenario('dynacast', dynacast),
    scenario('manual', manual, 'RTP after'),
    scenario('data', data, 'all received'),
    scenario('resume', resume, 'back after'),
];
