// SPDX-License-Identifier: Apache-2.0
// Serves the pages of the scenarios and the clients' published files, on loopback.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';

const TYPES = {
    '.html': 'text/html; charset=utf-8',
    '.js': 'text/javascript',
    '.mjs': 'text/javascript',
    '.css': 'text/css',
    '.json': 'application/json',
    '.wasm': 'application/wasm',
    '.svg': 'image/svg+xml',
    '.png': 'image/png',
    '.ogg': 'audio/ogg',
    '.mp3': 'audio/mpeg',
    '.woff2': 'font/woff2',
};

async function content(routes, path) {
    for (const [prefix, source] of routes) {
        if (!path.startsWith(prefix)) continue;
        const rest = path.slice(prefix.length);
        if (typeof source === 'object') {
            if (rest === '') return Buffer.from(JSON.stringify(source));
            continue;
        }
        // normalize() of an absolute path cannot climb above the folder.
        return readFile(join(source, normalize(`/${rest || 'index.html'}`)));
    }
    return null;
}

/** `routes`: pairs of [URL prefix, folder or file content as an object], first match wins. */
export async function servePages(routes) {
    const server = createServer(async (request, response) => {
        const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
        const body = await content(routes, path).catch(() => null);
        if (body === null) {
            response.writeHead(404).end();
            return;
        }
        const type = TYPES[extname(path)] ?? (path.endsWith('/') ? TYPES['.html'] : 'text/plain');
        response.writeHead(200, { 'Content-Type': type, 'Cache-Control': 'no-cache' }).end(body);
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return {
        url: `http://127.0.0.1:${server.address().port}`,
        stop: () => {
            server.closeAllConnections();
            return new Promise((resolve) => server.close(resolve));
        },
    };
}
