// SPDX-License-Identifier: Apache-2.0
// The server processes of a run: each in a process group of its own, its output in a file of its
// own, ended by id. Nothing is ever ended by name: a developer's own servers stay untouched.
import { spawn } from 'node:child_process';
import { openSync, closeSync, readFileSync } from 'node:fs';

// A server that got SIGTERM has this long for a clean end before SIGKILL. foci-sfu takes 5 s when
// nobody takes its last events any more.
const STOP_MS = 8000;

// What of a log is shown when its server failed; all of it is in the file.
const TAIL_LINES = 15;
const TAIL_COLUMNS = 200;

const running = new Set();

export function delay(ms) {
    return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Starts a program. `what` is {name, file, args, env, cwd, logFile}. */
export function start(what) {
    const log = openSync(what.logFile, 'a');
    const child = spawn(what.file, what.args, {
        cwd: what.cwd,
        env: Object.fromEntries(
            Object.entries({ ...process.env, ...what.env }).filter(([, value]) => value !== undefined),
        ),
        stdio: ['ignore', log, log],
        detached: true,
    });
    closeSync(log);
    const proc = { ...what, child, exited: false, exit: null };
    proc.exit = new Promise((resolve) => {
        const end = (reason) => {
            proc.exited = true;
            running.delete(proc);
            resolve(reason);
        };
        child.once('exit', (code, signal) => end(signal ?? `status ${code}`));
        child.once('error', (error) => end(error.message));
    });
    running.add(proc);
    return proc;
}

function signalGroup(proc, signal) {
    try {
        process.kill(-proc.child.pid, signal);
    } catch {
        // The group is gone already.
    }
}

export async function stop(proc) {
    if (!proc || proc.exited) return;
    signalGroup(proc, 'SIGTERM');
    const inTime = await Promise.race([proc.exit.then(() => true), delay(STOP_MS)]);
    if (inTime) return;
    signalGroup(proc, 'SIGKILL');
    await proc.exit;
}

/** Ends it as a power cut would. */
export async function kill(proc) {
    signalGroup(proc, 'SIGKILL');
    await proc.exit;
}

export async function stopAll() {
    await Promise.all([...running].map(stop));
}

/** For the exit handler, which cannot wait. */
export function killAll() {
    for (const proc of running) signalGroup(proc, 'SIGKILL');
}

/** Waits until `url` answers with any 2xx; throws with the end of the log when it never does. */
export async function waitHttp(proc, url, ms) {
    const end = Date.now() + ms;
    while (Date.now() < end) {
        if (proc.exited) break;
        try {
            const answer = await fetch(url, { signal: AbortSignal.timeout(1000) });
            if (answer.ok) return;
        } catch {
            // Not listening yet.
        }
        await delay(50);
    }
    const why = proc.exited ? `ended (${await proc.exit})` : `did not answer ${url} in ${ms} ms`;
    throw new Error(`${proc.name} ${why}; its last words:\n${logTail(proc.logFile)}`);
}

export function logTail(file) {
    try {
        const lines = readFileSync(file, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES);
        return lines.map((line) => `     | ${line.slice(0, TAIL_COLUMNS)}`).join('\n');
    } catch {
        return '(no log)';
    }
}
