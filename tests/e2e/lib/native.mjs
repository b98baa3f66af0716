// SPDX-License-Identifier: Apache-2.0
// Participants that are no browser pages: a program for each SDK, a process for each participant.
// A request is a line of JSON on its standard input ({id, method, argument}), an answer one on its
// standard output ({answer: id, value} or {answer: id, error}); other lines are kept as its console.
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { adopt, forget } from './browsers.mjs';

// A file of 20 MiB, or a full reconnect, on two busy cores.
const CALL_MS = 60000;
// After its standard input ends a client leaves its room; then it is killed.
const END_MS = 3000;

class NativePeer {
    constructor(name, file, args, env) {
        this.name = name;
        this.lines = [];
        this.waiting = new Map();
        this.nextId = 1;
        this.child = spawn(file, args, {
            env: { ...process.env, ...env },
            stdio: ['pipe', 'pipe', 'pipe'],
        });
        this.ended = new Promise((resolve) => {
            this.child.once('exit', (code, signal) => resolve(signal ?? `status ${code}`));
            this.child.once('error', (error) => resolve(error.message));
        });
        this.ended.then((how) => this.fail(`${name} ended: ${how}`));
        // What is written to a process that has just died is of no use to anybody.
        this.child.stdin.on('error', () => {});
        createInterface({ input: this.child.stdout }).on('line', (line) => this.take(line));
        createInterface({ input: this.child.stderr }).on('line', (line) => this.note(line));
    }

    note(text) {
        this.lines.push(`${new Date().toISOString()} ${text}`);
    }

    take(line) {
        let message = null;
        try {
            message = JSON.parse(line);
        } catch {
            // The SDK's own words.
        }
        const wait = this.waiting.get(message?.answer);
        if (!wait) return this.note(line);
        this.waiting.delete(message.answer);
        if (message.error === undefined) wait.resolve(message.value);
        else wait.reject(new Error(`${this.name}: ${message.error}`));
    }

    fail(why) {
        this.note(why);
        for (const { reject } of this.waiting.values()) reject(new Error(why));
        this.waiting.clear();
        this.over = why;
    }

    /** Calls `method` of the client, as Peer.call does with a page. */
    call(method, argument = {}) {
        if (this.over) return Promise.reject(new Error(this.over));
        const id = this.nextId++;
        return new Promise((resolve, reject) => {
            const late = setTimeout(() => {
                this.waiting.delete(id);
                reject(new Error(`${this.name} did not answer ${method} in ${CALL_MS} ms`));
            }, CALL_MS);
            const settle = (done) => (value) => {
                clearTimeout(late);
                done(value);
            };
            this.waiting.set(id, { resolve: settle(resolve), reject: settle(reject) });
            this.child.stdin.write(`${JSON.stringify({ id, method, argument })}\n`);
        });
    }

    async close() {
        if (!forget(this)) return;
        this.child.stdin.end();
        const late = setTimeout(() => this.child.kill('SIGKILL'), END_MS);
        await this.ended;
        clearTimeout(late);
    }

    async kill() {
        if (!forget(this)) return;
        this.child.kill('SIGKILL');
        await this.ended;
    }

    freeze(frozen) {
        this.child.kill(frozen ? 'SIGSTOP' : 'SIGCONT');
    }

    async keepEvidence(stem) {
        appendFileSync(`${stem}-${this.name}.console.log`, `${this.lines.join('\n')}\n`);
    }
}

async function start(name, file, args, env) {
    const peer = new NativePeer(name, file, args, env);
    adopt(peer);
    // The libraries are large: what a join takes is counted from here on.
    await peer.call('ready');
    return peer;
}

const script = (file) => (settings, name) =>
    file.endsWith('.py')
        ? start(name, settings.python, [join(settings.here, 'clients', file)])
        : start(name, process.execPath, [join(settings.here, 'clients', file)]);

/** Each takes the run's settings (this folder, the Python that has the packages) and a name. */
export const launchNode = script('rtc_node.mjs');
export const launchPython = script('rtc_python.py');
export const launchNodeApi = script('api_node.mjs');
export const launchPythonApi = script('api_python.py');

/** Built by run.sh. */
export const launchPion = ({ root }, name) => start(name, join(root, 'build/e2e-pion'), []);
