// SPDX-License-Identifier: Apache-2.0
// A key rotation during a call: `focictl keys rotate` changes the one file that both services read.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { launchChromium } from '../lib/browsers.mjs';
import { must, seesAndHears, until } from '../lib/expect.mjs';
import { freePorts, sfuPorts } from '../lib/ports.mjs';
import { delay } from '../lib/processes.mjs';
import { startJwt, startSfu } from '../lib/servers.mjs';
import { openIdToken, registerUser } from '../lib/synapse.mjs';

const OVERLAP_S = 30;
// focictl's default: for so long the new key is only accepted.
const SIGNS_AFTER_MS = 15000;
const ROOM = '!rotation:e2e.test';

function issuer(token) {
    return JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString()).iss;
}

async function askToken(jwt, homeserver, user) {
    const answer = await fetch(`${jwt.url}/sfu/get`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({
            room: ROOM,
            device_id: user.device_id,
            openid_token: await openIdToken(homeserver, user),
        }),
    });
    must('foci-jwt hands out a token', answer.ok, answer.status);
    return (await answer.json()).jwt;
}

async function join_(context, sfu, name, token) {
    const peer = await launchChromium(name);
    await peer.goto(`${context.pages.url}/pages/client.html`);
    await peer.call('join', { url: sfu.url, token, width: 640, height: 360 });
    return peer;
}

async function validate(sfu, token) {
    const url = sfu.url.replace(/^ws/, 'http');
    const answer = await fetch(`${url}/rtc/validate?access_token=${token}`);
    return { status: answer.status, text: await answer.text() };
}

async function startServices(context, keyFile) {
    const [jwtPort] = await freePorts(1);
    const ports = await sfuPorts();
    const settings = context.settings;
    const authService = `http://127.0.0.1:${jwtPort}`;
    const sfu = await startSfu(settings, ports, { keyFile, authService });
    const jwt = await startJwt(settings, jwtPort, sfu, context.synapse, {
        LIVEKIT_KEY: undefined,
        LIVEKIT_SECRET: undefined,
        LIVEKIT_KEY_FILE: keyFile,
        FOCI_JWT_STATE_DIR: join(settings.outDir, 'jwt-state-keys'),
    });
    return { sfu, jwt };
}

async function rotate(context, { sfu, jwt }, keyFile) {
    const focictl = join(context.settings.buildDir, 'focictl');
    const user = await registerUser(context.synapse, `${context.name}-alice`);
    const others = [];
    for (const name of ['bob', 'carol', 'dave'])
        others.push(await registerUser(context.synapse, `${context.name}-${name}`));
    const token = (who) => askToken(jwt, context.synapse, who);
    const alice = await join_(context, sfu, 'alice', await token(user));
    const bob = await join_(context, sfu, 'bob', await token(others[0]));
    await seesAndHears(bob, user.user_id + ':' + user.device_id);
    const oldToken = await token(others[1]);

    const began = Date.now();
    execFileSync(focictl, ['keys', 'rotate', '--file', keyFile, '--overlap', `${OVERLAP_S}s`], {
        stdio: ['ignore', 'ignore', 'ignore'],
    });
    const list = execFileSync(focictl, ['keys', 'list', '--file', keyFile]).toString();
    for (const line of readFileSync(keyFile, 'utf8').split('\n')) {
        const secret = line.split(':')[1]?.trim().split(' ')[0];
        must('the list shows no secret', !secret || !list.includes(secret), list);
    }
    const carol = await join_(context, sfu, 'carol', oldToken);
    await seesAndHears(carol, user.user_id + ':' + user.device_id);

    const newToken = await until(
        'foci-jwt signs with the new key',
        async () => {
            const t = await token(others[2]);
            return issuer(t) !== issuer(oldToken) && t;
        },
        SIGNS_AFTER_MS,
    );
    // Before the next browser starts: on a busy machine two of them take as long as the overlap.
    must('the old token is still good', (await validate(sfu, oldToken)).status === 200);
    const dave = await join_(context, sfu, 'dave', newToken);
    await seesAndHears(dave, user.user_id + ':' + user.device_id);

    await delay(Math.max(0, OVERLAP_S * 1000 - (Date.now() - began)));
    const refused = await until(
        'the old token is refused once its key has retired',
        async () => {
            const answer = await validate(sfu, oldToken);
            return answer.status === 401 && answer;
        },
        SIGNS_AFTER_MS,
    );
    must('the refusal names the reason', /retired/.test(refused.text), refused);
    const took = Date.now() - began;
    must('the new token is good', (await validate(sfu, newToken)).status === 200);
    for (const peer of [alice, bob, carol, dave]) {
        const { events, state } = await peer.call('report');
        const odd = events.filter((e) => ['reconnecting', 'disconnected'].includes(e.type));
        must(`${peer.name}'s call never stopped`, state === 'connected' && !odd.length, odd);
    }
    await seesAndHears(bob, user.user_id + ':' + user.device_id);
    return took;
}

async function keyRotation(context) {
    const keyFile = join(context.settings.outDir, 'keys.yaml');
    // Throw-away value.
    writeFileSync(keyFile, 'first: e2e-secret-of-no-worth-0123456789abcdef\n', { mode: 0o600 });
    const services = await startServices(context, keyFile);
    try {
        return await rotate(context, services, keyFile);
    } finally {
        await services.jwt.stop();
        await services.sfu.stop();
    }
}

export const scenarios = [
    {
        name: 'key-rotation',
        what: 'old token refused after',
        needs: ['synapse'],
        run: keyRotation,
    },
];
