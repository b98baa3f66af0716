// SPDX-License-Identifier: Apache-2.0
// Runs the end-to-end scenarios one after the other. Use run.sh, which does the set-up first.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { browserVersions, closeAll, keepAllEvidence } from './lib/browsers.mjs';
import { World } from './lib/world.mjs';
import { killAll, logTail } from './lib/processes.mjs';
import { scenarios as appservice } from './scenarios/appservice.mjs';
import { scenarios as comeback } from './scenarios/comeback.mjs';
import { scenarios as demoPage } from './scenarios/demo_page.mjs';
import { scenarios as data } from './scenarios/data.mjs';
import { scenarios as delegation } from './scenarios/delegation.mjs';
import { scenarios as elementCall } from './scenarios/element_call.mjs';
import { scenarios as keys } from './scenarios/keys.mjs';
import { scenarios as livekit } from './scenarios/livekit.mjs';
import { scenarios as people } from './scenarios/people.mjs';
import { scenarios as pion } from './scenarios/pion.mjs';
import { scenarios as reconnect } from './scenarios/reconnect.mjs';
import { scenarios as sdks } from './scenarios/sdks.mjs';
import { scenarios as serverSdks } from './scenarios/server_sdks.mjs';
import { scenarios as tracks } from './scenarios/tracks.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = resolve(HERE, '../..');
// No scenario is worth more: the slowest waits 45 s for a vanished client.
const SCENARIO_MS = 120000;

const USAGE = `usage: run.sh [--only PATTERN] [--list] [--build-dir DIR] [--out FILE]
  --only PATTERN   run the scenarios whose name matches this regular expression
  --list           print the names of the scenarios
  --build-dir DIR  where foci-sfu and foci-jwt are (default build/release)
  --out FILE       the table as JSON (default build/e2e.json); evidence goes to build/e2e/
`;

function readArguments() {
    const { values } = parseArgs({
        options: {
            only: { type: 'string', default: '' },
            list: { type: 'boolean', default: false },
            help: { type: 'boolean', default: false },
            'build-dir': { type: 'string', default: join(ROOT, 'build/release') },
            out: { type: 'string', default: join(ROOT, 'build/e2e.json') },
        },
    });
    return values;
}

function withDeadline(promise, ms) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not done in ${ms} ms`)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function runOne(world, scenario) {
    const began = Date.now();
    const result = { name: scenario.name, ok: false, what: null, ms: null };
    try {
        const context = await world.context(scenario);
        const died = world.anyDies();
        const got = await withDeadline(Promise.race([scenario.run(context), died]), SCENARIO_MS);
        result.what = scenario.what ?? 'first frame';
        result.ms = Math.round(got.ms ?? got);
        result.lines = got.lines;
        result.ok = true;
    } catch (error) {
        result.error = error.message;
        await keepAllEvidence(join(world.settings.outDir, scenario.name)).catch(() => {});
    }
    await closeAll().catch(() => {});
    const seconds = ((Date.now() - began) / 1000).toFixed(1);
    const dead = world.deadServers();
    if (dead.length) result.ok = false;
    const line = result.ok
        ? `${result.what} ${String(result.ms).padStart(5)} ms`
        : (result.error ?? '');
    const verdict = result.ok ? 'ok  ' : 'FAIL';
    console.log(`${verdict} ${scenario.name.padEnd(24)} ${seconds.padStart(5)} s  ${line}`);
    for (const text of result.lines ?? []) console.log(`     ${text}`);
    for (const { name, logFile } of dead) {
        console.log(`     ${name} died during it; its last words:\n${logTail(logFile)}`);
    }
    return result;
}

async function main() {
    const options = readArguments();
    const all = [
        ...livekit,
        ...reconnect,
        ...comeback,
        ...data,
        ...people,
        ...sdks,
        ...tracks,
        ...serverSdks,
        ...pion,
        ...elementCall,
        ...delegation,
        ...appservice,
        ...keys,
        ...demoPage,
    ];
    if (options.help) return process.stdout.write(USAGE);
    if (options.list) return console.log(all.map((s) => s.name).join('\n'));
    const chosen = all.filter((s) => new RegExp(options.only).test(s.name));
    const outDir = join(ROOT, 'build/e2e');
    rmSync(outDir, { recursive: true, force: true });
    mkdirSync(outDir, { recursive: true });
    console.log(`browsers: ${browserVersions().join(', ')}`);

    const world = new World({
        here: HERE,
        root: ROOT,
        outDir,
        buildDir: resolve(options['build-dir']),
        python: process.env.E2E_PYTHON ?? join(ROOT, 'build/e2e-venv/bin/python'),
    });
    const results = [];
    let odd = [];
    try {
        for (const scenario of chosen) results.push(await runOne(world, scenario));
    } finally {
        odd = await world.stop();
    }
    for (const { name, exit, logFile } of odd) {
        console.log(
            `FAIL ${name} did not end well (${exit}); its last words:\n${logTail(logFile)}`,
        );
    }
    const table = results.map(({ name, ok, what, ms, lines }) => ({ name, ok, what, ms, lines }));
    writeFileSync(options.out, `${JSON.stringify(table, null, 2)}\n`);
    const failed = results.filter((r) => !r.ok).length + odd.length;
    if (failed) console.log(`logs and pictures of what failed: ${outDir}`);
    console.log(`${results.filter((r) => r.ok).length} passed, ${failed} failed`);
    process.exitCode = failed || !results.length ? 1 : 0;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, async () => {
        await closeAll().catch(() => {});
        process.exit(1);
    });
}
// A browser that is killed leaves its temporary files behind; ours are in a folder of their own.
process.env.TMPDIR = mkdtempSync(join(tmpdir(), 'foci-e2e-'));
process.on('exit', () => {
    killAll();
    rmSync(process.env.TMPDIR, { recursive: true, force: true, maxRetries: 5 });
});
await main();
