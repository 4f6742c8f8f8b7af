// What a table of words must look like: every key of the English one, with the same {parameters}.
import type { en } from './en';
import type { zh } from './zh';

type Parameters<Words extends string> = Words extends `${string}{${infer Name}}${infer Rest}` ? Name | Parameters<Rest> : never;
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

export type Key = keyof typeof en;
export type Table = Record<Key, string>;

/** The keys whose parameters differ; a name here is a compile error below. */
type Unlike = { [K in Key]: Same<Parameters<(typeof en)[K]>, Parameters<(typeof zh)[K]>> extends true ? never : K }[Key];
export const ALIKE: [Unlike] extends [never] ? true : Unlike = true;

export type Message<K extends Key> = [Parameters<(typeof en)[K]>] extends [never]
  ? () => string
  : (values: Record<Parameters<(typeof en)[K]>, string | number>) => string;

export type Messages = { [K in Key]: Message<K> };
