// SPDX-License-Identifier: Apache-2.0
// Data between every kind of livekit-client: packets, chat, streams, files, calls, data tracks.
import { gather, isNew, receives, undisturbed } from '../lib/everybody.mjs';
import { must, until } from '../lib/expect.mjs';
import { delay } from '../lib/processes.mjs';

const PACKETS = 20;
const PACKET_SIZE = 1000;
// The largest that livekit-client's documentation allows in one reliable packet.
const LARGEST_PACKET = 15000;
// A lossy packet may be lost; between browsers on one machine hardly one is.
const LOSSY_LEAST = 0.8 * PACKETS;
const STRAY_MS = 500;
const FILE_SIZE = 20 << 20;
const SMALL_FILE_SIZE = 1 << 20;
const TEXT_SIZE = 100000;
const FILE_MS = 60000;

const others = (peers, peer) => peers.filter((other) => other !== peer);
const each = (list, run) => Promise.all(list.map(run));

/** Everybody sends; everybody else gets each packet once, in order, from whom it is. */
async function packets(context) {
    const { peers } = await gather(context);
    const began = Date.now();
    const topic = 'of the day';
    await each(peers, (peer) =>
        peer.call('sendPackets', {
            tag: 'all',
            count: PACKETS,
            size: PACKET_SIZE,
            reliable: true,
            topic,
        }),
    );
    await each(peers, (peer) =>
        peer.call('sendPackets', { tag: 'big', count: 2, size: LARGEST_PACKET, reliable: true }),
    );
    await each(peers, async (peer) => {
        for (const from of others(peers, peer)) {
            const mine = (tag) => (e) =>
                e.kind === 'packet' && e.from === from.name && e.tag === tag;
            const all = await receives(peer, `all of ${from.name}`, PACKETS, mine('all'));
            must(
                `${peer.name} gets them in order and whole`,
                all.every((e, i) => e.number === i && e.size === PACKET_SIZE && e.topic === topic),
                all,
            );
            const big = await receives(peer, `big of ${from.name}`, 2, mine('big'));
            must(
                'big packets are whole',
                big.every((e) => e.size === LARGEST_PACKET && !e.topic),
                big,
            );
        }
    });
    const ms = Date.now() - began;
    await toOne(peers);
    await lossy(peers);
    await undisturbed(peers);
    return ms;
}

/** Each sends to the one after it; nobody else gets it, neither does the sender. */
async function toOne(peers) {
    const after = (i) => peers[(i + 1) % peers.length];
    await each(peers, (peer, i) =>
        peers[i].call('sendPackets', {
            tag: `for-${after(i).name}`,
            count: 2,
            size: 50,
            reliable: true,
            to: [after(i).name],
        }),
    );
    await each(peers, (peer) => receives(peer, 'what is for it', 2, (e) => e.tag === `for-${peer.name}`));
    await delay(STRAY_MS);
    for (const peer of peers) {
        const inbox = await peer.call('received');
        const stray = inbox.filter((e) => e.tag?.startsWith('for-') && e.tag !== `for-${peer.name}`);
        must(`${peer.name} gets nothing that is for others`, stray.length === 0, stray);
        const own = inbox.filter((e) => e.from === peer.name);
        must(`${peer.name} does not hear itself`, own.length === 0, own);
    }
}

async function lossy(peers) {
    await each(peers, (peer) =>
        peer.call('sendPackets', { tag: 'lossy', count: PACKETS, size: 200, reliable: false }),
    );
    await each(peers, (peer) =>
        until(`${peer.name} gets most lossy packets of everybody`, async () => {
            const inbox = (await peer.call('received')).filter((e) => e.tag === 'lossy');
            const counts = others(peers, peer).map(
                ({ name }) => new Set(inbox.filter((e) => e.from === name).map((e) => e.number)).size,
            );
            return { ok: counts.every((count) => count >= LOSSY_LEAST), counts };
        }),
    );
}

/** Chat as old and new clients have it, and DTMF. */
async function chat(context) {
    const { peers } = await gather(context);
    const began = Date.now();
    await each(peers, (peer) =>
        peer.call('chatAndEdit', { first: `I am ${peer.name}`, second: `I was ${peer.name}` }),
    );
    await each(peers, (peer) => peer.call('dtmf', '7'));
    await each(peers, async (peer) => {
        for (const { name } of others(peers, peer)) {
            const of = (kind) => (e) => e.kind === kind && e.from === name;
            const [first, second] = await receives(peer, `chat of ${name}`, 2, of('chat'));
            must('chat as written', first.text === `I am ${name}` && !first.edited, first);
            must('edited as written', second.text === `I was ${name}` && second.edited, second);
            const [dtmf] = await receives(peer, `DTMF of ${name}`, 1, of('dtmf'));
            must('DTMF as pressed', dtmf.digit === '7', dtmf);
        }
    });
    await undisturbed(peers);
    return Date.now() - began;
}

async function arrives(peers, from, sent, ms) {
    await each(peers, (peer) =>
        receives(
            peer,
            `${sent.kind} of ${sent.size} bytes of ${from.name}`,
            1,
            (e) => e.kind === sent.kind && e.from === from.name && e.sum === sent.sum,
            ms,
        ),
    );
}

/** Text in one go and in pieces, files to everybody: whole at all others that can take them. */
async function streams(context) {
    const { peers } = await gather(context);
    const able = peers.filter(isNew);
    const began = Date.now();
    await each(able, async (peer, i) => {
        const to = others(able, peer);
        const whole = { size: TEXT_SIZE, attributes: { mood: 'good' } };
        await arrives(to, peer, await peer.call('sendText', whole));
        await arrives(to, peer, await peer.call('sendText', { size: TEXT_SIZE / 2, pieces: 7 }));
        const file = { size: SMALL_FILE_SIZE, seed: able.indexOf(peer) + 1, name: 'a file.bin' };
        await arrives(to, peer, await peer.call('sendFile', file), FILE_MS);
    });
    const [first] = (await able[0].call('received')).filter((e) => e.attributes?.mood);
    must('attributes of a stream come with it', first?.attributes.mood === 'good', first);
    await undisturbed(peers);
    return Date.now() - began;
}

/** 20 MB each way between two, while a third one's packets still come through. */
async function largeFile(context, names) {
    const { peers } = await gather(context, { names });
    const [alice, bob, carol] = peers;
    const began = Date.now();
    const send = async (from, to, seed) => {
        const file = { size: FILE_SIZE, seed, name: 'large.bin', to: [to.name], compress: false };
        const sent = await from.call('sendFile', file);
        await arrives([to], from, sent, FILE_MS);
        must('the file keeps its name', sent.name === 'large.bin', sent);
    };
    const files = Promise.all([send(alice, bob, 11), send(bob, alice, 12)]);
    files.catch(() => {}); // awaited below
    await carol.call('sendPackets', { tag: 'meanwhile', count: PACKETS, size: 100, reliable: true });
    await each([alice, bob], (peer) =>
        receives(peer, 'packets of carol', PACKETS, (e) => e.tag === 'meanwhile'),
    );
    await files;
    must('nobody else got them', !(await carol.call('received')).some((e) => e.kind === 'bytes'));
    await undisturbed(peers);
    return Date.now() - began;
}

/** Each new client calls each other one; errors are those that the SDK documents. */
async function rpc(context) {
    const { peers } = await gather(context);
    const able = peers.filter(isNew);
    const began = Date.now();
    await each(able, async (peer) => {
        for (const other of others(able, peer)) {
            const to = other.name;
            const { answer } = await peer.call('rpc', { to, method: 'echo', payload: 'hello' });
            must(
                `${to} answers ${peer.name}`,
                answer === JSON.stringify({ from: peer.name, payload: 'hello' }),
                answer,
            );
            const large = await peer.call('rpc', { to, method: 'echo', size: 10000 });
            must('a large payload comes back', large.size === 10000, large);
            const refused = await peer.call('rpc', { to, method: 'refuse', payload: '' });
            must('errors of a method arrive', refused.code === 1234, refused);
            must('with their data', refused.message === 'no' && refused.data === 'data of it', refused);
            const unknown = await peer.call('rpc', { to, method: 'nothing', payload: '' });
            must('an unknown method is said to be one', unknown.code === 1400, unknown);
        }
    });
    const ms = Date.now() - began;
    const nobody = await able[0].call('rpc', { to: 'nobody', method: 'echo', payload: '' });
    must('nobody answers for nobody', [1401, 1501].includes(nobody.code), nobody);
    await undisturbed(peers);
    return ms;
}

/** Streams of frames from each new client to each other one that subscribes, and not after. */
async function dataTracks(context) {
    const { peers } = await gather(context);
    const able = peers.filter(isNew);
    const began = Date.now();
    const sids = await each(able, (peer) => peer.call('publishDataTrack', 'pose'));
    await each(able, (peer) =>
        receives(peer, 'news of data tracks', able.length - 1, (e) => e.kind === 'data-track'),
    );
    await each(able, (peer) =>
        each(others(able, peer), ({ name }) => peer.call('subscribeData', { from: name, name: 'pose' })),
    );
    await delay(STRAY_MS);
    // A frame of several packets, and small ones.
    const frames = { name: 'pose', count: 50, everyMs: 20 };
    await each(able, (peer) => peer.call('pushFrames', { ...frames, size: 3000 }));
    const count = async (peer, from) =>
        (await peer.call('received')).filter((e) => e.kind === 'frame' && e.from === from.name);
    await each(able, (peer) =>
        each(others(able, peer), (from) =>
            until(`${peer.name} gets frames of ${from.name}`, async () => {
                const list = await count(peer, from);
                return { ok: list.length >= 40 && list.every((e) => e.size === 3000), list: list.length };
            }),
        ),
    );
    const ms = Date.now() - began;
    const [alice, bob] = able;
    await bob.call('unsubscribeData', { from: alice.name, name: 'pose' });
    await delay(STRAY_MS);
    const before = (await count(bob, alice)).length;
    await alice.call('pushFrames', { ...frames, count: 10, size: 100 });
    await delay(STRAY_MS);
    must('nothing comes after the end', (await count(bob, alice)).length === before, before);
    await alice.call('unpublishDataTrack', 'pose');
    await each(others(able, alice), (peer) =>
        receives(peer, 'the end of it', 1, (e) => e.kind === 'data-track-gone' && e.sid === sids[0]),
    );
    await undisturbed(peers);
    return ms;
}

function scenario(name, run, what, ...rest) {
    return { name, needs: ['sfu'], what, run: (context) => run(context, ...rest) };
}

export const scenarios = [
    scenario('data-packets', packets, 'all received'),
    scenario('data-chat', chat, 'all received'),
    scenario('data-streams', streams, 'all received'),
    scenario('data-file-chromium', largeFile, '2 x 20 MB', [
        'chromium-v1',
        'chromium-v0',
        'firefox-old',
    ]),
    scenario('data-file-firefox', largeFile, '2 x 20 MB', [
        'firefox-v1',
        'firefox-v0',
        'chromium-old',
    ]),
    scenario('data-rpc', rpc, 'all answered'),
    scenario('data-tracks', dataTracks, 'all received'),
];
