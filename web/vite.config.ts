import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

const daemon = process.env.FOREDIAL_URL ?? 'http://127.0.0.1:8900';

export default defineConfig({
  plugins: [svelte()],
  // The server sends `default-src 'self'`: no data: URLs, no inline module preload script.
  build: { target: 'es2022', cssTarget: ['chrome123', 'firefox120', 'safari17.5'], assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 900 },
  server: {
    host: '127.0.0.1',
    proxy: {
      '/api': { target: daemon, ws: true },
      '/sip': { target: daemon, ws: true },
      '/signin': daemon,
    },
  },
  test: { include: ['src/**/*.test.ts'], environment: 'node' },
});
