// SPDX-License-Identifier: MIT
//
// Headless Chromium, the system's own.
import { chromium } from 'playwright-core';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
];

export function startBrowser(more = []) {
    return chromium.launch({ executablePath: EXECUTABLE, args: [...FLAGS, ...more], timeout: 60000 });
}
