export { tone_wav } from '../../../web/mock/tone.mjs';
