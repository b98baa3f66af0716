// SPDX-License-Identifier: Apache-2.0
// foci-jwt as an application service of the homeserver: the registration, made from the file that
// operators start from, and the two calls that the homeserver hands over for its users (MSC4195).
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask, SERVER_NAME } from './synapse.mjs';

const ENDPOINTS = '/_matrix/client/unstable/io.element.msc4195/rtc/livekit';
const TEMPLATE = 'deploy/synapse/foci-appservice.yaml.in';
const TEMPLATE_URL = 'http://foci-jwt:8080';
const TOKEN_BYTES = 32;

/** How often foci-jwt looks whether everybody in a call is still in its Matrix room. */
export const INTERVAL_MS = 2000;

/** Fills in the template as its head says, for a foci-jwt on `port`; gives the file. */
export function writeRegistration(root, dir, port) {
    const secret = () => randomBytes(TOKEN_BYTES).toString('hex');
    const template = readFileSync(join(root, TEMPLATE), 'utf8');
    const changes = [
        ['@AS_TOKEN@', secret()],
        ['@HS_TOKEN@', secret()],
        ['@DOMAIN@', SERVER_NAME],
        [TEMPLATE_URL, `http://127.0.0.1:${port}`],
    ];
    const text = changes.reduce((all, [what, by]) => all.replaceAll(what, by), template);
    mkdirSync(dir, { recursive: true });
    const file = join(dir, 'foci-appservice.yaml');
    writeFileSync(file, text, { mode: 0o600 });
    return file;
}

/** The settings of foci-jwt for it. */
export function handsOver(homeserver, registration) {
    return {
        LIVEKIT_AS_REGISTRATION_FILE: registration,
        LIVEKIT_HS_SERVER_NAME: homeserver.serverName,
        LIVEKIT_MEMBERSHIP_CHECK_INTERVAL_SECONDS: String(INTERVAL_MS / 1000),
    };
}

/** `what` is {url, room_id, slot_id, member_id}; gives {ok, status, body}. */
export function getToken(homeserver, user, what) {
    return ask(homeserver, 'POST', `${ENDPOINTS}/get_token`, what, user?.access_token);
}

/** `what` has a delay_id as well. */
export function delegateLeave(homeserver, user, what) {
    return ask(homeserver, 'POST', `${ENDPOINTS}/delegate_delayed_leave`, what, user.access_token);
}

/** How names on the SFU come about: others find a member's media by computing it themselves. */
export function hashOf(...parts) {
    const sum = createHash('sha256').update(JSON.stringify(parts)).digest('base64');
    return sum.replace(/=+$/, '');
}

export function claimsOf(token) {
    return JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
}
