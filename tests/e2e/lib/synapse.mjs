// SPDX-License-Identifier: Apache-2.0
// A real homeserver: Synapse on SQLite, in memory as far as it can, with users made on the spot.
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { start, stop, waitHttp } from './processes.mjs';

const START_MS = 60000;
export const SERVER_NAME = 'e2e.test';
// Throw-away values.
const REGISTRATION_SECRET = 'e2e-registration';
const PASSWORD = 'e2e-password';
// Tests are fast: no limit may ever be reached.
const UNLIMITED = { per_second: 10000, burst_count: 10000 };

function configuration(dir, port, livekitServiceUrl, registrations) {
    return {
        server_name: SERVER_NAME,
        public_baseurl: `http://127.0.0.1:${port}/`,
        listeners: [
            {
                port,
                type: 'http',
                bind_addresses: ['127.0.0.1'],
                resources: [{ names: ['client', 'federation', 'openid'], compress: false }],
            },
        ],
        database: { name: 'sqlite3', args: { database: join(dir, 'homeserver.db') } },
        media_store_path: join(dir, 'media'),
        signing_key_path: join(dir, 'signing.key'),
        pid_file: join(dir, 'homeserver.pid'),
        log_config: join(dir, 'log.yaml'),
        report_stats: false,
        trusted_key_servers: [],
        federation_verify_certificates: false,
        ip_range_blacklist: [],
        // The demo page registers by itself.
        enable_registration: true,
        enable_registration_without_verification: true,
        registration_shared_secret: REGISTRATION_SECRET,
        macaroon_secret_key: 'e2e-macaroon',
        form_secret: 'e2e-form',
        // Each login would spend seconds of two busy cores on the default of 12 rounds.
        bcrypt_rounds: 4,
        // Room version 12 keeps the creator out of power levels, which Element Call cannot do yet.
        default_room_version: '11',
        // Delayed events (MSC4140) are off without this.
        max_event_delay_duration: '24h',
        app_service_config_files: registrations,
        matrix_rtc: {
            transports: [{ type: 'livekit', livekit_service_url: livekitServiceUrl }],
        },
        experimental_features: {
            msc3266_enabled: true,
            msc4143_enabled: true,
            msc4222_enabled: true,
            msc4354_enabled: true,
            // What application services need that serve calls; nothing without a registration.
            msc4502_enabled: registrations.length > 0,
            msc4512_enabled: registrations.length > 0,
        },
        rc_message: UNLIMITED,
        rc_delayed_event_mgmt: UNLIMITED,
        rc_registration: UNLIMITED,
        rc_joins: { local: UNLIMITED, remote: UNLIMITED },
        rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
        rc_room_creation: UNLIMITED,
        rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
    };
}

const LOGGING = {
    version: 1,
    formatters: { plain: { format: '%(asctime)s %(levelname)s %(name)s %(message)s' } },
    handlers: { console: { class: 'logging.StreamHandler', formatter: 'plain' } },
    root: { level: 'INFO', handlers: ['console'] },
};

/** `registrations`: files of application services. */
export async function startSynapse(settings, port, livekitServiceUrl, registrations = []) {
    const dir = join(settings.outDir, 'synapse');
    mkdirSync(dir, { recursive: true });
    // Synapse reads YAML, and JSON is YAML.
    const config = join(dir, 'homeserver.yaml');
    const content = configuration(dir, port, livekitServiceUrl, registrations);
    writeFileSync(config, JSON.stringify(content, null, 2));
    writeFileSync(join(dir, 'log.yaml'), JSON.stringify(LOGGING, null, 2));
    const command = ['-m', 'synapse.app.homeserver', '-c', config];
    execFileSync(settings.python, [...command, '--generate-keys'], { stdio: 'ignore' });
    const proc = start({
        name: 'synapse',
        file: settings.python,
        args: command,
        cwd: dir,
        logFile: join(settings.outDir, 'synapse.log'),
    });
    const url = `http://127.0.0.1:${port}`;
    await waitHttp(proc, `${url}/health`, START_MS);
    return { proc, url, serverName: SERVER_NAME, stop: () => stop(proc) };
}

/** What the homeserver answers, good or bad, as {ok, status, body}. */
export async function ask(homeserver, method, path, body, accessToken) {
    const answer = await fetch(`${homeserver.url}${path}`, {
        method,
        headers: {
            'Content-Type': 'application/json',
            ...(accessToken ? { Authorization: `Bearer ${accessToken}` } : {}),
        },
        body: method === 'GET' ? undefined : JSON.stringify(body ?? {}),
    });
    return { ok: answer.ok, status: answer.status, body: await answer.json() };
}

async function request(homeserver, method, path, body, accessToken) {
    const answer = await ask(homeserver, method, path, body, accessToken);
    if (!answer.ok)
        throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
}

/** A new user with one device; gives {user_id, device_id, access_token}. */
export async function registerUser(homeserver, username) {
    const path = '/_synapse/admin/v1/register';
    const { nonce } = await request(homeserver, 'GET', path);
    const mac = createHmac('sha1', REGISTRATION_SECRET)
        .update([nonce, username, PASSWORD, 'notadmin'].join('\0'))
        .digest('hex');
    return request(homeserver, 'POST', path, {
        nonce,
        username,
        password: PASSWORD,
        admin: false,
        mac,
    });
}

/** An encrypted room of `users`, the first its creator, in which everybody may join a call. */
export async function createCallRoom(homeserver, users) {
    const [creator, ...others] = users;
    const { room_id: roomId } = await request(
        homeserver,
        'POST',
        '/_matrix/client/v3/createRoom',
        {
            preset: 'private_chat',
            name: 'End-to-end call',
            invite: others.map((user) => user.user_id),
            initial_state: [
                {
                    type: 'm.room.encryption',
                    state_key: '',
                    content: { algorithm: 'm.megolm.v1.aes-sha2' },
                },
            ],
            power_level_content_override: {
                events: { 'org.matrix.msc3401.call.member': 0, 'org.matrix.msc4143.rtc.member': 0 },
            },
        },
        creator.access_token,
    );
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/join`;
    for (const user of others) await request(homeserver, 'POST', path, {}, user.access_token);
    return roomId;
}

const MEMBER_STATE = 'org.matrix.msc3401.call.member';

/**
 * Who is in the room's call, by user id, as the homeserver tells it to `reader`: memberships that are
 * room state, and those that are sticky events (MSC4354), encrypted in an encrypted room. One that has
 * ended has no content, but for the sticky key, and is never encrypted: the leave was handed over.
 */
export async function callMembers(homeserver, reader, roomId) {
    const room = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`;
    const get = (path) => request(homeserver, 'GET', path, undefined, reader.access_token);
    const state = (await get(`${room}/state`)).filter((event) => event.type === MEMBER_STATE);
    const { chunk } = await get(`${room}/messages?dir=b&limit=200`);
    const newest = new Map();
    for (const event of chunk.filter((e) => e.msc4354_sticky)) {
        if (!newest.has(event.sender)) newest.set(event.sender, event);
    }
    const inside = [...state, ...newest.values()].filter(
        ({ type, content }) => type === 'm.room.encrypted' || content.application !== undefined,
    );
    return [...new Set(inside.map((event) => event.sender))];
}

/**
 * Puts `user` into the room's call by a membership that is room state, and leaves its end with the
 * homeserver for `delayMs` (MSC4140); gives the id of that delayed event.
 */
export async function enterCall(homeserver, user, roomId, delayMs) {
    const room = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`;
    const key = encodeURIComponent(`_${user.user_id}_${user.device_id}_m.call`);
    const path = `${room}/state/${MEMBER_STATE}/${key}`;
    const content = { application: 'm.call', call_id: '', device_id: user.device_id };
    const put = (to, body) => request(homeserver, 'PUT', to, body, user.access_token);
    const { delay_id: delayId } = await put(`${path}?org.matrix.msc4140.delay=${delayMs}`, {});
    await put(path, content);
    return delayId;
}

export function leaveRoom(homeserver, user, roomId) {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/leave`;
    return request(homeserver, 'POST', path, {}, user.access_token);
}

/** What foci-jwt asks the homeserver about. */
export function openIdToken(homeserver, user) {
    const path = `/_matrix/client/v3/user/${encodeURIComponent(user.user_id)}/openid/request_token`;
    return request(homeserver, 'POST', path, {}, user.access_token);
}
