// SPDX-License-Identifier: Apache-2.0
// Browsers with one page each, as a Peer: Chromium by playwright-core, Firefox by puppeteer-core.
import { execFileSync } from 'node:child_process';
import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';

// A browser's start takes a second alone and ten on two busy cores.
const LAUNCH_MS = 60000;
// Small pictures: two browsers that encode and decode video share two cores.
const VIEWPORT = { width: 800, height: 600 };

const CHROMIUM_ARGS = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--use-fake-device-for-media-stream=fps=15',
    '--use-fake-ui-for-media-stream',
    '--autoplay-policy=no-user-gesture-required',
    // A machine whose only interface is loopback must be able to run this too.
    '--allow-loopback-in-peer-connection',
];

const FIREFOX_PREFERENCES = {
    'media.navigator.streams.fake': true,
    'media.navigator.permission.disabled': true,
    'media.autoplay.default': 0,
    'media.peerconnection.ice.loopback': true,
    'media.peerconnection.ice.obfuscate_host_addresses': false,
    'app.update.enabled': false,
    'browser.safebrowsing.update.enabled': false,
    'network.captive-portal-service.enabled': false,
    'network.connectivity-service.enabled': false,
    // Users that share a browser are tabs, of which one is in front: none is to be slower for it.
    'dom.min_background_timeout_value': 4,
    'dom.min_background_timeout_value_without_budget_throttling': 4,
    'dom.timeout.enable_budget_timer_throttling': false,
    'media.suspend-background-video.enabled': false,
};

const open = new Set();
// Counts closeAll(): a browser that was still starting then is not wanted any more.
let round = 0;

/** Has closeAll() and keepAllEvidence() look after a participant that is no browser. */
export function adopt(peer) {
    open.add(peer);
}

/** Whether `peer` was among them until now. */
export function forget(peer) {
    return open.delete(peer);
}

async function unlessLate(began, peer) {
    if (began === round) return peer;
    await peer.close();
    throw new Error(`${peer.name}'s browser started too late`);
}

/** The processes of a Chromium that run pages, by the process group that it leads. */
function renderersOf(group) {
    const isRenderer = (pid) => {
        try {
            // The group is the third word after the name, which may hold anything.
            const pgid = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ')[2];
            const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
            return Number(pgid) === group && command.includes('--type=renderer');
        } catch {
            return false; // it has ended meanwhile
        }
    };
    return readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name) && isRenderer(name))
        .map(Number);
}

class Peer {
    constructor(name, page, end, kill, child) {
        this.name = name;
        this.page = page;
        this.lines = [];
        this.end = end;
        this.killNow = kill;
        this.child = child;
        page.on('console', (message) => this.note(message.text()));
        page.on('pageerror', (error) => this.note(`uncaught: ${error.stack ?? error.message}`));
        open.add(this);
    }

    note(text) {
        this.lines.push(`${new Date().toISOString()} ${text}`);
    }

    goto(url) {
        return this.page.goto(url, { timeout: LAUNCH_MS, waitUntil: 'load' });
    }

    /** Calls `client.<method>(argument)` of the page. */
    call(method, argument) {
        const run = ([name, value]) => globalThis.client[name](value);
        return this.page.evaluate(run, [method, argument]);
    }

    async close() {
        if (!open.delete(this)) return;
        await this.end().catch(() => this.killNow());
    }

    /** Stops all of its processes, or lets them go on. Nothing may be asked of it meanwhile. */
    freeze(frozen) {
        process.kill(-this.child.pid, frozen ? 'SIGSTOP' : 'SIGCONT');
    }

    /** Only what runs pages, of Chromium; what carries their packets and sockets goes on. */
    freezeRenderers(frozen) {
        for (const pid of renderersOf(this.child.pid)) {
            process.kill(pid, frozen ? 'SIGSTOP' : 'SIGCONT');
        }
    }

    /** As when the machine of that user loses power. */
    async kill() {
        if (!open.delete(this)) return;
        await this.killNow();
    }

    async keepEvidence(stem) {
        appendFileSync(`${stem}-${this.name}.console.log`, `${this.lines.join('\n')}\n`);
        await this.page.screenshot({ path: `${stem}-${this.name}.png` }).catch(() => {});
    }
}

/** Pages of one browser: it ends with the last of them. `end` and `kill` are the browser's. */
class Shared {
    constructor(count, end, kill) {
        this.left = count;
        this.end = async () => {
            if (--this.left === 0) await end();
        };
        this.kill = kill;
    }
}

async function startChromium() {
    const server = await chromium.launchServer({
        executablePath: process.env.E2E_CHROMIUM ?? '/usr/bin/chromium',
        args: CHROMIUM_ARGS,
        timeout: LAUNCH_MS,
        handleSIGINT: false,
        handleSIGTERM: false,
        handleSIGHUP: false,
    });
    return {
        browser: await chromium.connect(server.wsEndpoint()),
        end: () => server.close(),
        kill: () => server.kill(),
        child: server.process(),
    };
}

async function chromiumPage(browser, prepare) {
    const context = await browser.newContext({
        viewport: VIEWPORT,
        permissions: ['camera', 'microphone'],
    });
    if (prepare) await context.addInitScript(prepare);
    return context.newPage();
}

async function startFirefox() {
    const browser = await puppeteer.launch({
        browser: 'firefox',
        executablePath: process.env.E2E_FIREFOX ?? '/usr/bin/firefox-esr',
        headless: true,
        extraPrefsFirefox: FIREFOX_PREFERENCES,
        timeout: LAUNCH_MS,
        protocolTimeout: LAUNCH_MS,
        defaultViewport: VIEWPORT,
        handleSIGINT: false,
        handleSIGTERM: false,
        handleSIGHUP: false,
    });
    const kill = async () => {
        browser.process()?.kill('SIGKILL');
    };
    return { browser, end: () => browser.close(), kill, child: browser.process() };
}

/** A page for each of `names`, all in one browser; `start` and `newPage` are those of its kind. */
async function launch(start, newPage, names) {
    const began = round;
    const { browser, end, kill, child } = await start();
    const shared = new Shared(names.length, end, kill);
    const peers = [];
    for (const name of names) {
        peers.push(new Peer(name, await newPage(browser), shared.end, shared.kill, child));
    }
    return Promise.all(peers.map((peer) => unlessLate(began, peer)));
}

export async function launchChromium(name, prepare) {
    const newPage = (browser) => chromiumPage(browser, prepare);
    return (await launch(startChromium, newPage, [name]))[0];
}

export async function launchFirefox(name) {
    return (await launchFirefoxes([name]))[0];
}

/** Users in one browser, each with a profile of its own: for what several of them do. */
export function launchChromiums(names) {
    return launch(startChromium, (browser) => chromiumPage(browser), names);
}

/** Users in tabs of one browser. */
export function launchFirefoxes(names) {
    return launch(startFirefox, (browser) => browser.newPage(), names);
}

export async function closeAll() {
    round++;
    await Promise.all([...open].map((peer) => peer.close()));
}

export async function keepAllEvidence(stem) {
    await Promise.all([...open].map((peer) => peer.keepEvidence(stem)));
}

export function browserVersions() {
    const version = (file) => {
        try {
            const stdio = ['ignore', 'pipe', 'ignore'];
            return execFileSync(file, ['--version'], { encoding: 'utf8', stdio }).trim();
        } catch {
            return `${file} (missing)`;
        }
    };
    return [
        version(process.env.E2E_CHROMIUM ?? '/usr/bin/chromium'),
        version(process.env.E2E_FIREFOX ?? '/usr/bin/firefox-esr'),
    ];
}
