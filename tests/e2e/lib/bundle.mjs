// SPDX-License-Identifier: Apache-2.0
// The widget host's page as one file, made from the published matrix packages.
import { cpSync, mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';

const WASM = 'pkg/matrix_sdk_crypto_wasm_bg.wasm';

export async function bundleWidgetHost(here, outDir) {
    await build({
        entryPoints: [join(here, 'pages/widget-host.js')],
        outfile: join(outDir, 'widget-host.js'),
        bundle: true,
        format: 'esm',
        target: 'es2022',
        define: { global: 'globalThis' },
        logLevel: 'error',
    });
    // The crypto module looks for its WebAssembly beside the script that it is in.
    const require = createRequire(join(here, 'package.json'));
    const crypto = dirname(require.resolve('@matrix-org/matrix-sdk-crypto-wasm'));
    mkdirSync(join(outDir, 'pkg'), { recursive: true });
    cpSync(join(crypto, WASM), join(outDir, WASM));
}
