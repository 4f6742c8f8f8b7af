import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stamp, WEB } from './sources.mjs';

writeFileSync(join(WEB, 'dist/.stamp'), stamp() + '\n');
