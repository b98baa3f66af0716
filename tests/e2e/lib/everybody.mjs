// SPDX-License-Identifier: Apache-2.0
// One room with every livekit-client that is checked: the newest with one and with two peer
// connections and the oldest in use, each in Chromium and in Firefox; six users in two browsers. With
// `names` in their context the same scenarios run with others, SDKs without a browser among them.
import { launchChromiums, launchFirefoxes } from './browsers.mjs';
import { must, until } from './expect.mjs';
import { launchNode, launchPython } from './native.mjs';
import { accessToken } from './token.mjs';

const JOIN_MS = 30000;

const V1 = { singlePeerConnection: true };
const V0 = { singlePeerConnection: false };

/** `old`: livekit-client 2.5.10, which knows neither streams nor RPC nor data tracks. */
export const KINDS = {
    'chromium-v1': { firefox: false, old: false, options: V1 },
    'chromium-v0': { firefox: false, old: false, options: V0 },
    'chromium-old': { firefox: false, old: true, options: {} },
    'firefox-v1': { firefox: true, old: false, options: V1 },
    'firefox-v0': { firefox: true, old: false, options: V0 },
    'firefox-old': { firefox: true, old: true, options: {} },
    'rtc-node': { launch: launchNode },
    'rtc-python': { launch: launchPython },
};
const BROWSERS = Object.keys(KINDS).filter((name) => !KINDS[name].launch);

export const isNew = (peer) => !KINDS[peer.name].old;

/** Opens the page of each of `names` (keys of KINDS) without joining; gives the Peers. */
export async function openPages(context, names = context.names ?? BROWSERS) {
    const of = (firefox) => names.filter((name) => KINDS[name].firefox === firefox);
    const native = names.filter((name) => KINDS[name].launch);
    const launches = native.map((name) => KINDS[name].launch(context.settings, name));
    if (of(false).length) launches.push(launchChromiums(of(false)));
    if (of(true).length) launches.push(launchFirefoxes(of(true)));
    const unordered = (await Promise.all(launches)).flat();
    const peers = names.map((name) => unordered.find((peer) => peer.name === name));
    const page = (peer) => `${context.pages.url}${isNew(peer) ? '' : '/old'}/pages/features.html`;
    const pages = peers.filter((peer) => !native.includes(peer.name));
    await Promise.all(pages.map((peer) => peer.goto(page(peer))));
    return peers;
}

/** Joins without publishing. `grants` and `claims` go into the token, the rest to the page. */
export async function enter(context, peer, { grants, claims, ...options } = {}) {
    const room = `e2e-${context.name}`;
    await peer.call('join', {
        url: context.sfu.url,
        token: accessToken(context.sfu, peer.name, room, grants, claims),
        publish: false,
        ...KINDS[peer.name].options,
        ...options,
    });
}

/** Waits until each of `peers` knows all the others. */
export async function knowEachOther(peers) {
    const names = peers.map((peer) => peer.name).sort();
    await Promise.all(
        peers.map((peer) =>
            until(`${peer.name} knows everybody`, async () => {
                const known = Object.keys((await peer.call('people')).everybody).sort();
                return { ok: known.join() === names.join(), known };
            }),
        ),
    );
}

/** All of `names` in one room; as {peers, of}: `of` has them by name. */
export async function gather(context, { names, ...options } = {}) {
    const peers = await openPages(context, names);
    await Promise.all(peers.map((peer) => enter(context, peer, options)));
    await knowEachOther(peers);
    return { peers, of: Object.fromEntries(peers.map((peer) => [peer.name, peer])) };
}

/**
 * Waits until `peer` has received as many entries that `matches` takes as `count`, and gives them;
 * one more than that is an error.
 */
export async function receives(peer, what, count, matches, ms = JOIN_MS) {
    const got = async () => (await peer.call('received')).filter(matches);
    const last = await until(
        `${peer.name} receives ${what}`,
        async () => {
            const list = await got();
            return { ok: list.length >= count, got: list.length, list };
        },
        ms,
    );
    must(`${peer.name} receives ${what} once`, last.list.length === count, last.list);
    return last.list;
}

/** Throws if anybody had to reconnect or was put out. */
export async function undisturbed(peers) {
    for (const peer of peers) {
        const { events, state } = await peer.call('report');
        const odd = events.filter((e) => ['reconnecting', 'disconnected'].includes(e.type));
        must(`${peer.name} had an undisturbed call`, state === 'connected' && !odd.length, odd);
    }
}
