// SPDX-License-Identifier: Apache-2.0
// The SDKs for servers and agents, @livekit/rtc-node and PyPI's livekit (both made of LiveKit's Rust
// SDK with libwebrtc inside), with each other and with livekit-client.
import { launchChromium } from '../lib/browsers.mjs';
import { hasLeft, must, seesAndHears, sendsLayers, standsStill, until } from '../lib/expect.mjs';
import { launchNode, launchPython } from '../lib/native.mjs';
import { delay } from '../lib/processes.mjs';
import { accessToken } from '../lib/token.mjs';

const PICTURE = { width: 640, height: 360 };
// The SDKs make as many simulcast layers of 640x360: 320x180 and 640x360.
const LAYERS = 2;
const LEAVE_MS = 5000;
const STILL_MS = 2000;
const DATA_MS = 30000;
// Time for what must not come.
const STRAY_MS = 500;
// DataPacket.Kind as the SDKs tell it.
const LOSSY = 0;
const RELIABLE = 1;
const FILE_BYTES = 5 * 1024 * 1024;

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
    await undisturbed(alice, bob);
    return report.firstFrames.alice;
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
];
