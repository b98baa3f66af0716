// SPDX-License-Identifier: Apache-2.0
// Tracks between every kind of livekit-client: pictures and sound, coming and going, in different
// codecs, by dozens, and only as large as somebody wants them.
import { gather, KINDS, receives, undisturbed } from '../lib/everybody.mjs';
import { LEAST_CONTRAST, MOVING_FRAMES, must, until } from '../lib/expect.mjs';
import { delay } from '../lib/processes.mjs';
import { callApi } from '../lib/token.mjs';
import { everybodyHears } from './people.mjs';

// Many small pictures on two cores: nobody encodes or decodes more than needed to tell them apart.
const SMALL = { width: 160, height: 90, fps: 5, simulcast: false };
const LARGE = { width: 640, height: 360, fps: 10 };
const LARGE_LAYERS = 2;
const MANY = 9;
const REPUBLISHED = 4;
// A server tells that less is wanted 5 s after it is so, the client needs a moment.
const LESS_MS = 12000;
const LOOK_MS = 1500;
// Far more than a browser holds back by itself on this machine.
const HELD_MS = 600;
const HELD_FRAMES = 10;
const CODEC_MS = 45000;

const each = (list, run) => Promise.all(list.map(run));
const except = (peers, peer) => peers.filter((other) => other !== peer);

/** Waits until `peer` sees the picture `name` of `from` move; `codec` if it matters. */
function sees(peer, from, name, { codec, ms } = {}) {
    let base;
    return until(
        `${peer.name} sees ${name} of ${from}${codec ? ` as ${codec}` : ''}`,
        async () => {
            const track = (await peer.call('tracks'))[from]?.[name];
            if (!track?.inbound || !track.element) return { ok: false, track };
            base ??= track;
            const ok =
                track.inbound.framesDecoded >= base.inbound.framesDecoded + MOVING_FRAMES &&
                track.element.hash !== base.element.hash &&
                track.element.contrast >= LEAST_CONTRAST &&
                (!codec || track.inbound.codec?.toLowerCase() === `video/${codec}`);
            return { ok, track };
        },
        ms,
    );
}

const everybodySees = (peers, from, name, options) =>
    each(except(peers, from), (peer) => sees(peer, from.name, name, options));

/** A picture and a tone of each of six, to each other; then all of them again, in new tracks. */
async function everybody(context) {
    const { peers } = await gather(context);
    const began = Date.now();
    const publish = (peer, name) => peer.call('publishPicture', { name, ...SMALL });
    await each(peers, (peer) => publish(peer, 'picture'));
    await each(peers, (peer) => peer.call('publishTone', { name: 'tone' }));
    for (const peer of peers) await everybodySees(peers, peer, 'picture');
    for (const { name } of peers) await everybodyHears(peers, name, 2);
    const ms = Date.now() - began;

    // The same MediaStreamTrack once more, under another name.
    await each(peers, (peer) => peer.call('unpublish', { name: 'picture', stop: false }));
    for (const { name } of peers) await everybodyHears(peers, name, 1);
    await each(peers, (peer) => peer.call('publishAgain', { name: 'again' }));
    for (const peer of peers) await everybodySees(peers, peer, 'again');
    // All at once: sections that become free are taken by others while their first packets arrive.
    for (let i = 0; i < REPUBLISHED; i++) {
        await each(peers, (peer) => peer.call('republishAll'));
        await delay(LOOK_MS); // until the old ones are gone everywhere
        for (const { name } of peers) await everybodyHears(peers, name, 2);
    }
    await undisturbed(peers);
    return ms;
}

/** The server API mutes a track of each: it, and everybody else, is told. */
async function mutedByServer(context) {
    const { peers } = await gather(context);
    const began = Date.now();
    await each(peers, (peer) => peer.call('publishTone', { name: 'tone' }));
    await each(peers, async (peer) => {
        const { sid } = (await peer.call('ownTracks')).tone;
        const room = `e2e-${context.name}`;
        const request = { identity: peer.name, track_sid: sid, muted: true };
        const answer = await callApi(context.sfu, room, 'MutePublishedTrack', request);
        must('muting is done', answer.status === 200 && answer.body.track.muted, answer);
    });
    const muted = (want) =>
        each(peers, (peer) =>
            until(`${peer.name} knows that all are ${want ? '' : 'un'}muted`, async () => {
                const own = (await peer.call('ownTracks')).tone.muted;
                const others = Object.values(await peer.call('tracks')).map((t) => t.tone.muted);
                return { ok: [own, ...others].every((m) => m === want), own, others };
            }),
        );
    await muted(true);
    const ms = Date.now() - began;
    await each(peers, (peer) => peer.call('muteOwn', { name: 'tone', muted: false }));
    await muted(false);
    for (const { name } of peers) await everybodyHears(peers, name, 1);
    await undisturbed(peers);
    return ms;
}

/** Nine tracks of each of four; a third of them ends, others take their places. */
async function many(context) {
    const names = ['chromium-v1', 'chromium-v0', 'firefox-v1', 'firefox-old'];
    const { peers } = await gather(context, { names });
    const began = Date.now();
    await each(peers, (peer) => peer.call('publishTones', { prefix: 'tone', count: MANY }));
    for (const { name } of peers) await everybodyHears(peers, name, MANY);
    const ms = Date.now() - began;
    const third = [...Array(MANY / 3).keys()].map((i) => `tone${i * 3}`);
    await each(peers, async (peer) => {
        for (const name of third) await peer.call('unpublish', { name });
    });
    for (const { name } of peers) await everybodyHears(peers, name, MANY - third.length);
    await each(peers, (peer) => peer.call('publishTones', { prefix: 'more', count: third.length }));
    for (const { name } of peers) await everybodyHears(peers, name, MANY);
    await undisturbed(peers);
    return ms;
}

/** From a new and an old Chromium to all that have the codec: Firefox downloads H.264. */
async function codecs(context, codec) {
    const firefoxes = codec === 'h264' ? [] : ['firefox-v1', 'firefox-old'];
    const names = ['chromium-v1', 'chromium-old', 'chromium-v0', ...firefoxes];
    const { peers, of } = await gather(context, { names });
    const began = Date.now();
    const publishers = [of['chromium-v1'], of['chromium-old']];
    const picture = { name: 'picture', ...LARGE, fps: 5, videoCodec: codec, backupCodec: false };
    await each(publishers, (peer) => peer.call('publishPicture', picture));
    for (const publisher of publishers) await everybodySees(peers, publisher, 'picture', { codec });
    await undisturbed(peers);
    return Date.now() - began;
}

const streamsOf = async (peer, codec) =>
    (await peer.call('sending', 'picture')).filter(
        (s) => !codec || s.codec?.toLowerCase() === `video/${codec}`,
    );

const frames = (streams) => streams.map((s) => s.framesEncoded);

/** Waits until `peer` encodes `count` layers of its picture (in `codec`) and lets the others be. */
function encodes(peer, count, { codec, ms = LESS_MS } = {}) {
    return until(
        `${peer.name} encodes ${count} layers${codec ? ` of ${codec}` : ''}`,
        async () => {
            const before = await streamsOf(peer, codec);
            await delay(LOOK_MS);
            const after = await streamsOf(peer, codec);
            const live = after.filter((s, i) => s.framesEncoded > (before[i]?.framesEncoded ?? 0));
            return { ok: live.length === count, before: frames(before), after };
        },
        ms,
    );
}

/**
 * AV1, which Firefox is not given, with VP8 as a backup: Firefox sees VP8. By regression so does
 * everybody and AV1 is not encoded any more; with SIMULCAST Chromium goes on with AV1.
 */
async function backup(context, publisherName, policy) {
    const names = [publisherName, 'chromium-v0', 'firefox-v1'].filter((n, i, a) => a.indexOf(n) === i);
    if (names.length < 3) names.push('chromium-v1');
    const roomOptions = { dynacast: true };
    const { peers, of } = await gather(context, { names, roomOptions });
    const publisher = of[publisherName];
    const [firefox] = peers.filter((peer) => KINDS[peer.name].firefox);
    const [chromium] = peers.filter((peer) => peer !== publisher && peer !== firefox);
    const began = Date.now();
    await publisher.call('publishPicture', {
        name: 'picture',
        ...LARGE,
        videoCodec: 'av1',
        backupCodec: true,
        ...policy,
    });
    await sees(firefox, publisherName, 'picture', { codec: 'vp8', ms: CODEC_MS });
    const ms = Date.now() - began;
    const simulcast = policy?.backupCodecPolicy === SIMULCAST;
    const expected = { codec: simulcast ? 'av1' : 'vp8', ms: CODEC_MS };
    await sees(chromium, publisherName, 'picture', expected);
    if (!simulcast) await encodes(publisher, 0, { codec: 'av1' });
    // The backup is wanted only as long as somebody is there who needs it.
    if (simulcast) {
        await firefox.call('leave');
        await encodes(publisher, 0, { codec: 'vp8' });
        await sees(chromium, publisherName, 'picture', { codec: 'av1' });
    }
    await undisturbed([publisher, chromium]);
    return ms;
}

/** Layers are encoded while somebody wants them: of four kinds of publishers at once. */
async function dynacast(context) {
    const names = ['chromium-v1', 'chromium-old', 'firefox-v0', 'firefox-old', 'chromium-v0'];
    const options = { roomOptions: { dynacast: true }, connectOptions: { autoSubscribe: false } };
    const { of } = await gather(context, { names, ...options });
    const watcher = of['chromium-v0'];
    const publishers = names.slice(0, 4).map((name) => of[name]);
    await each(publishers, (peer) => peer.call('publishPicture', { name: 'picture', ...LARGE }));
    await each(publishers, ({ name }) =>
        until('the watcher knows the picture', async () => (await watcher.call('tracks'))[name].picture),
    );
    const want = (what) =>
        each(publishers, ({ name }) => watcher.call('want', { from: name, name: 'picture', ...what }));
    const subscribe = (subscribed) =>
        each(publishers, ({ name }) =>
            watcher.call('subscribe', { from: name, name: 'picture', subscribed }),
        );
    const all = (count) => each(publishers, (peer) => encodes(peer, count, { ms: 2 * LESS_MS }));
    const watched = () => each(publishers, ({ name }) => sees(watcher, name, 'picture'));
    await subscribe(true);
    await watched();
    await all(LARGE_LAYERS);
    const began = Date.now();
    await want({ quality: 'LOW' });
    await all(1);
    const ms = Date.now() - began;
    await watched();
    await want({ enabled: false });
    await all(0);
    await want({ enabled: true, quality: 'HIGH' });
    await watched();
    await all(LARGE_LAYERS);
    await subscribe(false);
    await all(0);
    await subscribe(true);
    await watched();
    await undisturbed([watcher, ...publishers]);
    return ms;
}

// livekit.BackupCodecPolicy.
const SIMULCAST = 1;

/** All six do each of livekit-client's test scenarios at the same time; all get everything again. */
async function reconnects(context) {
    const { peers } = await gather(context);
    const began = Date.now();
    await each(peers, (peer) => peer.call('publishTone', { name: 'tone' }));
    for (const { name } of peers) await everybodyHears(peers, name, 1);
    const scenarios = [
        'signal-reconnect',
        'disconnect-signal-on-resume',
        'full-reconnect',
        'node-failure',
        'migration',
    ];
    for (const [i, scenario] of scenarios.entries()) {
        await each(peers, (peer) => peer.call('simulate', { scenario }));
        await each(peers, (peer) =>
            until(`${peer.name} is back after ${scenario}`, async () => {
                const { events, state } = await peer.call('report');
                const back = events.filter((e) => e.type === 'reconnected').length;
                return { ok: back > i && state === 'connected', state, events: events.slice(-8) };
            }),
        );
        for (const { name } of peers) await everybodyHears(peers, name, 1);
        const tag = `after-${scenario}`;
        await each(peers, (peer) =>
            peer.call('sendPackets', { tag, count: 1, size: 50, reliable: true }),
        );
        await each(peers, (peer) =>
            receives(peer, `a packet of each ${tag}`, peers.length - 1, (e) => e.tag === tag),
        );
    }
    return Date.now() - began;
}

/** How long `peer` holds each frame of `from` back, in milliseconds. */
async function heldBack(peer, from) {
    const now = async () => (await peer.call('tracks'))[from].picture.inbound;
    const base = await now();
    const later = await until(`${peer.name} shows more of ${from}`, async () => {
        const inbound = await now();
        return { ok: inbound.framesHeld >= base.framesHeld + HELD_FRAMES, ...inbound };
    });
    return ((later.heldS - base.heldS) * 1000) / (later.framesHeld - base.framesHeld);
}

/** A room whose video is to be shown late: in every browser that knows how to. */
async function playoutDelay(context) {
    const names = ['chromium-v1', 'chromium-v0', 'firefox-v1'];
    const roomConfig = { minPlayoutDelay: HELD_MS, maxPlayoutDelay: 4 * HELD_MS };
    const { peers, of } = await gather(context, { names, claims: { roomConfig } });
    await each(peers, (peer) => peer.call('publishPicture', { name: 'picture', ...SMALL }));
    for (const peer of peers) await everybodySees(peers, peer, 'picture');
    const held = await each(
        [
            ['chromium-v1', 'chromium-v0'],
            ['chromium-v1', 'firefox-v1'],
            ['chromium-v0', 'chromium-v1'],
        ],
        ([peer, from]) => heldBack(of[peer], from),
    );
    must('each holds the others back', Math.min(...held) > HELD_MS / 2, held);
    await undisturbed(peers);
    return Math.round(Math.min(...held));
}

function scenario(name, run, what, ...rest) {
    return { name, needs: ['sfu'], what, run: (context) => run(context, ...rest) };
}

export const scenarios = [
    scenario('tracks-everybody', everybody, 'all seen'),
    scenario('tracks-muted-by-server', mutedByServer, 'all muted'),
    scenario('tracks-many', many, 'all heard'),
    scenario('tracks-vp9', codecs, 'all seen', 'vp9'),
    scenario('tracks-h264', codecs, 'all seen', 'h264'),
    scenario('tracks-backup-v1', backup, 'seen', 'chromium-v1'),
    scenario('tracks-backup-v0', backup, 'seen', 'chromium-v0'),
    scenario('tracks-backup-old', backup, 'seen', 'chromium-old'),
    scenario('tracks-backup-simulcast', backup, 'seen', 'chromium-v1', {
        backupCodecPolicy: SIMULCAST,
    }),
    scenario('tracks-dynacast', dynacast, 'one layer'),
    scenario('tracks-playout-delay', playoutDelay, 'held back'),
    scenario('everybody-reconnects', reconnects, 'five times'),
];
