// SPDX-License-Identifier: MIT
//
// nginx and HAProxy as docs/cluster.md configures them: its blocks, with the addresses of a test,
// on a free port, with all their files in a directory that is removed at the end.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sleep } from './redis.js';
import { freePort } from './sio_server.js';

const DOCUMENT = readFileSync(new URL('../../docs/cluster.md', import.meta.url), 'utf8');

// The only block of a language.
export function blockOf(language) {
    const blocks = [...DOCUMENT.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))];

    if (blocks.length !== 1) throw new Error(`${blocks.length} blocks of ${language}`);
    return blocks[0][1];
}

// The options behind the only command line that begins with `start`.
export function optionsOf(start) {
    const lines = DOCUMENT.split('\n').filter((line) => line.startsWith(`    ${start}`));

    if (lines.length !== 1) throw new Error(`${lines.length} lines ${start}`);
    return lines[0].trim().split(' ').slice(1);
}

// `text` with each word replaced, all of which must be there.
export function replaced(text, words) {
    return Object.entries(words).reduce((all, [from, to]) => {
        if (!all.includes(from)) throw new Error(`no "${from}" in ${all}`);
        return all.replaceAll(from, to);
    }, text);
}

// Both log a line "request TARGET SERVER" for each request that is over.
const KINDS = {
    nginx: {
        listens: 'listen 80;',
        listen: (port) => `listen 127.0.0.1:${port};`,
        write: (block, directory) => `
            daemon off;
            master_process off;
            pid ${directory}/nginx.pid;
            error_log stderr warn;
            events {}
            http {
                log_format requests 'request $request_uri $upstream_addr';
                access_log ${directory}/requests requests;
                ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
                    .map((name) => `${name}_temp_path ${directory}/${name};`)
                    .join('\n')}
                ${block}
            }`,
        args: (file, directory) => ['-p', directory, '-c', file],
        requests: (log, directory) => readFileSync(join(directory, 'requests'), 'utf8'),
    },
    haproxy: {
        listens: 'bind :80',
        listen: (port) => `bind 127.0.0.1:${port}`,
        write: (block) => `
global
    log stdout format raw local0
${replaced(block, {
    'defaults\n': 'defaults\n    log global\n    log-format "request %HU %s"\n    retries 3\n',
})}`,
        args: (file) => ['-db', '-f', file],
        requests: (log) => log,
    },
};

async function accepts(port) {
    const socket = connect(port, '127.0.0.1');
    try {
        await once(socket, 'connect');
        return true;
    } catch {
        return false;
    } finally {
        socket.destroy();
    }
}

// `words` are what is replaced in the block. { port, log, requests(), release() }
export async function startProxyOf(kind, words) {
    const { listens, listen, write, args, requests } = KINDS[kind];
    const port = await freePort();
    const directory = mkdtempSync(join(tmpdir(), `minnow-${kind}-`));
    const file = join(directory, `${kind}.conf`);
    const proxy = { port, log: '' };
    const block = replaced(blockOf(kind), { [listens]: listen(port), ...words });

    writeFileSync(file, write(block, directory));
    // Debian has them where only root looks for programs.
    const child = spawn(kind, args(file, directory), {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    });
    const note = (text) => {
        proxy.log += text;
    };
    child.stdout.setEncoding('utf8').on('data', note);
    child.stderr.setEncoding('utf8').on('data', note);
    proxy.requests = () =>
        [...requests(proxy.log, directory).matchAll(/^request (\S+) (.*)$/gm)].map(
            ([, target, server]) => ({ sid: /[?&]sid=([^&]*)/.exec(target)?.[1], server }),
        );
    proxy.release = async () => {
        if (child.exitCode === null && child.signalCode === null) {
            child.kill('SIGKILL');
            await once(child, 'exit');
        }
        rmSync(directory, { recursive: true, force: true });
    };
    try {
        while (!(await accepts(port))) {
            if (child.exitCode !== null) throw new Error(`${kind} ended: ${proxy.log}`);
            await sleep(10);
        }
    } catch (error) {
        await proxy.release();
        throw error;
    }
    return proxy;
}
