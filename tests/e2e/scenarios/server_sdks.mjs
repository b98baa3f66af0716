// SPDX-License-Identifier: Apache-2.0
// The server SDKs, livekit-server-sdk for Node and PyPI's livekit-api: all of RoomService with two
// participants, tokens, and webhooks that the SDKs' own receivers verify.
import { createServer } from 'node:http';
import { must, seesAndHears, standsStill, until } from '../lib/expect.mjs';
import { launchNode, launchNodeApi, launchPython, launchPythonApi } from '../lib/native.mjs';
import { sfuPorts } from '../lib/ports.mjs';
import { startSfu } from '../lib/servers.mjs';

const NEWS_MS = 10000;
const STILL_MS = 1000;
const ROOM = 'server-sdk';
const OTHER = 'server-sdk-other';
// livekit.DisconnectReason.
const PARTICIPANT_REMOVED = 4;
const ROOM_DELETED = 5;

/** Keeps the requests that come, as {body, authorization}. */
async function listen() {
    const got = [];
    const server = createServer(async (request, response) => {
        const parts = [];
        for await (const part of request) parts.push(part);
        const body = Buffer.concat(parts).toString();
        got.push({ body, authorization: request.headers.authorization });
        response.end();
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${server.address().port}/`;
    return { got, url, close: () => server.close() };
}

const refused = (answer, code) => must(`it is refused: ${code}`, answer?.code === code, answer);
const done = (answer) => must('it is done', answer?.code === undefined, answer);

async function enter(launch, context, api, sfu, identity, more = {}) {
    const peer = await launch(context.settings, identity);
    const token = await api.call('token', { identity, room: ROOM, ...more });
    await peer.call('join', { url: sfu.url, token });
    return peer;
}

async function rooms(api) {
    const options = {
        name: ROOM,
        emptyTimeout: 60,
        departureTimeout: 2,
        maxParticipants: 5,
        metadata: 'first',
    };
    const made = await api.call('createRoom', options);
    must('a room is made', made.sid?.startsWith('RM_') && made.name === ROOM, made);
    must(
        'as asked',
        made.emptyTimeout === 60 && made.maxParticipants === 5 && made.metadata === 'first',
        made,
    );
    const again = await api.call('createRoom', { name: ROOM, metadata: 'second' });
    must('it stays the same', again.sid === made.sid && again.metadata === 'first', again);
    await api.call('createRoom', { name: OTHER });
    const named = await api.call('listRooms', { names: [ROOM, 'nobody-made-this'] });
    must('rooms by name', named.length === 1 && named[0].sid === made.sid, named);
    const all = await api.call('listRooms', {});
    must('all rooms', all.length === 2, all);
    return made;
}

async function looks(api, made, alice, bob) {
    const all = await api.call('listParticipants', { room: ROOM });
    must(
        'both are listed',
        all
            .map((p) => p.identity)
            .sort()
            .join() === 'alice,bob',
        all,
    );
    must(
        'and active',
        all.every((p) => p.state === 'ACTIVE' && p.tracks.length === 2),
        all,
    );
    const one = await api.call('getParticipant', { room: ROOM, identity: 'alice' });
    must('what the token says', one.name === 'Alice' && one.attributes?.mood === 'good', one);
    must('her session', one.sid === (await alice.call('report')).sid, one);
    const [room] = await api.call('listRooms', { names: [ROOM] });
    must('they are counted', room.numParticipants === 2 && room.numPublishers === 2, room);
    refused(await api.call('getParticipant', { room: ROOM, identity: 'nobody' }), 'not_found');
    const claims = await api.call('verify', { token: await bob.call('token') });
    must(
        "the server's token is for the room",
        claims.video.room === ROOM && claims.video.roomJoin,
        claims,
    );
    return one;
}

async function changes(api, alice, bob) {
    const updated = await api.call('updateRoomMetadata', { room: ROOM, metadata: 'third' });
    must('the room has it', updated.metadata === 'third', updated);
    for (const peer of [alice, bob]) {
        await until(
            `${peer.name} is told of the room's metadata`,
            async () => (await peer.call('people')).room.metadata === 'third',
            NEWS_MS,
        );
    }
    const change = { name: 'Bob!', metadata: 'm', attributes: { colour: 'red' } };
    const info = await api.call('updateParticipant', { room: ROOM, identity: 'bob', ...change });
    must('the answer has the change', info.name === 'Bob!' && info.metadata === 'm', info);
    await until(
        'alice sees it',
        async () => {
            const person = (await alice.call('people')).everybody.bob;
            return { ok: person.name === 'Bob!' && person.attributes.colour === 'red', person };
        },
        NEWS_MS,
    );
    await until(
        'his token has it',
        async () => {
            const claims = await api.call('verify', { token: await bob.call('token') });
            return { ok: claims.name === 'Bob!' && claims.attributes?.colour === 'red', claims };
        },
        NEWS_MS,
    );
}

async function tracks(api, info, bob) {
    const sid = (source) => info.tracks.find((t) => t.source === source).sid;
    const microphone = { room: ROOM, identity: 'alice', sid: sid('MICROPHONE') };
    const track = await api.call('mute', { ...microphone, muted: true });
    must('the answer is the track', track.sid === microphone.sid && track.muted, track);
    const muted = async () => (await bob.call('report')).remotes.alice.microphone.muted;
    await until('bob sees it muted', muted, NEWS_MS);
    refused(await api.call('mute', { ...microphone, muted: false }), 'failed_precondition');

    const camera = { room: ROOM, identity: 'bob', sids: [sid('CAMERA')] };
    done(await api.call('updateSubscriptions', { ...camera, subscribe: false }));
    // This SDK's publication stays subscribed; what comes is the server's doing.
    await standsStill(bob, 'alice', 'camera', 'framesDecoded', STILL_MS);
    done(await api.call('updateSubscriptions', { ...camera, subscribe: true }));
    await seesAndHears(bob, 'alice', { sound: false });
}

async function data(api, alice, bob) {
    done(await api.call('sendData', { room: ROOM, text: 'all|1|', topic: 'news' }));
    done(await api.call('sendData', { room: ROOM, text: 'one|2|', to: ['bob'] }));
    done(await api.call('sendData', { room: ROOM, text: 'all|3|' }));
    const tags = async (peer) => (await peer.call('received')).filter((e) => e.kind === 'packet');
    await until(
        'bob has all three',
        async () => {
            const got = await tags(bob);
            return {
                ok:
                    got.map((e) => e.number).join() === '1,2,3' &&
                    got[0].topic === 'news' &&
                    got[0].from === null,
                got,
            };
        },
        NEWS_MS,
    );
    const numbers = (await tags(alice)).map((e) => e.number).join();
    must('alice has what is for all', numbers === '1,3', numbers);
}

/** Without permission to publish a participant's tracks end; with it again he may. */
async function permissions(api, alice) {
    const permission = { canSubscribe: true, canPublish: false, canPublishData: true };
    const change = { room: ROOM, identity: 'bob' };
    const info = await api.call('updateParticipant', { ...change, permission });
    must('the answer has it', !info.permission.canPublish && info.permission.canSubscribe, info);
    await until(
        'alice sees no track of bob',
        async () => !Object.keys((await alice.call('report')).remotes.bob).length,
        NEWS_MS,
    );
    done(
        await api.call('updateParticipant', {
            ...change,
            permission: { ...permission, canPublish: true },
        }),
    );
}

async function dispatches(api) {
    const made = await api.call('createDispatch', { room: ROOM, agent: 'helper', metadata: 'm' });
    must('an agent is asked for', made.agentName === 'helper' && made.id, made);
    // Beside that of an agent without a name, which every room has.
    const named = async () =>
        (await api.call('listDispatch', { room: ROOM })).filter((d) => d.agentName);
    const listed = await named();
    must('it is listed', listed.length === 1 && listed[0].id === made.id, listed);
    done(await api.call('deleteDispatch', { room: ROOM, id: made.id }));
    must('it is gone', (await named()).length === 0);
    const egress = await api.call('listEgress');
    must('there is no egress', egress.status >= 400 || egress.length === 0, egress);
}

async function ends(api, alice, bob) {
    const reason = (peer, wanted) =>
        until(
            `${peer.name} is out`,
            async () => {
                const { events } = await peer.call('report');
                const end = events.find((e) => e.type === 'disconnected');
                return { ok: end?.reason === wanted, events };
            },
            NEWS_MS,
        );
    const gone = { room: ROOM, identity: 'bob', destinationRoom: OTHER };
    refused(await api.call('forwardParticipant', gone), 'unknown');
    refused(
        await api.call('moveParticipant', { ...gone, destinationRoom: ROOM }),
        'invalid_argument',
    );
    done(await api.call('moveParticipant', gone));
    await until(
        'bob is in the other room',
        async () => {
            const there = await api.call('listParticipants', { room: OTHER });
            return { ok: there.some((p) => p.identity === 'bob' && p.state === 'ACTIVE'), there };
        },
        NEWS_MS,
    );
    done(await api.call('removeParticipant', { room: OTHER, identity: 'bob' }));
    await reason(bob, PARTICIPANT_REMOVED);
    refused(await api.call('removeParticipant', { room: OTHER, identity: 'bob' }), 'not_found');
    done(await api.call('deleteRoom', { room: ROOM }));
    await reason(alice, ROOM_DELETED);
    refused(await api.call('deleteRoom', { room: ROOM }), 'not_found');
}

/** What the receivers of both SDKs make of what came. */
async function webhooks(api, hooks, made) {
    const last = (e) => e.event === 'room_finished' && e.room.name === ROOM;
    await until(
        'the last webhook',
        async () => hooks.got.some(({ body }) => last(JSON.parse(body))),
        NEWS_MS,
    );
    const events = [];
    for (const request of hooks.got) events.push(await api.call('receive', request));
    const refusals = events.filter((e) => e.refused);
    must('all webhooks are taken', !refusals.length, refusals);
    const here = events.filter((e) => e.room.name === ROOM);
    const count = (name, who) =>
        here.filter((e) => e.event === name && (!who || e.participant?.identity === who)).length;
    must(
        'room_started comes first',
        here[0].event === 'room_started' && here[0].room.sid === made.sid,
        here[0],
    );
    must(
        'both joined',
        count('participant_joined', 'alice') === 1 && count('participant_joined', 'bob') === 1,
        here,
    );
    must('four tracks', count('track_published') === 4, here);
    must('and their ends', count('track_unpublished') === 4, here);
    must(
        'both left',
        count('participant_left', 'alice') === 1 && count('participant_left', 'bob') === 1,
        here,
    );
    must('it ends once', count('room_finished') === 1, here);
    const ids = new Set(events.map((e) => e.id));
    must('each has an id', ids.size === events.length, [...ids]);
    const { body, authorization } = hooks.got[0];
    const changed = await api.call('receive', { body: body.replace(ROOM, 'mine'), authorization });
    must('a changed one is refused', changed.refused, changed);
}

async function everything(context, { launchApi }) {
    const hooks = await listen();
    const ports = await sfuPorts();
    const sfu = await startSfu(context.settings, ports, { webhooks: hooks.url });
    try {
        const api = await launchApi(context.settings, 'api');
        const { url, key, secret } = sfu;
        await api.call('open', { url, key, secret: `${secret}!` });
        must('another secret is refused', (await api.call('listRooms', {})).status === 401);
        await api.call('open', { url, key, secret });
        const made = await rooms(api);
        const began = Date.now();
        const about = { name: 'Alice', metadata: 'of alice', attributes: { mood: 'good' } };
        const alice = await enter(launchNode, context, api, sfu, 'alice', about);
        const bob = await enter(launchPython, context, api, sfu, 'bob');
        await seesAndHears(bob, 'alice');
        await seesAndHears(alice, 'bob');
        const info = await looks(api, made, alice, bob);
        await changes(api, alice, bob);
        await tracks(api, info, bob);
        await data(api, alice, bob);
        await dispatches(api);
        await permissions(api, alice);
        await ends(api, alice, bob);
        await webhooks(api, hooks, made);
        return Date.now() - began;
    } finally {
        await sfu.stop();
        hooks.close();
    }
}

const scenario = (kind, launchApi) => ({
    name: `server-sdk-${kind}`,
    needs: [],
    what: 'all answered',
    run: (context) => everything(context, { launchApi }),
});

export const scenarios = [scenario('node', launchNodeApi), scenario('python', launchPythonApi)];
