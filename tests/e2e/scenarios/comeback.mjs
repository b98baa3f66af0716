// SPDX-License-Identifier: Apache-2.0
// livekit-client whose ways to the server are cut: what happens to it x protocol x what it does.
// All participants number their reliable messages all the time and count those of the others: none
// may be lost, doubled or out of order, and nobody may need another session.
import { launchChromiums } from '../lib/browsers.mjs';
import { until } from '../lib/expect.mjs';
import { openPath } from '../lib/path.mjs';
import { delay } from '../lib/processes.mjs';
import { accessToken } from '../lib/token.mjs';

const VERSIONS = ['v1', 'v0'];
const ROLES = ['publisher', 'subscriber', 'sender'];
const OBSERVER = 'observer';

const START_MS = 60000;
const TALK_MS = 50;
const POLL_MS = 200;
// Flows before it happens, and after it, for this long.
const STEADY_MS = 1500;
// What proves a flow: more than what was on its way.
const FRAMES = 3;
const AUDIO_PACKETS = 15;
const MESSAGES = 3;
// The client's longest pause between attempts is 7 s and 1 s of chance; each takes 2 s at least.
const BACK_MS = 20000;
// Until ICE has failed on both sides (15 s), and a little more.
const LONG_MS = 18000;
const DRAIN_MS = 15000;
const TOKEN_S = 12;
// The server takes a token for this long after its end, as clocks differ.
const LEEWAY_S = 60;

const sleepUntil = (at) => delay(Math.max(0, at - Date.now()));

async function cut(victims, ms, { signal, media }) {
    for (const { path } of victims) {
        if (media) path.cutMedia();
        if (signal) path.setSignal(signal);
    }
    await delay(ms);
    for (const { path } of victims) path.heal();
}

/** All renderers of their browser; its network goes on, and answers for them what it can. */
async function freeze(victims) {
    const [{ peer }] = victims;
    peer.freezeRenderers(true);
    await delay(20000);
    peer.freezeRenderers(false);
}

/** The token that they came with is no good any more when their sockets break. */
async function outliveToken(victims, { sfu }) {
    await sleepUntil(Math.max(...victims.map((v) => v.expiresAt)) + 1000);
    for (const { peer, token } of victims) {
        const url = `${sfu.url.replace(/^ws/, 'http')}/rtc/validate?access_token=${token}`;
        const { status } = await fetch(url);
        if (status !== 401) throw new Error(`${peer.name}'s token has not expired: ${status}`);
    }
    await cut(victims, 1000, { signal: 'refusing' });
}

async function restartIce(victims) {
    for (const victim of victims) {
        victim.fragments = await victim.peer.call('serverFragments');
    }
    await Promise.all(victims.map(({ peer }) => peer.call('restartIce')));
}

async function restartedIce({ peer, fragments }) {
    const now = await peer.call('serverFragments');
    return now.length > 0 && now.every((f, i) => f && f !== fragments[i]);
}

async function move(victims) {
    for (const { path } of victims) path.move();
}

/** A new network: nothing of the old one is left, TCP connections neither. */
async function changeNetwork(victims) {
    for (const { path } of victims) {
        path.move();
        path.setSignal('refusing');
        path.heal();
    }
}

// `resumes`: the client must have noticed. `also`: more that makes it recovered.
const STRIKES = [
    {
        name: 'socket-cut',
        strike: (victims) => cut(victims, 3000, { signal: 'refusing' }),
        resumes: true,
    },
    { name: 'path-cut', strike: (victims) => cut(victims, 8000, { media: true }) },
    { name: 'path-cut-long', strike: (victims) => cut(victims, LONG_MS, { media: true }) },
    {
        name: 'both-cut',
        strike: (victims) => cut(victims, 8000, { media: true, signal: 'refusing' }),
        resumes: true,
    },
    {
        name: 'both-silent',
        strike: (victims) => cut(victims, 8000, { media: true, signal: 'silent' }),
    },
    {
        name: 'both-silent-long',
        strike: (victims) => cut(victims, LONG_MS, { media: true, signal: 'silent' }),
    },
    { name: 'ice-restart', strike: restartIce, also: restartedIce },
    { name: 'address-change', strike: move },
    { name: 'network-change', strike: changeNetwork, resumes: true },
    { name: 'frozen', strike: freeze },
    { name: 'token-expired', strike: outliveToken, resumes: true, lifetimeS: TOKEN_S },
];

// ---- the people ------------------------------------------------------------------------------

async function join(context, member, path) {
    const { peer, version, role } = member;
    const { sfu, pages, lifetimeS } = context;
    await peer.goto(`${pages.url}/pages/comeback.html`);
    const now = Math.floor(Date.now() / 1000);
    const shortLived = lifetimeS && path;
    const claims = shortLived ? { exp: now + lifetimeS - LEEWAY_S } : {};
    member.expiresAt = shortLived ? (now + lifetimeS) * 1000 : Infinity;
    const room = `e2e-${context.name}-${version}`;
    const grants = { canUpdateOwnMetadata: true };
    member.token = accessToken(sfu, peer.name, room, grants, claims);
    await peer.call('join', {
        url: path?.url ?? sfu.url,
        token: member.token,
        mediaPorts: path?.mediaPorts,
        singlePeerConnection: version === 'v1',
        publish: role === 'publisher' || role === OBSERVER,
        subscribe: role === 'subscriber' || role === OBSERVER,
    });
}

/** For each version a room of an observer and, in another browser, one victim of each role. */
async function gather(context, paths) {
    const kinds = VERSIONS.flatMap((version) => ROLES.map((role) => ({ version, role })));
    const name = ({ version, role }) => `${version}-${role}`;
    const observed = VERSIONS.map((version) => ({ version, role: OBSERVER }));
    const [peers, watching] = await Promise.all([
        launchChromiums(kinds.map(name)),
        launchChromiums(observed.map(name)),
    ]);
    const observers = observed.map((kind, i) => ({ ...kind, peer: watching[i] }));
    const victims = kinds.map((kind, i) => ({ ...kind, peer: peers[i], path: paths[i] }));
    await Promise.all(observers.map((o) => join(context, o)));
    await Promise.all(victims.map((v) => join(context, v, v.path)));
    for (const victim of victims) {
        victim.observer = observers.find((o) => o.version === victim.version);
    }
    return { victims, observers, all: [...victims, ...observers] };
}

const sameRoom = (all, member) =>
    all.filter((m) => m !== member && m.version === member.version).map((m) => m.peer.name);

async function sampleAll(all) {
    await Promise.all(all.map(async (m) => (m.now = await m.peer.call('sample'))));
}

/** How much of what its role is about has arrived: all of it must grow by `PROOF`. */
function progress({ role, peer, now, observer }) {
    const media = (flow) => [flow?.frames ?? 0, flow?.samples ?? 0];
    if (role === 'publisher') return media(observer.now.media[peer.name]);
    if (role === 'subscriber') return media(now.media[observer.peer.name]);
    return [observer.now.counts[peer.name]?.last ?? -1, now.counts[observer.peer.name]?.last ?? -1];
}

const PROOF = {
    publisher: [FRAMES, AUDIO_PACKETS],
    subscriber: [FRAMES, AUDIO_PACKETS],
    sender: [MESSAGES, MESSAGES],
};

const flows = (victim, base) =>
    progress(victim).every((n, i) => n >= base[i] + PROOF[victim.role][i]);

async function allFlows({ victims, all }) {
    await until(
        'everybody is there',
        async () => {
            await sampleAll(all);
            return all.every((m) => sameRoom(all, m).every((n) => m.now.people.includes(n)));
        },
        START_MS,
    );
    for (const { peer } of all) await peer.call('talk', TALK_MS);
    await until(
        'everything flows',
        async () => {
            await sampleAll(all);
            const heard = all.every((m) => sameRoom(all, m).every((n) => m.now.counts[n]));
            const seen = victims.map((v) => [v.peer.name, ...progress(v)]);
            return { ok: heard && victims.every((v) => flows(v, [0, 0])), seen };
        },
        START_MS,
    );
    await delay(STEADY_MS);
}

// ---- the time that it takes --------------------------------------------------------------------

async function isBack(victim, { resumes, also }) {
    const { now, base } = victim;
    const noticed = now.events.some((e) => e.type === 'reconnected');
    if (now.state !== 'connected' || !flows(victim, base) || (resumes && !noticed)) return false;
    return also ? also(victim) : true;
}

/** When each of what its role is about came: for a sender of data, to others and from them. */
function noteArrivals(victim, overAt) {
    const proof = PROOF[victim.role];
    victim.arrivals ??= proof.map(() => undefined);
    progress(victim).forEach((n, i) => {
        if (n >= victim.base[i] + proof[i]) victim.arrivals[i] ??= Date.now() - overAt;
    });
}

/** What a sender's message is numbered when it is over is the least that has to arrive. */
function baseline(victim) {
    const { role, now, observer } = victim;
    return role === 'sender' ? [now.sent, observer.now.sent] : progress(victim);
}

async function measure({ victims, all }, strike) {
    const overAt = Date.now();
    await sampleAll(all);
    for (const victim of victims) victim.base = baseline(victim);
    const end = overAt + BACK_MS;
    while (Date.now() < end && victims.some((v) => v.ms === undefined)) {
        await sampleAll(all);
        for (const victim of victims.filter((v) => v.ms === undefined)) {
            noteArrivals(victim, overAt);
            if (!(await isBack(victim, strike))) continue;
            victim.ms = Date.now() - overAt;
            const socket = victim.now.opened.findLast((at) => at >= overAt);
            victim.socketMs = socket && socket - overAt;
        }
        await delay(POLL_MS);
    }
}

// ---- the messages ------------------------------------------------------------------------------

async function lastWords({ all }) {
    for (const { peer } of all) await peer.call('hush');
    const complete = async () => {
        await sampleAll(all);
        return all.every((m) =>
            all
                .filter((from) => from !== m && from.version === m.version)
                .every((from) => m.now.counts[from.peer.name].received >= from.now.sent),
        );
    };
    // What is missing then is in the table.
    await until('every message has arrived', complete, DRAIN_MS).catch(() => {});
}

/** Of all messages from and to this victim. */
function tally(victim, all) {
    const sum = { sent: 0, received: 0, lost: 0, doubled: 0, reordered: 0 };
    const others = all.filter((m) => m !== victim && m.version === victim.version);
    for (const [from, to] of others.flatMap((o) => [
        [victim, o],
        [o, victim],
    ])) {
        const { received, doubled, reordered } = to.now.counts[from.peer.name];
        sum.sent += from.now.sent;
        sum.received += received;
        sum.lost += from.now.sent - received;
        sum.doubled += doubled;
        sum.reordered += reordered;
    }
    return sum;
}

// ---- judgement ---------------------------------------------------------------------------------

function faultsOf(victim, sum) {
    const { now, sidBefore, ms } = victim;
    const faults = [];
    if (ms === undefined) faults.push(`not back in ${BACK_MS} ms (${now.state})`);
    if (now.sid !== sidBefore) faults.push('another session');
    if (sum.lost || sum.doubled || sum.reordered) faults.push('messages');
    if (now.refused.length) faults.push(`refused to send: ${JSON.stringify(now.refused[0])}`);
    if (victim.deaf) faults.push(`signalling: ${victim.deaf}`);
    return faults;
}

function row(victim, all) {
    const sum = tally(victim, all);
    const faults = faultsOf(victim, sum);
    const time = victim.ms === undefined ? '    -' : String(victim.ms).padStart(5);
    const ways = victim.role === 'sender' ? ` (out ${victim.arrivals.join(', in ')} ms)` : '';
    const socket = victim.socketMs ? `${String(victim.socketMs).padStart(5)} ms` : '    no';
    const text =
        `${victim.version} ${victim.role.padEnd(10)} back after ${time} ms${ways}, ` +
        `new socket after ${socket.padEnd(8)}; messages ${sum.received}/${sum.sent}, ` +
        `lost ${sum.lost} doubled ${sum.doubled} reordered ${sum.reordered}` +
        `${faults.length ? `; FAULT: ${faults.join(', ')}` : ''}`;
    return { text, faults };
}

function observerFaults(observer) {
    const odd = observer.now.events.map((e) => `${e.type} ${e.who ?? ''}`);
    return odd.length ? [`${observer.peer.name} was disturbed: ${odd.join(', ')}`] : [];
}

async function comesBack(context, strike, paths) {
    const people = await gather({ ...context, lifetimeS: strike.lifetimeS }, paths);
    const { victims, observers, all } = people;
    await allFlows(people);
    for (const victim of victims) victim.sidBefore = victim.now.sid;
    await strike.strike(victims, context);
    await measure(people, strike);
    await delay(STEADY_MS);
    await Promise.all(
        victims.map((v) => v.peer.call('probe').catch((error) => (v.deaf = error.message))),
    );
    await lastWords(people);
    const rows = victims.map((v) => row(v, all));
    const faults = [...rows.flatMap((r) => r.faults), ...observers.flatMap(observerFaults)];
    const lines = rows.map((r) => r.text);
    if (faults.length) throw new Error(`${faults.join('; ')}\n     ${lines.join('\n     ')}`);
    return { ms: Math.max(...victims.map((v) => v.ms)), lines };
}

async function withPaths(context, strike) {
    const { udp_port: udpPort } = await context.world.ports();
    const seeds = VERSIONS.flatMap((_, v) => ROLES.map((_, r) => 1 + v * ROLES.length + r));
    const paths = await Promise.all(seeds.map((seed) => openPath(context.sfu, udpPort, seed)));
    try {
        return await comesBack(context, strike, paths);
    } finally {
        for (const path of paths) path.stop();
    }
}

export const scenarios = STRIKES.map((strike) => ({
    name: `comeback-${strike.name}`,
    what: 'all back after',
    needs: ['sfu'],
    run: (context) => withPaths(context, strike),
}));
