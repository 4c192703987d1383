// SPDX-License-Identifier: MIT
//
// A reporter for node's test runner: one line a test, the reason below one that failed, and the
// line "N passed, N failed" at the end.
import { basename } from 'node:path';

export default async function* report(events) {
    let passed = 0;
    let failed = 0;

    for await (const { type, data } of events) {
        if (type === 'test:stderr' || type === 'test:stdout') yield data.message;
        if (type !== 'test:pass' && type !== 'test:fail') continue;
        // Before node 20 a whole file counts as a test, with its tests below it.
        if (data.name.endsWith('.js') && type === 'test:pass') continue;

        const where = basename(data.file ?? '', '.js').replace('test_', '');
        const line = `${where}: ${data.name} (${Math.round(data.details.duration_ms)} ms)\n`;
        if (data.skip !== undefined) {
            yield `skip ${line}`;
        } else if (type === 'test:pass') {
            passed++;
            yield `ok   ${line}`;
        } else {
            failed++;
            yield `FAIL ${line}${reason(data.details.error)}\n`;
        }
    }
    yield `${passed} passed, ${failed} failed\n`;
}

function reason(error) {
    const cause = error.cause ?? error;
    return String(cause.stack ?? cause).replace(/^/gm, '     ');
}
