// The hash of everything the built page is made from. `build.rs` computes the same one (FNV-1a, 64 bit, over the
// sorted paths and contents), and so knows whether `web/dist` is current without running Node.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const WEB = fileURLToPath(new URL('..', import.meta.url));

const ROOTS = ['index.html', 'package-lock.json', 'package.json', 'public', 'scripts', 'src', 'svelte.config.js', 'tsconfig.json', 'vite.config.ts'];

export function sources() {
  const found = [];
  const walk = (path) => {
    if (path.endsWith('.test.ts')) return;
    if (statSync(join(WEB, path)).isDirectory()) {
      for (const name of readdirSync(join(WEB, path))) walk(`${path}/${name}`);
    } else {
      found.push(path);
    }
  };
  ROOTS.forEach(walk);
  return found.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

export function stamp() {
  const PRIME = 0x100000001b3n;
  const MASK = 0xffffffffffffffffn;
  let hash = 0xcbf29ce484222325n;
  const add = (bytes) => {
    for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * PRIME) & MASK;
    hash = (hash * PRIME) & MASK; // a zero byte ends every part
  };
  for (const path of sources()) {
    add(Buffer.from(path));
    add(readFileSync(join(WEB, path)));
  }
  return hash.toString(16).padStart(16, '0');
}
