// SPDX-License-Identifier: Apache-2.0
// The servers of a run, each started when the first scenario asks for it and kept for the others.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundleWidgetHost } from './bundle.mjs';
import { servePages } from './pages_server.mjs';
import { freePorts } from './processes.mjs';
import { startJwt, startSfu } from './servers.mjs';
import { startSynapse } from './synapse.mjs';

export class World {
    constructor(settings) {
        this.settings = settings;
        this.servers = {};
        this.starters = {
            pages: () => this.startPages(),
            sfu: () => startSfu(settings),
            synapse: () => this.startSynapse(),
            jwt: () => this.startJwt(),
        };
    }

    async startPages() {
        const { here, outDir } = this.settings;
        const bundle = join(outDir, 'bundle');
        await bundleWidgetHost(here, bundle);
        const elementCall = join(here, 'node_modules/@element-hq/element-call-embedded/dist');
        const published = JSON.parse(readFileSync(join(elementCall, 'config.json'), 'utf8'));
        return servePages([
            ['/pages/', join(here, 'pages')],
            ['/bundle/', bundle],
            ['/livekit/', join(here, 'node_modules/livekit-client/dist')],
            ['/element-call/', elementCall],
            ['/element-call-matrix-2/config.json', { ...published, matrix_rtc_mode: 'matrix_2_0' }],
            ['/element-call-matrix-2/', elementCall],
        ]);
    }

    /** The homeserver announces foci-jwt and foci-jwt asks the homeserver: both ports come first. */
    async startSynapse() {
        const [port, jwtPort] = await freePorts(2);
        this.jwtPort = jwtPort;
        return startSynapse(this.settings, port, `http://127.0.0.1:${jwtPort}`);
    }

    async startJwt() {
        const homeserver = await this.need('synapse');
        const sfu = await this.need('sfu');
        return startJwt(this.settings, this.jwtPort, sfu, homeserver);
    }

    async need(name) {
        const server = this.servers[name];
        // A server that died must not fail all the scenarios after it.
        if (server && !server.proc?.exited) return server;
        return (this.servers[name] = await this.starters[name]());
    }

    /** What a scenario gets: the servers it needs and its own name. */
    async context(scenario) {
        const context = { name: scenario.name, settings: this.settings };
        for (const name of ['pages', ...scenario.needs]) context[name] = await this.need(name);
        return context;
    }

    deadServers() {
        const processes = Object.values(this.servers).map((server) => server.proc);
        return processes.filter((proc) => proc?.exited && !proc.told && (proc.told = true));
    }

    async stop() {
        for (const server of Object.values(this.servers).reverse()) await server.stop();
    }
}
