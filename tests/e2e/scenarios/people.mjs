// SPDX-License-Identifier: Apache-2.0
// News of people and what they may do, between every kind of livekit-client.
import { isDeepStrictEqual } from 'node:util';
import { enter, gather, knowEachOther, openPages, receives, undisturbed } from '../lib/everybody.mjs';
import { must, until } from '../lib/expect.mjs';
import { delay } from '../lib/processes.mjs';
import { callApi } from '../lib/token.mjs';

const NEWS_MS = 10000;
const STRAY_MS = 500;
// livekit.DisconnectReason.
const PARTICIPANT_REMOVED = 4;
const ROOM_DELETED = 5;
// livekit.ErrorReason of a subscription that is not allowed is not told; the publication says so.
const ALL = { canPublish: true, canSubscribe: true, canPublishData: true };

const each = (list, run) => Promise.all(list.map(run));

async function api(context, method, request) {
    const answer = await callApi(context.sfu, `e2e-${context.name}`, method, request);
    must(`${method} is done`, answer.status === 200, answer);
    return answer.body;
}

/** Waits until each of `peers` says of `who` what `expected` has. */
function everybodySees(peers, who, expected) {
    return each(peers, (peer) =>
        until(
            `${peer.name} sees ${JSON.stringify(expected)} of ${who}`,
            async () => {
                const person = (await peer.call('people')).everybody[who];
                const same = (key) => isDeepStrictEqual(person?.[key], expected[key]);
                return { ok: Object.keys(expected).every(same), person };
            },
            NEWS_MS,
        ),
    );
}

/** Everybody changes everything of itself at once; then the server API does. */
async function names(context) {
    const grants = { canUpdateOwnMetadata: true };
    const { peers } = await gather(context, { grants });
    const began = Date.now();
    const said = await each(peers, (peer) =>
        peer.call('rename', {
            name: `Ms ${peer.name}`,
            metadata: `{"of":"${peer.name}"}`,
            attributes: { mood: peer.name, colour: 'red' },
        }),
    );
    must('nobody was refused', said.every((s) => s === 'ok'), said);
    for (const { name } of peers) {
        await everybodySees(peers, name, {
            name: `Ms ${name}`,
            metadata: `{"of":"${name}"}`,
            attributes: { mood: name, colour: 'red' },
        });
    }
    const ms = Date.now() - began;
    await each(peers, (peer) => peer.call('rename', { attributes: { colour: '' } }));
    for (const { name } of peers) await everybodySees(peers, name, { attributes: { mood: name } });

    await api(context, 'UpdateRoomMetadata', { metadata: 'of the room' });
    await each(peers, (peer) =>
        until(
            `${peer.name} is told the room's metadata`,
            async () => (await peer.call('people')).room.metadata === 'of the room',
            NEWS_MS,
        ),
    );
    await each(peers, ({ name }) =>
        api(context, 'UpdateParticipant', { identity: name, metadata: 'm', name: `Dr ${name}` }),
    );
    for (const { name } of peers) {
        await everybodySees(peers, name, { name: `Dr ${name}`, metadata: 'm' });
    }
    // What a client comes back with must say the same.
    await each(peers, (peer) =>
        until(`${peer.name} has a token of its new name`, async () => {
            const claims = await peer.call('tokenClaims');
            return { ok: claims.name === `Dr ${peer.name}` && claims.metadata === 'm', claims };
        }),
    );
    await undisturbed(peers);
    return ms;
}

/** Who may not change itself is told so, and nobody sees anything. */
async function namesRefused(context) {
    const { peers } = await gather(context);
    const began = Date.now();
    const said = await each(peers, (peer) => peer.call('rename', { name: 'Nobody' }));
    must('everybody was refused', said.every((s) => /permission/.test(s)), said);
    const ms = Date.now() - began;
    for (const { name } of peers) await everybodySees(peers, name, { name });
    await undisturbed(peers);
    return ms;
}

/** Waits until `peer` gets packets of as many tracks of `from` as `count`. */
export function hears(peer, from, count) {
    return until(`${peer.name} gets ${count} tracks of ${from}`, async () => {
        const all = await peer.call('countTracks');
        const { subscribed, silent } = all[from] ?? { subscribed: 0, silent: [] };
        return { ok: subscribed === count && !silent.length, all };
    });
}

export const everybodyHears = (peers, from, count) =>
    each(peers.filter((peer) => peer.name !== from), (peer) => hears(peer, from, count));

/** Each loses the permission to publish, to send data and to subscribe, and gets it back. */
async function permissions(context) {
    const { peers } = await gather(context);
    const began = Date.now();
    await each(peers, (peer) => peer.call('publishTone', { name: 'tone' }));
    for (const { name } of peers) await everybodyHears(peers, name, 1);
    const ms = Date.now() - began;
    const permit = (list, permission) =>
        each(list, ({ name }) =>
            api(context, 'UpdateParticipant', { identity: name, permission: { ...ALL, ...permission } }),
        );
    // One of each kind of client keeps what the others lose, so that somebody can tell.
    const half = (odd) => peers.filter((_, i) => i % 2 === (odd ? 1 : 0));
    for (const odd of [false, true]) {
        const [losers, keepers] = [half(odd), half(!odd)];
        await permit(losers, { canPublish: false, canPublishData: false });
        for (const { name } of losers) {
            await everybodySees(peers, name, { canPublish: false, canPublishData: false });
            await everybodyHears(peers, name, 0);
        }
        await each(losers, (peer) =>
            until(`${peer.name} has no track of its own`, async () => {
                const own = await peer.call('ownTracks');
                return { ok: !Object.keys(own).length, own };
            }),
        );
        const tag = `odd-${odd}`;
        const packet = { tag, count: 1, size: 20, reliable: true };
        await each(losers, (peer) => peer.call('sendPackets', packet).catch(() => {}));
        await each(keepers, (peer) => peer.call('sendPackets', packet));
        await each(losers, (peer) => receives(peer, 'packets', 3, (e) => e.tag === tag));
        await permit(losers, { canSubscribe: false });
        for (const peer of losers) {
            await each(keepers, ({ name }) => hears(peer, name, 0));
        }
        await delay(STRAY_MS);
        await permit(losers, {});
        await each(losers, (peer) => peer.call('publishTone', { name: 'tone' }));
        for (const { name } of peers) await everybodyHears(peers, name, 1);
    }
    await undisturbed(peers);
    return ms;
}

/** The API takes one out, then ends the room. */
async function removed(context) {
    const { peers, of } = await gather(context);
    const began = Date.now();
    const out = (peer, reason) =>
        until(`${peer.name} is out`, async () => {
            const { events } = await peer.call('report');
            const end = events.find((e) => e.type === 'disconnected');
            return { ok: end?.reason === reason, end };
        });
    const gone = ['chromium-v1', 'firefox-old'].map((name) => of[name]);
    await each(gone, ({ name }) => api(context, 'RemoveParticipant', { identity: name }));
    await each(gone, (peer) => out(peer, PARTICIPANT_REMOVED));
    const left = peers.filter((peer) => !gone.includes(peer));
    await knowEachOther(left);
    await undisturbed(left);
    const ms = Date.now() - began;
    await api(context, 'DeleteRoom', {});
    await each(left, (peer) => out(peer, ROOM_DELETED));
    return ms;
}

/** A publisher says who may have its track: others lose it, and get it when they may again. */
async function subscriptionPermissions(context) {
    const { peers } = await gather(context);
    const began = Date.now();
    for (const publisher of peers) {
        await publisher.call('publishTone', { name: 'tone' });
    }
    for (const { name } of peers) await everybodyHears(peers, name, 1);
    const ms = Date.now() - began;
    // Each lets only the next one have its track.
    const next = (i) => peers[(i + 1) % peers.length];
    await each(peers, (peer, i) => peer.call('allow', { all: false, only: [{ who: next(i).name }] }));
    await each(peers, (peer, i) =>
        each(peers.filter((other) => other !== peer), (other) =>
            until(`${other.name} has the track of ${peer.name} if it may`, async () => {
                const track = (await other.call('tracks'))[peer.name].tone;
                const may = other === next(i);
                return { ok: track.subscribed === may && track.allowed === may, may, track };
            }),
        ),
    );
    await each(peers, (peer) => peer.call('allow', { all: true }));
    for (const { name } of peers) await everybodyHears(peers, name, 1);
    await undisturbed(peers);
    return ms;
}

/** Without autoSubscribe nobody gets anything but what it asks for. */
async function manual(context) {
    const peers = await openPages(context);
    await each(peers, (peer) => enter(context, peer, { connectOptions: { autoSubscribe: false } }));
    await knowEachOther(peers);
    const began = Date.now();
    await each(peers, (peer) => peer.call('publishTone', { name: 'tone' }));
    await each(peers, (peer) =>
        until(`${peer.name} knows of all tracks`, async () => {
            const tracks = await peer.call('tracks');
            return Object.values(tracks).every((t) => t.tone && !t.tone.subscribed);
        }),
    );
    const next = (i) => peers[(i + 1) % peers.length].name;
    const choose = (subscribed) =>
        each(peers, (peer, i) => peer.call('subscribe', { from: next(i), name: 'tone', subscribed }));
    await choose(true);
    await each(peers, (peer, i) =>
        each(peers.filter((other) => other !== peer), ({ name }) =>
            hears(peer, name, name === next(i) ? 1 : 0),
        ),
    );
    const ms = Date.now() - began;
    await choose(false);
    await each(peers, (peer, i) => hears(peer, next(i), 0));
    await choose(true);
    await each(peers, (peer, i) => hears(peer, next(i), 1));
    await undisturbed(peers);
    return ms;
}

function scenario(name, run, what) {
    return { name, needs: ['sfu'], what, run };
}

export const scenarios = [
    scenario('people-names', names, 'all seen'),
    scenario('people-names-refused', namesRefused, 'all refused'),
    scenario('people-permissions', permissions, 'all heard'),
    scenario('people-removed', removed, 'others know'),
    scenario('people-subscription-permissions', subscriptionPermissions, 'all heard'),
    scenario('people-manual-subscription', manual, 'chosen heard'),
];
