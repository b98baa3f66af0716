// SPDX-License-Identifier: Apache-2.0
// Ports for servers that are told them: those that know each other before they run, and those that
// are started again at the same place.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { cpus } from 'node:os';

// Below what the system gives to sockets that name no port (net.ipv4.ip_local_port_range begins at
// 32768): browsers open such ones all the time, and would take a port between our look at it and its
// server's start.
const FIRST = 20000;
const LAST = 31999;
const TRIES = 1000;

const given = new Set();

function listens(port) {
    return new Promise((resolve) => {
        const socket = createServer();
        socket.once('error', () => resolve(false));
        socket.listen({ port }, () => socket.close(() => resolve(true)));
    });
}

/** Where a family is missing nobody has its ports. */
function receives(type, port) {
    return new Promise((resolve) => {
        const socket = createSocket(type);
        socket.once('error', (error) => {
            socket.close();
            resolve(error.code !== 'EADDRINUSE');
        });
        socket.bind({ port, exclusive: true }, () => socket.close(() => resolve(true)));
    });
}

async function isFree(port) {
    return (
        !given.has(port) &&
        (await listens(port)) &&
        (await receives('udp4', port)) &&
        (await receives('udp6', port))
    );
}

async function allFree(first, count) {
    for (let port = first; port < first + count; port++) {
        if (!(await isFree(port))) return false;
    }
    return true;
}

/** The first of `count` ports in a row that are free for TCP and UDP, and given to nobody else. */
async function freeRow(count) {
    for (let i = 0; i < TRIES; i++) {
        const first = FIRST + Math.floor(Math.random() * (LAST - FIRST - count));
        if (!(await allFree(first, count))) continue;
        for (let port = first; port < first + count; port++) given.add(port);
        return first;
    }
    throw new Error(`no ${count} free ports in a row between ${FIRST} and ${LAST}`);
}

export async function freePorts(count) {
    const ports = [];
    while (ports.length < count) ports.push(await freeRow(1));
    return ports;
}

/** For startSfu: its media workers, one for each core, take UDP ports in a row. */
export async function sfuPorts() {
    const [port, tcpPort] = await freePorts(2);
    return { port, udp_port: await freeRow(cpus().length), tcp_port: tcpPort };
}
