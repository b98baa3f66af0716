// SPDX-License-Identifier: Apache-2.0
// Access tokens for the scenarios that talk to foci-sfu alone.
import { createHmac } from 'node:crypto';

const LIFETIME_S = 3600;

function segment(value) {
    return Buffer.from(value).toString('base64url');
}

/** `video` are more grants, or others than these; `claims` the same of the token itself. */
export function accessToken({ key, secret }, identity, room, video = {}, more = {}) {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
        iss: key,
        sub: identity,
        name: identity,
        nbf: now,
        exp: now + LIFETIME_S,
        video: { roomJoin: true, room, canPublish: true, canSubscribe: true, ...video },
        ...more,
    };
    const head = segment('{"alg":"HS256","typ":"JWT"}');
    const signed = `${head}.${segment(JSON.stringify(claims))}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

/** Calls a method of RoomService as the administrator of `room`; gives {status, body}. */
export async function callApi(sfu, room, method, request) {
    const grants = { roomAdmin: true, roomCreate: true, roomList: true };
    const token = accessToken(sfu, 'e2e-admin', room, grants);
    const base = sfu.url.replace(/^ws/, 'http');
    const answer = await fetch(`${base}/twirp/livekit.RoomService/${method}`, {
        method: 'POST',
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ room, ...request }),
    });
    return { status: answer.status, body: await answer.json() };
}
