// SPDX-License-Identifier: Apache-2.0
// Delegated leaves with everything real: a browser of Element Call dies without a word, and its
// membership in Matrix ends because foci-sfu tells foci-jwt, which sends the leave that the client
// had handed over. The client's own delay is an hour then, so nothing else can end it.
import { join } from 'node:path';
import { must, until } from '../lib/expect.mjs';
import { freePorts } from '../lib/ports.mjs';
import { delay, start, stop } from '../lib/processes.mjs';
import { callMembers } from '../lib/synapse.mjs';
import { isAlone, startCall } from './element_call.mjs';

// The SFU notices a vanished client by its silence (about 22 s); the rest takes milliseconds.
const GONE_MS = 45000;
const HANDED_OVER_MS = 30000;
const REDIS_START_MS = 10000;
// A moment in which nothing may happen.
const QUIET_MS = 3000;

/** Leaves that foci-jwt has taken over, by state. */
export async function leaves(jwt) {
    const text = await (await fetch(`${jwt.url}/metrics`)).text();
    const rows = [...text.matchAll(/^delegated_jobs\{state="(\w+)"\} (\d+)$/gm)];
    return Object.fromEntries(rows.map(([, state, n]) => [state.toLowerCase(), Number(n)]));
}

export function connected(jwt, count) {
    return until(
        `${count} leaves are delegated and their participants seen`,
        async () => {
            const now = await leaves(jwt);
            return { ok: now.connected === count, now };
        },
        HANDED_OVER_MS,
    );
}

/** `between` may change foci-jwt while the call is up, and gives the one that runs then. */
export async function vanish(context, path, between = async () => context.jwt) {
    const { alice, bob, roomId } = await startCall(context, path);
    const members = () => callMembers(context.synapse, alice.user, roomId);
    await connected(context.jwt, 2);
    const jwt = await between(context);
    await connected(jwt, 2);
    await delay(QUIET_MS);
    const before = await members();
    must('both are members of the call', before.length === 2, before);

    const killed = Date.now();
    await bob.kill();
    await until(
        'the membership of the one who vanished ends',
        async () => {
            const now = await members();
            return { ok: now.length === 1 && now[0] === alice.user.user_id, now };
        },
        GONE_MS,
    );
    const took = Date.now() - killed;
    await isAlone(alice, GONE_MS);
    must('the other leave stays', (await leaves(jwt)).connected === 1, await leaves(jwt));
    return took;
}

async function redisVanish(context) {
    const [port] = await freePorts(1);
    const redis = start({
        name: 'redis-server',
        file: 'redis-server',
        args: ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'],
        cwd: context.settings.outDir,
        logFile: join(context.settings.outDir, 'redis.log'),
    });
    const env = { LIVEKIT_REDIS_URL: `redis://127.0.0.1:${port}/0`, FOCI_JWT_INSTANCE: 'e2e' };
    try {
        await until('redis-server listens', () => listens(port), REDIS_START_MS);
        context.jwt = await context.world.restartJwt({ env, crash: false });
        return await vanish(context, '/element-call/', () => context.world.restartJwt({ env }));
    } finally {
        await context.world.restartJwt({ crash: false });
        await stop(redis);
    }
}

async function listens(port) {
    const { connect } = await import('node:net');
    return new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(true));
        socket.once('error', () => resolve(false));
        socket.once('connect', () => socket.destroy());
    });
}

function scenario(name, run) {
    return { name, what: 'membership gone after', needs: ['synapse', 'sfu', 'jwt'], run };
}

export const scenarios = [
    scenario('leave-delegated', (c) => vanish(c, '/element-call/')),
    scenario('leave-delegated-matrix-2', (c) => vanish(c, '/element-call-matrix-2/')),
    // foci-jwt is killed and started again between the two: the journal brings the leaves back.
    scenario('leave-crash-journal', (c) =>
        vanish(c, '/element-call/', () => c.world.restartJwt()),
    ),
    scenario('leave-crash-redis', redisVanish),
];
