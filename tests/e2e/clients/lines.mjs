// SPDX-License-Identifier: Apache-2.0
// The client's side of lib/native.mjs: requests by standard input, answers by standard output.
import { createInterface } from 'node:readline';

async function answer(client, { id, method, argument }) {
    try {
        const value = await client[method](argument);
        console.log(JSON.stringify({ answer: id, value: value ?? null }));
    } catch (error) {
        console.log(JSON.stringify({ answer: id, error: error.stack ?? String(error) }));
    }
}

/** Has the methods of `client` called as asked for, several at a time; `end` is awaited at the end. */
export function serve(client, end) {
    const input = createInterface({ input: process.stdin });
    input.on('line', (line) => answer(client, JSON.parse(line)));
    input.on('close', async () => {
        await end();
        process.exit(0);
    });
}
