// SPDX-License-Identifier: Apache-2.0
// Browsers with one page each, as a Peer: Chromium by playwright-core, Firefox by puppeteer-core.
import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
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
};

const open = new Set();
// Counts closeAll(): a browser that was still starting then is not wanted any more.
let round = 0;

async function unlessLate(began, peer) {
    if (began === round) return peer;
    await peer.close();
    throw new Error(`${peer.name}'s browser started too late`);
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

export async function launchChromium(name, prepare) {
    const began = round;
    const server = await chromium.launchServer({
        executablePath: process.env.E2E_CHROMIUM ?? '/usr/bin/chromium',
        args: CHROMIUM_ARGS,
        timeout: LAUNCH_MS,
        handleSIGINT: false,
        handleSIGTERM: false,
        handleSIGHUP: false,
    });
    const browser = await chromium.connect(server.wsEndpoint());
    const context = await browser.newContext({
        viewport: VIEWPORT,
        permissions: ['camera', 'microphone'],
    });
    if (prepare) await context.addInitScript(prepare);
    const page = await context.newPage();
    return unlessLate(
        began,
        new Peer(
            name,
            page,
            () => server.close(),
            () => server.kill(),
            server.process(),
        ),
    );
}

export async function launchFirefox(name) {
    const began = round;
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
    const page = await browser.newPage();
    const child = browser.process();
    const kill = async () => {
        child?.kill('SIGKILL');
    };
    return unlessLate(began, new Peer(name, page, () => browser.close(), kill, child));
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
