// A CRM section is one list of fields; the fields of several orders or tickets follow each other in it.

/** Parts the fields where the first label comes again: one item each. */
export function items<F extends { label: unknown }>(fields: F[]): F[][] {
  const name = (field: F) => JSON.stringify(field.label);
  const first = fields[0];
  const found: F[][] = [];
  for (const field of fields) {
    if (found.length === 0 || name(field) === name(first!)) found.push([]); // a loop turn means there is a first
    found.at(-1)!.push(field);
  }
  return found;
}
