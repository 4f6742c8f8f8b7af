// One Chromium for a spec: fake microphone from a WAV file, no permission prompts, no network of its own.
import { chromium } from 'playwright-core';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tone_wav } from './tone.js';

export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** How a laptop of the house sees the page. */
export const SCREEN = { width: 1366, height: 768 };

export async function launch({ microphone_hz = 1_000, microphone_wav, autoplay = true, extra = [] } = {}) {
  if (!existsSync(CHROMIUM)) throw new Error(`no browser at ${CHROMIUM}: apt-get install chromium, or set CHROMIUM`);
  const folder = mkdtempSync(join(tmpdir(), 'foredial-browser-'));
  const wav = microphone_wav ?? join(folder, 'microphone.wav');
  if (!microphone_wav) writeFileSync(wav, tone_wav({ hz: microphone_hz, seconds: 10, rate_hz: 48_000, amplitude: 0.5 }));
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    headless: true,
    args: [
      '--no-sandbox',
      '--ignore-certificate-errors',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream',
      `--use-file-for-fake-audio-capture=${wav}`,
      // Host candidates by address: on one machine nobody answers multicast DNS names.
      '--disable-features=WebRtcHideLocalIpsWithMdns',
      ...(autoplay ? ['--autoplay-policy=no-user-gesture-required'] : []),
      ...extra,
    ],
  });
  browser.on('disconnected', () => rmSync(folder, { recursive: true, force: true }));
  return browser;
}

/** A browser profile: its own cookies and storage. Errors and refused resources of its pages are collected. */
export async function profile(browser, { locale = 'en-GB', theme = 'light', screen = SCREEN } = {}) {
  const context = await browser.newContext({
    locale,
    colorScheme: theme,
    viewport: screen,
    ignoreHTTPSErrors: true,
    permissions: ['microphone'],
  });
  const complaints = [];
  context.on('console', (message) => {
    const text = message.text();
    // Refused or lost requests are what some tests are about; they look at the page instead.
    if (message.type() === 'error' && !/Failed to load resource|WebSocket connection to/.test(text)) complaints.push(text);
  });
  context.on('weberror', (error) => complaints.push(String(error.error())));
  return { context, complaints };
}
