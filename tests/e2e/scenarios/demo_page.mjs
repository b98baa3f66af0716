// SPDX-License-Identifier: Apache-2.0
// The demo's call page, used as a person would, with Synapse in the place of its homeserver.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { launchChromium } from '../lib/browsers.mjs';
import { until } from '../lib/expect.mjs';
import { servePages } from '../lib/pages_server.mjs';
import { seesTheOther } from '../lib/spied.mjs';

const ROOM = '!demo:e2e.test';
const TOLD_MS = 10000;
const OTHER = '.tile:not(.own)';

async function open(context, url, name) {
    const { here } = context.settings;
    const watch = ['observe.js', 'spy.js'].map((file) =>
        readFileSync(join(here, 'pages', file), 'utf8'),
    );
    const peer = await launchChromium(name.toLowerCase(), watch.join('\n'));
    await peer.goto(`${url}/demo/`);
    await peer.page.fill('#name', name);
    await peer.page.fill('#room', ROOM);
    peer.clickedAt = Date.now();
    await peer.page.click('#join');
    return peer;
}

const shows = (peer, what, selector, text) =>
    until(
        `${peer.name}: ${what}`,
        () => peer.page.locator(selector, { hasText: text }).count(),
        TOLD_MS,
    );

async function call(context, url) {
    const alice = await open(context, url, 'Alice');
    await shows(alice, 'connected', '#state[data-state=connected]', 'connected');
    const bob = await open(context, url, 'Bob Þór');
    const { now } = await seesTheOther(bob);
    await seesTheOther(alice);
    await shows(alice, 'his name on his tile', `${OTHER} .who`, 'Bob Þór');
    await shows(alice, 'two people', '#people', '2 people');
    await bob.page.click('#microphone');
    await shows(alice, 'his microphone is off', `${OTHER}.is-muted .muted`, 'mic off');
    await bob.page.click('#camera');
    await until(
        'his camera is off',
        () => alice.page.locator(`${OTHER}:not(.has-video)`).count(),
        TOLD_MS,
    );
    await bob.page.click('#camera');
    await seesTheOther(alice, { sound: false });
    await bob.page.click('#leave');
    await until(
        'his tile is gone',
        async () => !(await alice.page.locator(OTHER).count()),
        TOLD_MS,
    );
    return now.firstFrameAt - bob.clickedAt;
}

async function run(context) {
    const { here, root } = context.settings;
    const pages = await servePages([
        [
            '/demo/config.json',
            {
                homeserver: context.synapse.url,
                server_name: context.synapse.serverName,
                service: context.jwt.url,
                register: true,
            },
        ],
        ['/demo/vendor/', join(here, 'node_modules/livekit-client/dist')],
        ['/demo/', join(root, 'tests/support/demo')],
    ]);
    try {
        return await call(context, pages.url);
    } finally {
        await pages.stop();
    }
}

export const scenarios = [{ name: 'demo-page', needs: ['synapse', 'sfu', 'jwt'], run }];
