// SPDX-License-Identifier: Apache-2.0
// The way into a call: an OpenID token of the homeserver, shown to foci-jwt, gives the address of
// the SFU and an access token for it. As Element Call does it, without the rest of Matrix.

// Characters that stand for themselves in the local part that we make; the others become =xx.
const PLAIN = /^[a-z0-9-]$/;
const SUFFIX_BYTES = 3;

function hex(bytes) {
    return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

function randomHex(bytes) {
    return hex(crypto.getRandomValues(new Uint8Array(bytes)));
}

/** A user ID that carries the name, and differs for two people of the same name. */
export function userIdFor(name, serverName) {
    const escaped = [...new TextEncoder().encode(name)].map((byte) => {
        const character = String.fromCharCode(byte);
        return PLAIN.test(character) ? character : `=${hex([byte])}`;
    });
    return `@${escaped.join('')}.${randomHex(SUFFIX_BYTES)}:${serverName}`;
}

/** The name in an identity made from userIdFor(); any other identity as it is. */
export function nameOf(identity) {
    const [, local] = /^@([a-z0-9=-]+)\.[0-9a-f]+:/.exec(identity) ?? [];
    if (!local) return identity;
    try {
        return decodeURIComponent(local.replaceAll('=', '%'));
    } catch {
        return local;
    }
}

async function post(url, body, accessToken) {
    const answer = await fetch(url, {
        method: 'POST',
        headers: {
            'Content-Type': 'application/json',
            ...(accessToken ? { Authorization: `Bearer ${accessToken}` } : {}),
        },
        body: JSON.stringify(body),
    }).catch(() => {
        throw new Error(`${new URL(url).host} does not answer`);
    });
    const result = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(result.error ?? `${url} answered ${answer.status}`);
    return result;
}

/** Only where config.json says so: the development homeserver knows everybody already. */
async function register(homeserver, userId) {
    const username = userId.slice(1, userId.indexOf(':'));
    const result = await post(`${homeserver}/_matrix/client/v3/register`, {
        username,
        password: randomHex(16),
        auth: { type: 'm.login.dummy' },
    });
    return result.access_token;
}

/** `config` is the content of config.json; gives {url, jwt}. */
export async function enter(config, name, room) {
    const userId = userIdFor(name, config.server_name);
    const accessToken = config.register ? await register(config.homeserver, userId) : undefined;
    const path = `/_matrix/client/v3/user/${encodeURIComponent(userId)}/openid/request_token`;
    const openidToken = await post(`${config.homeserver}${path}`, {}, accessToken);
    return post(`${config.service}/sfu/get`, {
        room,
        openid_token: openidToken,
        device_id: randomHex(SUFFIX_BYTES).toUpperCase(),
    });
}
