// SPDX-License-Identifier: Apache-2.0
// The servers of a run, each started when the first scenario asks for it and kept for the others.
import { join } from 'node:path';
import { servePages } from './pages_server.mjs';
import { startSfu } from './servers.mjs';

export class World {
    constructor(settings) {
        this.settings = settings;
        this.servers = {};
        this.starters = {
            pages: () => this.startPages(),
            sfu: () => startSfu(settings),
        };
    }

    startPages() {
        const { here } = this.settings;
        return servePages([
            ['/pages/', join(here, 'pages')],
            ['/livekit/', join(here, 'node_modules/livekit-client/dist')],
        ]);
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
