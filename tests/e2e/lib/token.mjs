// SPDX-License-Identifier: Apache-2.0
// Access tokens for the scenarios that talk to foci-sfu alone.
import { createHmac } from 'node:crypto';

const LIFETIME_S = 3600;

function segment(value) {
    return Buffer.from(value).toString('base64url');
}

export function accessToken({ key, secret }, identity, room) {
    const now = Math.floor(Date.now() / 1000);
    const claims = {
        iss: key,
        sub: identity,
        name: identity,
        nbf: now,
        exp: now + LIFETIME_S,
        video: { roomJoin: true, room, canPublish: true, canSubscribe: true },
    };
    const head = segment('{"alg":"HS256","typ":"JWT"}');
    const signed = `${head}.${segment(JSON.stringify(claims))}`;
    return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}
