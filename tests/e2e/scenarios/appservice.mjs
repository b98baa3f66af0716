// SPDX-License-Identifier: Apache-2.0
// foci-jwt as an application service: users ask their homeserver, which hands the calls over to it,
// and nobody stays in a call whose Matrix room he has left.
import { readFileSync } from 'node:fs';
import { claimsOf, delegateLeave, getToken, hashOf, INTERVAL_MS } from '../lib/appservice.mjs';
import { launchChromium } from '../lib/browsers.mjs';
import { must, seesAndHears, until } from '../lib/expect.mjs';
import { delay } from '../lib/processes.mjs';
import {
    callMembers,
    createCallRoom,
    enterCall,
    leaveRoom,
    registerUser,
} from '../lib/synapse.mjs';
import { connected, leaves, vanish as vanishFromElementCall } from './delegation.mjs';

const SLOT = 'm.call#ROOM';
const PICTURE = { width: 640, height: 360 };
// Shorter than it takes to notice a vanished client: foci-jwt must restart it to be able to send.
const DELAY_MS = 15000;
// When it is taken over, and once at least before the SFU is sure.
const RESTARTS = 2;
// The SFU notices a vanished client by its silence (about 22 s); the rest takes milliseconds.
const GONE_MS = 45000;
// The questions to homeserver and SFU, on two busy cores, on top of the interval.
const REMOVED_MS = INTERVAL_MS + 1500;
// Who comes back with an old token is looked at when he joins.
const BACK_MS = 10000;
// DisconnectReason PARTICIPANT_REMOVED.
const REMOVED = 4;
// Several looks of the monitor, none of which may remove anybody.
const LOOKS = 3;

/** {url, room_id, slot_id, member_id} as a client of `user` fills it in. */
function request(context, user, roomId) {
    return {
        url: context.asSfu.url,
        room_id: roomId,
        slot_id: SLOT,
        member_id: `member-${user.device_id}`,
    };
}

function join(context, peer, token, publish = true) {
    return peer.call('join', { url: context.asSfu.url, token, publish, ...PICTURE });
}

/** A browser of `user`, in the call of the room with a token that the homeserver handed out. */
async function enter(context, name, user, roomId) {
    const what = request(context, user, roomId);
    const { status, body } = await getToken(context.asSynapse, user, what);
    must(`${name} gets a token`, status === 200 && Object.keys(body).join() === 'jwt', {
        status,
        body,
    });
    const { sub, video } = claimsOf(body.jwt);
    const identity = hashOf(user.user_id, what.member_id);
    const room = hashOf(roomId, SLOT);
    must(`${name}'s token is for the call`, sub === identity && video.room === room, sub);
    const peer = await launchChromium(name);
    await peer.goto(`${context.pages.url}/pages/client.html`);
    await join(context, peer, body.jwt);
    return Object.assign(peer, { user, what, identity, token: body.jwt });
}

/** Two users in a call who see and hear each other; gives bob's time to alice's picture, too. */
async function startCall(context) {
    const user = (name) => registerUser(context.asSynapse, `${name}-${context.name}`);
    const users = [await user('alice'), await user('bob')];
    const roomId = await createCallRoom(context.asSynapse, users);
    const alice = await enter(context, 'alice', users[0], roomId);
    const bob = await enter(context, 'bob', users[1], roomId);
    const { report } = await seesAndHears(bob, alice.identity);
    await seesAndHears(alice, bob.identity);
    return { alice, bob, roomId, firstFrameMs: report.firstFrames[alice.identity] };
}

async function undisturbed(...peers) {
    for (const peer of peers) {
        const { events, state } = await peer.call('report');
        const odd = events.filter((e) => ['reconnecting', 'disconnected'].includes(e.type));
        must(`${peer.name}'s call never stopped`, state === 'connected' && !odd.length, odd);
    }
}

/** Who is not in the room, who is nobody, and who goes round the homeserver. */
async function strangers(context, what) {
    const { asSynapse, asJwt } = context;
    const mallory = await registerUser(asSynapse, `mallory-${context.name}`);
    const outside = await getToken(asSynapse, mallory, what);
    must(
        'who is not in the room gets no token',
        outside.status === 403 && outside.body.errcode === 'M_FORBIDDEN',
        outside,
    );
    const nobody = await getToken(asSynapse, null, what);
    must('without a login there is no token', nobody.status === 401, nobody);
    const direct = await getToken(asJwt, mallory, what);
    must('only the homeserver is listened to', direct.status === 401, direct);
}

async function call(context) {
    const { alice, bob, firstFrameMs } = await startCall(context);
    await strangers(context, alice.what);
    await delay(LOOKS * INTERVAL_MS);
    await undisturbed(alice, bob);
    await seesAndHears(bob, alice.identity);
    await seesAndHears(alice, bob.identity);
    return firstFrameMs;
}

/** Hands over what ends alice's membership, as nobody else can; gives the delayed event's id. */
async function handOver(context, alice, bob, roomId) {
    const { asSynapse, asJwt } = context;
    const delayId = await enterCall(asSynapse, alice.user, roomId, DELAY_MS);
    const foreign = await delegateLeave(asSynapse, bob.user, { ...bob.what, delay_id: delayId });
    must(
        "bob cannot hand over alice's leave",
        foreign.status === 400 && foreign.body.errcode === 'M_INVALID_PARAM',
        foreign,
    );
    const own = await delegateLeave(asSynapse, alice.user, { ...alice.what, delay_id: delayId });
    must("alice's leave is taken over", own.status === 200, own);
    await connected(asJwt, 1);
    const members = await callMembers(asSynapse, bob.user, roomId);
    must('alice is a member of the call', members.join() === alice.user.user_id, members);
    return delayId;
}

/** What the homeserver was told to do with a delayed event, as [{user, status, action}]. */
function actions(context, delayId) {
    const log = readFileSync(context.asSynapse.proc.logFile, 'utf8');
    const line = new RegExp(`\\{(\\S+)\\} Processed.* (\\d+) "POST \\S+/${delayId}/(\\w+)`, 'g');
    return [...log.matchAll(line)].map(([, user, status, action]) => ({ user, status, action }));
}

/** Restarts and one sending, all in alice's name: homeservers need not allow them to nobody. */
function wasSent(context, alice, delayId) {
    const done = actions(context, delayId);
    const good = done.every((a) => a.user === alice.user.user_id && a.status === '200');
    const count = (action) => done.filter((a) => a.action === action).length;
    must(
        "alice's leave was restarted, then sent",
        good && count('restart') >= RESTARTS && count('send') === 1,
        done,
    );
}

/** Kills alice's browser and waits until her membership of the call has ended. */
async function vanish(context, alice, bob, roomId) {
    await alice.kill();
    await until(
        'the membership of the one who vanished ends',
        async () => {
            const now = await callMembers(context.asSynapse, bob.user, roomId);
            return { ok: now.length === 0, now };
        },
        GONE_MS,
    );
    must('no leave is left', (await leaves(context.asJwt)).connected === 0, alice.identity);
}

function isOut(peer, ms) {
    return until(
        `${peer.name} is taken out of the call`,
        async () => {
            const { events, state } = await peer.call('report');
            const last = events.filter((e) => e.type === 'disconnected').at(-1);
            return { ok: state === 'disconnected' && last?.reason === REMOVED, last, state };
        },
        ms,
    );
}

/** An old token is still good for the SFU; it opens nothing, or for a moment only. */
async function comesBack(context, peer) {
    await peer.goto(`${context.pages.url}/pages/client.html`);
    // livekit-client goes on for 15 s with a connection that the SFU has refused meanwhile.
    const joining = join(context, peer, peer.token, false);
    const refused = new Promise((resolve) => joining.catch(resolve));
    await Promise.race([refused, isOut(peer, BACK_MS)]);
}

async function leave(context) {
    const { alice, bob, roomId } = await startCall(context);
    const delayId = await handOver(context, alice, bob, roomId);
    await vanish(context, alice, bob, roomId);
    wasSent(context, alice, delayId);
    await undisturbed(bob);

    const left = Date.now();
    await leaveRoom(context.asSynapse, bob.user, roomId);
    const { last } = await isOut(bob, GONE_MS);
    const took = last.at - left;
    must(`bob is out within ${REMOVED_MS} ms`, took <= REMOVED_MS, { took });
    const refused = await getToken(context.asSynapse, bob.user, bob.what);
    must('bob gets no new token', refused.status === 403, refused);
    await comesBack(context, bob);
    return took;
}

/**
 * Element Call asks the homeserver only whether it takes over leaves, and gets its tokens from
 * foci-jwt itself: both ways work beside each other.
 */
function elementCall({ asSynapse, asJwt, ...context }) {
    return vanishFromElementCall(
        { ...context, synapse: asSynapse, jwt: asJwt },
        '/element-call-matrix-2/',
    );
}

const SERVERS = ['asSynapse', 'asSfu', 'asJwt'];

export const scenarios = [
    { name: 'appservice-call', needs: SERVERS, run: call },
    { name: 'appservice-leave', what: 'removed after', needs: SERVERS, run: leave },
    {
        name: 'appservice-element-call',
        what: 'membership gone after',
        needs: SERVERS,
        run: elementCall,
    },
];
