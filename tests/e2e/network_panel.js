// SPDX-License-Identifier: MIT
//
// Take the picture for learn/tools.md: the network panel of Chromium, with the frames of an echo. The panel is a page of
// the browser itself, so it can be opened in a tab. Usage: node network_panel.js FILE.png
import { startBrowser } from './browser.js';
import { startMinnow } from './minnow.js';

const DEBUGGING_PORT = 9222;

const minnow = await startMinnow('echo');
const browser = await startBrowser([`--remote-debugging-port=${DEBUGGING_PORT}`, '--remote-allow-origins=*']);
const echo = await browser.newPage({ locale: 'en-GB' });
await echo.goto(minnow.http);

const targets = await (await fetch(`http://127.0.0.1:${DEBUGGING_PORT}/json`)).json();
const target = targets.find(({ url }) => url.startsWith(minnow.http));
const panel = await browser.newPage({ viewport: { width: 1000, height: 640 }, deviceScaleFactor: 1.5 });
await panel.goto(
    `http://127.0.0.1:${DEBUGGING_PORT}/devtools/devtools_app.html` +
        `?ws=127.0.0.1:${DEBUGGING_PORT}/devtools/page/${target.id}&panel=network`,
);
await panel.getByText('Currently recording network activity').waitFor();

await echo.reload();
await echo.locator('#status.open').waitFor();
for (const text of ['Hello', 'How are you?']) {
    await echo.getByPlaceholder('Text to send').fill(text);
    await echo.getByPlaceholder('Text to send').press('Enter');
}
await panel.getByText('Socket', { exact: true }).first().click(); // the kind of request
await panel.getByText('127.0.0.1', { exact: true }).first().click();
await panel.getByRole('tab', { name: 'Messages' }).click();
await panel.getByText('How are you?').nth(1).waitFor();
await panel.screenshot({ path: process.argv[2], clip: { x: 0, y: 0, width: 1000, height: 350 } });

await browser.close();
minnow.interrupt();
process.exitCode = await minnow.ended();
