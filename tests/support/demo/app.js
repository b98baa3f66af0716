// SPDX-License-Identifier: Apache-2.0
// The demo's call page: one tile for each participant, with the published livekit-client.
import { enter, nameOf } from './matrix.js';

const { ConnectionState, Room, RoomEvent, Track } = globalThis.LivekitClient;

const CAPTURE = { width: 640, height: 360, frameRate: 20 };
const STATE_TEXT = {
    [ConnectionState.Disconnected]: 'not connected',
    [ConnectionState.Connecting]: 'connecting',
    [ConnectionState.Connected]: 'connected',
    [ConnectionState.Reconnecting]: 'connection lost, reconnecting',
    [ConnectionState.SignalReconnecting]: 'reconnecting',
};

const byId = (id) => document.getElementById(id);
const tiles = new Map();
let room = null;

function tileOf(participant) {
    const known = tiles.get(participant.identity);
    if (known) return known;
    const tile = byId('tile').content.firstElementChild.cloneNode(true);
    const name = nameOf(participant.identity);
    tile.querySelector('.who').textContent = participant.isLocal ? `${name} (you)` : name;
    tile.querySelector('.initial').textContent = name.slice(0, 1).toUpperCase();
    tile.classList.toggle('own', participant.isLocal);
    tile.dataset.identity = participant.identity;
    byId('tiles').append(tile);
    tiles.set(participant.identity, tile);
    return tile;
}

function removeTile(participant) {
    tiles.get(participant.identity)?.remove();
    tiles.delete(participant.identity);
}

function showParticipant(participant) {
    const tile = tileOf(participant);
    const camera = participant.getTrackPublication(Track.Source.Camera);
    const shown = Boolean(camera?.track) && !camera.isMuted;
    if (shown) camera.track.attach(tile.querySelector('video'));
    tile.classList.toggle('has-video', shown);
    tile.classList.toggle('is-muted', !participant.isMicrophoneEnabled);
    tile.classList.toggle('speaking', participant.isSpeaking);
}

function pressed(button, on) {
    byId(button).setAttribute('aria-pressed', String(on));
}

/** Draws everything anew from the room's state: simpler than following each event's meaning. */
function show() {
    if (!room) return;
    const people = [room.localParticipant, ...room.remoteParticipants.values()];
    people.filter((participant) => participant.identity).forEach(showParticipant);
    byId('people').textContent = `${people.length} ${people.length === 1 ? 'person' : 'people'}`;
    byId('state').textContent = STATE_TEXT[room.state];
    byId('state').dataset.state = room.state;
    pressed('microphone', room.localParticipant.isMicrophoneEnabled);
    pressed('camera', room.localParticipant.isCameraEnabled);
}

function onSubscribed(track) {
    // Pictures are attached to their tile by show(); sound needs an element of its own.
    if (track.kind === Track.Kind.Audio) document.body.append(track.attach());
    show();
}

function onUnsubscribed(track) {
    const elements = track.detach();
    if (track.kind === Track.Kind.Audio) elements.forEach((element) => element.remove());
    show();
}

function watch() {
    room.on(RoomEvent.TrackSubscribed, onSubscribed)
        .on(RoomEvent.TrackUnsubscribed, onUnsubscribed)
        .on(RoomEvent.ParticipantDisconnected, (participant) => {
            removeTile(participant);
            show();
        })
        .on(RoomEvent.Disconnected, () => room && leave('The call has ended.'));
    const others = [
        RoomEvent.ParticipantConnected,
        RoomEvent.ConnectionStateChanged,
        RoomEvent.LocalTrackPublished,
        RoomEvent.LocalTrackUnpublished,
        RoomEvent.TrackMuted,
        RoomEvent.TrackUnmuted,
        RoomEvent.ActiveSpeakersChanged,
    ];
    for (const event of others) room.on(event, show);
}

function problem(text) {
    byId('problem').textContent = text;
    byId('problem').hidden = !text;
}

/** A camera that is missing or refused must not keep anybody out of the call. */
async function publish(participant) {
    const failures = [];
    const note = (what) => (error) => failures.push(`${what}: ${error.message}`);
    await participant.setMicrophoneEnabled(true).catch(note('microphone'));
    await participant.setCameraEnabled(true).catch(note('camera'));
    if (failures.length) console.warn(failures.join('; '));
}

async function join(name, roomId) {
    problem('');
    byId('join').disabled = true;
    try {
        const config = await (await fetch('config.json')).json();
        const { url, jwt } = await enter(config, name, roomId);
        const joined = new Room({ videoCaptureDefaults: { resolution: CAPTURE } });
        room = joined;
        watch();
        byId('room-name').textContent = roomId;
        byId('lobby').hidden = true;
        byId('call').hidden = false;
        await joined.connect(url, jwt);
        await publish(joined.localParticipant);
        show();
    } catch (error) {
        leave(`Could not join: ${error.message}`);
    }
    byId('join').disabled = false;
}

function leave(text = '') {
    const old = room;
    room = null;
    old?.disconnect();
    for (const tile of tiles.values()) tile.remove();
    tiles.clear();
    document.querySelectorAll('body > audio').forEach((element) => element.remove());
    byId('call').hidden = true;
    byId('lobby').hidden = false;
    problem(text);
}

byId('join-form').addEventListener('submit', (event) => {
    event.preventDefault();
    join(byId('name').value.trim(), byId('room').value.trim());
});
byId('microphone').addEventListener('click', async () => {
    const { localParticipant } = room;
    await localParticipant.setMicrophoneEnabled(!localParticipant.isMicrophoneEnabled);
    show();
});
byId('camera').addEventListener('click', async () => {
    const { localParticipant } = room;
    await localParticipant.setCameraEnabled(!localParticipant.isCameraEnabled);
    show();
});
byId('leave').addEventListener('click', () => leave());
globalThis.addEventListener('pagehide', () => room?.disconnect());
