// SPDX-License-Identifier: Apache-2.0
// livekit-client, unmodified, against foci-sfu: two participants, alice and bob.
import { launchChromium, launchFirefox } from '../lib/browsers.mjs';
import { hasLeft, must, seesAndHears, sendsLayers, standsStill, until } from '../lib/expect.mjs';
import { delay } from '../lib/processes.mjs';
import { accessToken } from '../lib/token.mjs';

// livekit-client makes two simulcast layers of this size: 320x180 and 640x360.
const PICTURE = { width: 640, height: 360 };
const LOW_WIDTH = 320;
const LAYERS = 2;
// A signalled leave is told at once; a vanished client only by its silence (ICE consent, RFC 7675,
// expires after 30 s; the reference server takes about 22 s).
const LEAVE_MS = 5000;
const VANISH_MS = 45000;
const STILL_MS = 2000;
const NEWS_MS = 15000;
// From seeing a data track to having subscribed to it.
const SETTLE_MS = 500;
const FRAMES = 20;
// DataPacket.Kind.
const RELIABLE = 0;
const LOSSY = 1;
const TEXT_LENGTH = 50000;
const FILE_BYTES = 20 * 1024 * 1024;
const FILE_MS = 60000;

async function join(context, peer, options) {
    await peer.goto(`${context.pages.url}/pages/client.html`);
    await peer.call('join', {
        url: context.sfu.url,
        token: accessToken(context.sfu, peer.name, options.room),
        ...PICTURE,
        ...options,
    });
}

/** Two browsers in one call that see and hear each other; gives bob's time to alice's picture. */
async function call(context, options = {}) {
    const room = `e2e-${context.name}`;
    const launchBob = options.bob === 'firefox' ? launchFirefox : launchChromium;
    const alice = await launchChromium('alice');
    const bob = await launchBob('bob');
    const { singlePeerConnection = true, e2eeKey } = options;
    await join(context, alice, { room, singlePeerConnection, e2eeKey });
    await join(context, bob, { room, singlePeerConnection, e2eeKey });
    const { report } = await seesAndHears(bob, 'alice');
    await seesAndHears(alice, 'bob');
    return { alice, bob, firstFrameMs: report.firstFrames.alice };
}

async function noReconnects(...peers) {
    for (const peer of peers) {
        const { events, state } = await peer.call('report');
        const odd = events.filter((e) =>
            ['reconnecting', 'disconnected', 'encryption'].includes(e.type),
        );
        must(`${peer.name} had an undisturbed call`, state === 'connected' && !odd.length, odd);
    }
}

async function audioAndVideo(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    await Promise.all([sendsLayers(alice, LAYERS), sendsLayers(bob, LAYERS)]);
    if (options.e2eeKey) {
        const { remotes } = await bob.call('report');
        const tracks = Object.values(remotes.alice);
        must(
            'tracks are marked encrypted',
            tracks.every((t) => t.encrypted),
            tracks,
        );
    }
    await noReconnects(alice, bob);
    await bob.call('leave');
    await hasLeft(alice, 'bob', LEAVE_MS);
    return firstFrameMs;
}

/** With another key nothing may be decodable, though the packets arrive: it was encrypted. */
async function wrongKey(context, { singlePeerConnection }) {
    const { alice, bob, firstFrameMs } = await call(context, {
        singlePeerConnection,
        e2eeKey: 'a',
    });
    await bob.call('setKey', 'b');
    const camera = async () => (await bob.call('report')).remotes.alice.camera.inbound;
    await standsStill(bob, 'alice', 'camera', 'framesDecoded', STILL_MS);
    const before = await camera();
    await until(
        'packets go on',
        async () => (await camera()).packetsReceived > before.packetsReceived,
        LEAVE_MS,
    );
    await bob.call('setKey', 'a');
    await seesAndHears(bob, 'alice');
    await seesAndHears(alice, 'bob');
    return firstFrameMs;
}

async function mute(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    const muted = (source, want) =>
        until(
            `bob is told that the ${source} is ${want ? 'muted' : 'unmuted'}`,
            async () => (await bob.call('report')).remotes.alice[source]?.muted === want,
        );

    await alice.call('setMicrophone', false);
    await muted('microphone', true);
    await standsStill(bob, 'alice', 'microphone', 'totalAudioEnergy', STILL_MS);
    await seesAndHears(bob, 'alice', { sound: false });
    await alice.call('setMicrophone', true);
    await muted('microphone', false);
    await alice.call('setCamera', false);
    await muted('camera', true);
    await standsStill(bob, 'alice', 'camera', 'framesDecoded', STILL_MS);
    await alice.call('setCamera', true);
    await muted('camera', false);
    await seesAndHears(bob, 'alice');
    await noReconnects(alice, bob);
    return firstFrameMs;
}

/** Qualities are told within two rounds of 5 s. */
async function news(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    for (const peer of [alice, bob]) {
        await until(
            `${peer.name} is told of excellent connections`,
            async () =>
                Object.values(await peer.call('news')).every((p) => p.quality === 'excellent'),
            NEWS_MS,
        );
    }
    // The fake microphone's beep is heard once: noise suppression learns it.
    await until(
        'bob is told that alice spoke',
        async () => (await bob.call('news')).alice.spoke > 0,
        NEWS_MS,
    );
    await alice.call('setMicrophone', false);
    await until('alice is silent', async () => !(await bob.call('news')).alice.speaking);
    await noReconnects(alice, bob);
    return firstFrameMs;
}

/** Small frames and frames of several packets over a data track, to the end of the track. */
async function dataTracks(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    await bob.call('receiveDataTracks');
    const sid = await alice.call('publishDataTrack', 'sensor');
    must('the data track has a sid', sid.startsWith('DTR_'), sid);
    const report = async () => (await bob.call('dataReport')).frames.sensor;
    const got = async (frames) => {
        const seen = await report();
        return { ok: seen.frames >= frames && seen.bad === 0, ...seen };
    };
    await until('bob sees the data track', report);
    await delay(SETTLE_MS);
    await alice.call('pushDataFrames', { name: 'sensor', count: FRAMES / 2, bytes: 100 });
    await until('bob gets small frames', () => got(FRAMES / 2));
    await alice.call('pushDataFrames', { name: 'sensor', count: FRAMES / 2, bytes: 40000 });
    // Frames of three packets, on a channel that repeats none: some may go where the machine is busy.
    await until('bob gets large frames', () => got((FRAMES * 3) / 4));
    await alice.call('unpublishDataTrack', 'sensor');
    await until('bob sees its end', async () => (await bob.call('dataReport')).ended === 1);
    await noReconnects(alice, bob);
    return firstFrameMs;
}

/** A packet of `text` from alice is among what bob got, once. */
async function gotPacket(bob, text, wanted) {
    await until(`bob gets ${text}`, async () => {
        const found = (await bob.call('receivedData')).packets.filter((p) => p.text === text);
        const ok =
            found.length === 1 && Object.entries(wanted).every(([k, v]) => found[0][k] === v);
        return { ok, found };
    });
}

async function gotFile(bob, name, bytes) {
    await until(
        `bob gets ${name}`,
        async () => {
            const file = (await bob.call('receivedData')).files.find((f) => f.name === name);
            const ok = file?.whole && file.bytes === bytes && file.bad === 0;
            return { ok, file };
        },
        FILE_MS,
    );
}

async function data(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    await bob.call('receiveData');
    await alice.call('sendPacket', { text: 'one', reliable: true, topic: 'chat' });
    await gotPacket(bob, 'one', { from: 'alice', kind: RELIABLE, topic: 'chat' });
    await alice.call('sendPacket', { text: 'two', reliable: false });
    // livekit-client forgets the kind of what it decrypts.
    await gotPacket(bob, 'two', { from: 'alice', kind: options.e2eeKey ? RELIABLE : LOSSY });
    await alice.call('sendPacket', {
        text: 'not for bob',
        reliable: true,
        destinationIdentities: ['nobody'],
    });
    await alice.call('sendText', { length: TEXT_LENGTH });
    await until('bob gets a text', async () => {
        const { texts } = await bob.call('receivedData');
        return { ok: texts[0]?.length === TEXT_LENGTH && texts[0].from === 'alice', texts };
    });
    const echo = await alice.call('callEcho', { to: 'bob', payload: 'hello' });
    must('bob answers a call', echo === 'alice said hello', echo);
    await alice.call('sendFile', { name: 'large', bytes: FILE_BYTES });
    await gotFile(bob, 'large', FILE_BYTES);
    const { packets } = await bob.call('receivedData');
    // livekit-client encrypts the names of those whom a packet is for, too: it goes to everybody.
    must('bob got nothing else', packets.length === (options.e2eeKey ? 3 : 2), packets);
    await noReconnects(alice, bob);
    return firstFrameMs;
}

/** The signalling is cut while data is on its way: nothing is lost, nothing comes twice. */
async function dataResume(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    await bob.call('receiveData');
    const sending = alice.call('sendFile', { name: 'during', bytes: FILE_BYTES });
    await alice.call('simulate', { scenario: 'signal-reconnect' });
    await until('alice has resumed', async () => {
        const { events, state } = await alice.call('report');
        return { ok: state === 'connected' && events.some((e) => e.type === 'reconnected') };
    });
    await sending;
    await gotFile(bob, 'during', FILE_BYTES);
    await alice.call('sendPacket', { text: 'after', reliable: true });
    await gotPacket(bob, 'after', { from: 'alice' });
    return firstFrameMs;
}

async function resubscribe(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    const camera = { from: 'alice', source: 'camera' };
    await bob.call('setSubscribed', { ...camera, subscribed: false });
    await until(
        'bob has no track any more',
        async () => !(await bob.call('report')).remotes.alice.camera.inbound,
    );
    await seesAndHears(alice, 'bob');
    await bob.call('setSubscribed', { ...camera, subscribed: true });
    await seesAndHears(bob, 'alice');
    await noReconnects(alice, bob);
    return firstFrameMs;
}

async function quality(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    await sendsLayers(alice, LAYERS);
    const shows = (width) =>
        until(`bob sees a picture ${width} wide`, async () => {
            const { element, inbound } = (await bob.call('report')).remotes.alice.camera;
            return {
                ok: element.width === width && inbound.frameWidth === width,
                element,
                inbound,
            };
        });
    await shows(PICTURE.width);
    await bob.call('setQuality', { from: 'alice', quality: 'LOW' });
    await shows(LOW_WIDTH);
    await seesAndHears(bob, 'alice');
    await bob.call('setQuality', { from: 'alice', quality: 'HIGH' });
    await shows(PICTURE.width);
    await seesAndHears(bob, 'alice');
    await noReconnects(alice, bob);
    return firstFrameMs;
}

async function vanish(context, options) {
    const { alice, bob, firstFrameMs } = await call(context, options);
    await bob.kill();
    await hasLeft(alice, 'bob', VANISH_MS);
    await noReconnects(alice);
    return firstFrameMs;
}

const V0 = { singlePeerConnection: false };
const V1 = { singlePeerConnection: true };
const E2EE = { e2eeKey: 'correct horse battery staple' };

function scenario(name, run, options) {
    return { name, needs: ['sfu'], run: (context) => run(context, options) };
}

export const scenarios = [
    scenario('v1-av', audioAndVideo, V1),
    scenario('v0-av', audioAndVideo, V0),
    scenario('v1-av-e2ee', audioAndVideo, { ...V1, ...E2EE }),
    scenario('v0-av-e2ee', audioAndVideo, { ...V0, ...E2EE }),
    scenario('v1-e2ee-wrong-key', wrongKey, V1),
    scenario('v1-mute', mute, V1),
    scenario('v0-mute', mute, V0),
    scenario('v1-news', news, V1),
    scenario('v0-news', news, V0),
    scenario('v1-data-tracks', dataTracks, V1),
    scenario('v0-data-tracks', dataTracks, V0),
    scenario('v1-data', data, V1),
    scenario('v0-data', data, V0),
    scenario('v1-data-e2ee', data, { ...V1, ...E2EE }),
    scenario('v1-data-firefox', data, { ...V1, bob: 'firefox' }),
    scenario('v1-data-resume', dataResume, V1),
    scenario('v0-data-resume', dataResume, V0),
    scenario('v1-resubscribe', resubscribe, V1),
    scenario('v0-resubscribe', resubscribe, V0),
    scenario('v1-quality', quality, V1),
    scenario('v0-quality', quality, V0),
    scenario('v1-vanish', vanish, V1),
    scenario('v0-vanish', vanish, V0),
    scenario('v1-firefox', audioAndVideo, { ...V1, bob: 'firefox' }),
    scenario('v0-firefox', audioAndVideo, { ...V0, bob: 'firefox' }),
];
