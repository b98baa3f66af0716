// SPDX-License-Identifier: Apache-2.0
// The way between one client and the server, in our hands: a TCP proxy for its signalling and a UDP
// proxy for its media, which lose, stop, refuse and change the client's address on demand.
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { availableParallelism } from 'node:os';

// Every path loses a little in both directions, each in its own repeatable way.
const LOSS = 0.01;
// Any address of 127/8 is this machine: a client that moves comes from another one.
const ADDRESSES = ['127.0.0.1', '127.0.0.2', '127.0.0.3'];

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
function randomNumbers(seed) {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let x = Math.imul(state ^ (state >>> 15), state | 1);
        x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
        return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
    };
}

/** UDP: to the server each of the client's sockets is one of ours, as behind a NAT. */
class MediaPath {
    constructor(seed, firstPort) {
        this.random = randomNumbers(seed);
        this.firstPort = firstPort;
        this.up = true;
        this.moves = 0;
        this.flows = new Map();
        this.fronts = [];
        // Of the server's port, what the client takes for it.
        this.ports = {};
    }

    /** One socket for the port of each media worker of the server; there is one for each core. */
    async listen() {
        for (let i = 0; i < availableParallelism(); i++) {
            const serverPort = this.firstPort + i;
            const front = createSocket('udp4');
            front.on('message', (packet, from) => this.fromClient(front, serverPort, packet, from));
            await new Promise((resolve) => front.bind(0, '127.0.0.1', resolve));
            this.fronts.push(front);
            this.ports[serverPort] = front.address().port;
        }
    }

    passes() {
        return this.up && this.random() >= LOSS;
    }

    flow(front, client) {
        const socket = createSocket('udp4');
        // Packets that come before it is bound wait in it.
        socket.bind(0, ADDRESSES[this.moves % ADDRESSES.length]);
        socket.on('message', (packet) => {
            if (this.passes()) front.send(packet, client.port, client.address);
        });
        // The server may be gone: that is for the client to find out.
        socket.on('error', () => {});
        return socket;
    }

    fromClient(front, serverPort, packet, client) {
        const name = `${client.address}:${client.port} ${serverPort}`;
        if (!this.flows.has(name)) this.flows.set(name, this.flow(front, client));
        if (this.passes()) this.flows.get(name).send(packet, serverPort, '127.0.0.1');
    }

    /** From now on the client comes from another address and port; the old ones lead nowhere. */
    move() {
        this.moves += 1;
        for (const socket of this.flows.values()) socket.close();
        this.flows.clear();
    }

    stop() {
        this.move();
        for (const front of this.fronts) front.close();
    }
}

/** TCP: as it is, or refusing, or (`silent`) without a word to either side until it goes on. */
class SignalPath {
    constructor(serverPort) {
        this.serverPort = serverPort;
        this.state = 'up';
        this.pairs = new Set();
        this.server = createServer((client) => this.accept(client));
    }

    async listen() {
        await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
        this.port = this.server.address().port;
    }

    accept(client) {
        client.on('error', () => {});
        if (this.state === 'refusing') return client.resetAndDestroy();
        const upstream = connect(this.serverPort, '127.0.0.1');
        const pair = [client, upstream];
        this.pairs.add(pair);
        for (const [from, to] of [pair, [upstream, client]]) {
            from.setNoDelay(true);
            from.on('data', (data) => to.write(data));
            from.on('error', () => to.resetAndDestroy());
            from.on('end', () => to.end());
            from.on('close', () => this.pairs.delete(pair));
            if (this.state === 'silent') from.pause();
        }
    }

    /** What lies in the kernel's buffers goes on when it is up again, as TCP would repeat it. */
    set(state) {
        this.state = state;
        for (const pair of this.pairs) {
            for (const socket of pair) {
                if (state === 'refusing') socket.resetAndDestroy();
                else if (state === 'silent') socket.pause();
                else socket.resume();
            }
        }
    }

    stop() {
        this.set('refusing');
        this.server.close();
    }
}

/**
 * `sfu` is what startSfu gives, `udpPort` where its first media worker is; `seed` says which
 * packets get lost.
 */
export async function openPath(sfu, udpPort, seed) {
    const media = new MediaPath(seed, udpPort);
    const signal = new SignalPath(Number(new URL(sfu.url).port));
    await Promise.all([media.listen(), signal.listen()]);
    return {
        url: `ws://127.0.0.1:${signal.port}`,
        mediaPorts: media.ports,
        cutMedia: () => (media.up = false),
        /** 'up', 'refusing' or 'silent'. */
        setSignal: (state) => signal.set(state),
        move: () => media.move(),
        heal: () => {
            media.up = true;
            signal.set('up');
        },
        stop: () => {
            media.stop();
            signal.stop();
        },
    };
}
