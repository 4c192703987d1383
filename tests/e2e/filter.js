// SPDX-License-Identifier: MIT
//
// Runs a program of tests/e2e that makes one line of each line.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const BUILD = process.env.BUILD ?? 'build';

export function filter(name, lines) {
    const path = fileURLToPath(new URL(`../../${BUILD}/tests/e2e/${name}`, import.meta.url));
    return new Promise((resolve, reject) => {
        const child = execFile(path, { maxBuffer: 1 << 30 }, (error, stdout) =>
            error ? reject(error) : resolve(stdout.split('\n').slice(0, -1)),
        );
        child.stdin.end(lines.map((line) => line + '\n').join(''));
    });
}
