// SPDX-License-Identifier: Apache-2.0
// The servers of a run, each started when the first scenario asks for it and kept for the others.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { handsOver, writeRegistration } from './appservice.mjs';
import { bundleWidgetHost } from './bundle.mjs';
import { servePages } from './pages_server.mjs';
import { freePorts, sfuPorts } from './ports.mjs';
import { kill } from './processes.mjs';
import { startJwt, startSfu } from './servers.mjs';
import { startSynapse } from './synapse.mjs';

// A sanitizer's report or a crash on the way out shows in the exit status.
const CLEAN_EXITS = ['status 0', 'SIGTERM'];

export class World {
    constructor(settings) {
        this.settings = settings;
        this.servers = {};
        this.starters = {
            pages: () => this.startPages(),
            sfu: () => this.startSfu(),
            synapse: () => this.startSynapse(),
            jwt: () => this.startJwt(),
            // A set of its own in which foci-jwt is an application service of the homeserver.
            asSfu: () => this.startAsSfu(),
            asSynapse: () => this.startAsSynapse(),
            asJwt: () => this.startAsJwt(),
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
            // The same pages with the oldest livekit-client in use, found by their relative paths.
            ['/old/pages/', join(here, 'pages')],
            ['/old/livekit/', join(here, 'node_modules/livekit-client-2.5.10/dist')],
            ['/element-call/', elementCall],
            ['/element-call-matrix-2/config.json', { ...published, matrix_rtc_mode: 'matrix_2_0' }],
            ['/element-call-matrix-2/', elementCall],
        ]);
    }

    /** The same for the whole run: the servers know each other by them, and may be restarted. */
    async ports() {
        if (!this.allPorts) {
            const [synapse, jwt] = await freePorts(2);
            this.allPorts = { ...(await sfuPorts()), synapse, jwt };
        }
        return this.allPorts;
    }

    async startSynapse() {
        const { synapse, jwt } = await this.ports();
        return startSynapse(this.settings, synapse, `http://127.0.0.1:${jwt}`);
    }

    async startSfu() {
        const ports = await this.ports();
        const authService = `http://127.0.0.1:${ports.jwt}`;
        return startSfu(this.settings, ports, { authService });
    }

    async startJwt(env) {
        const homeserver = await this.need('synapse');
        const sfu = await this.need('sfu');
        return startJwt(this.settings, (await this.ports()).jwt, sfu, homeserver, env);
    }

    /** Ports, a folder for data and logs, and the registration that both sides read. */
    async asPlace() {
        if (!this.allAs) {
            const [synapse, jwt] = await freePorts(2);
            const outDir = join(this.settings.outDir, 'appservice');
            this.allAs = {
                settings: { ...this.settings, outDir },
                ports: { ...(await sfuPorts()), synapse, jwt },
                registration: writeRegistration(this.settings.root, outDir, jwt),
            };
        }
        return this.allAs;
    }

    async startAsSfu() {
        const { settings, ports } = await this.asPlace();
        return startSfu(settings, ports, { authService: `http://127.0.0.1:${ports.jwt}` });
    }

    async startAsSynapse() {
        const { settings, ports, registration } = await this.asPlace();
        const service = `http://127.0.0.1:${ports.jwt}`;
        return startSynapse(settings, ports.synapse, service, [registration]);
    }

    async startAsJwt() {
        const { settings, ports, registration } = await this.asPlace();
        const homeserver = await this.need('asSynapse');
        const env = handsOver(homeserver, registration);
        return startJwt(settings, ports.jwt, await this.need('asSfu'), homeserver, env);
    }

    /** foci-jwt as after a power cut, or (`crash` false) a restart; with other settings if wanted. */
    async restartJwt({ env = {}, crash = true } = {}) {
        const { proc, stop } = this.servers.jwt;
        proc.told = true; // nobody need be told that it ended
        await (crash ? kill(proc) : stop());
        return (this.servers.jwt = await this.startJwt(env));
    }

    async need(name) {
        const server = this.servers[name];
        // A server that died must not fail all the scenarios after it.
        if (server && !server.proc?.exited) return server;
        return (this.servers[name] = await this.starters[name]());
    }

    /** What a scenario gets: the servers it needs and its own name. */
    async context(scenario) {
        const context = { name: scenario.name, settings: this.settings, world: this };
        for (const name of ['pages', ...scenario.needs]) context[name] = await this.need(name);
        return context;
    }

    /** Rejects as soon as one of the servers is gone: no use to wait for media then. */
    async anyDies() {
        const processes = Object.values(this.servers)
            .map((server) => server.proc)
            .filter(Boolean);
        const died = (proc) =>
            proc.exit.then(() => (proc.told ? new Promise(() => {}) : proc.name));
        const name = await Promise.race(processes.map(died));
        throw new Error(`${name} ended`);
    }

    /** The servers that ended by themselves since this was last asked. */
    deadServers() {
        const processes = Object.values(this.servers).map((server) => server.proc);
        return processes.filter((proc) => proc?.exited && !proc.told && (proc.told = true));
    }

    /** Ends all servers and gives those that did not end as asked, as [{name, exit, logFile}]. */
    async stop() {
        const odd = [];
        for (const server of Object.values(this.servers).reverse()) {
            const told = server.proc?.told;
            await server.stop();
            if (!server.proc || told) continue;
            const exit = await server.proc.exit;
            if (!CLEAN_EXITS.includes(exit)) odd.push({ ...server.proc, exit });
        }
        return odd;
    }
}
