// SPDX-License-Identifier: Apache-2.0
// How foci-sfu and foci-jwt are started: the one place to change when their command lines change.
// E2E_SFU_CMD and E2E_JWT_CMD put other programs in their place (shell words; {port}, {udp_port},
// {tcp_port}, {key}, {secret} are filled in; foci-jwt's settings come by environment in any case).
import { join } from 'node:path';
import { start, stop, waitHttp } from './processes.mjs';

const START_MS = 15000;
const KEY = 'devkey';
// Throw-away value; 32 bytes and more, as the servers ask of HS256 secrets.
const SECRET = 'e2e-secret-of-no-worth-0123456789abcdef';

function shell(template, values) {
    const line = template.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
    return { file: '/bin/sh', args: ['-c', `exec ${line}`] };
}

function sfuCommand(settings, ports, { keyFile, authService, webhooks }) {
    const values = { ...ports, key: KEY, secret: SECRET };
    if (process.env.E2E_SFU_CMD) return shell(process.env.E2E_SFU_CMD, values);
    return {
        file: join(settings.buildDir, 'foci-sfu'),
        args: [
            '--bind',
            '127.0.0.1',
            '--port',
            String(ports.port),
            '--udp-port',
            String(ports.udp_port),
            ...(keyFile ? ['--key-file', keyFile] : ['--keys', `${KEY}: ${SECRET}`]),
            ...(authService ? ['--auth-service', authService] : []),
            ...(webhooks ? ['--webhook-urls', webhooks] : []),
        ],
    };
}

/**
 * `ports` is {port, udp_port, tcp_port}; `options` {keyFile, authService, webhooks}: a file of keys
 * instead of our one, where foci-jwt wants to be told who is in a call, and who else is told of events.
 */
export async function startSfu(settings, ports, options = {}) {
    const { port } = ports;
    const proc = start({
        name: 'foci-sfu',
        ...sfuCommand(settings, ports, options),
        logFile: join(settings.outDir, 'foci-sfu.log'),
    });
    await waitHttp(proc, `http://127.0.0.1:${port}/`, START_MS);
    return {
        proc,
        url: `ws://127.0.0.1:${port}`,
        key: KEY,
        secret: SECRET,
        stop: () => stop(proc),
    };
}

/**
 * `homeserver` is {serverName, url}; its OpenID tokens are asked for over plain HTTP. `env` has more
 * settings, undefined takes one away.
 */
export async function startJwt(settings, port, sfu, homeserver, env = {}) {
    const command = process.env.E2E_JWT_CMD
        ? shell(process.env.E2E_JWT_CMD, { port })
        : { file: join(settings.buildDir, 'foci-jwt'), args: [] };
    const proc = start({
        name: 'foci-jwt',
        ...command,
        env: {
            LIVEKIT_URL: sfu.url,
            LIVEKIT_KEY: sfu.key,
            LIVEKIT_SECRET: sfu.secret,
            LIVEKIT_JWT_BIND: `127.0.0.1:${port}`,
            LIVEKIT_FULL_ACCESS_HOMESERVERS: homeserver.serverName,
            LIVEKIT_OPENID_URL_OVERRIDES: `${homeserver.serverName}=${homeserver.url}`,
            LIVEKIT_CS_API_URL_OVERRIDES: `${homeserver.serverName}=${homeserver.url}`,
            FOCI_JWT_STATE_DIR: join(settings.outDir, 'jwt-state'),
            ...env,
        },
        logFile: join(settings.outDir, 'foci-jwt.log'),
    });
    const url = `http://127.0.0.1:${port}`;
    await waitHttp(proc, `${url}/healthz`, START_MS);
    return { proc, url, stop: () => stop(proc) };
}
