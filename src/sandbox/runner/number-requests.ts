import type { ClientRequest } from 'node:http';

/** A header that is to be on a request unless the Action has set one of that name itself. */
export interface HeaderToAdd {
  name: string;
  value: string;
}

/** A request of undici, bundled or the Action's own; source: undici's DiagnosticsChannel.md. */
export interface UndiciHeaders {
  /** Names and values in turn; one text before undici 6. */
  headers: unknown[] | string;
  addHeader(name: string, value: string): void;
}

/** What Node keeps of a request whose head is a text already, in Node 26. */
interface RequestText {
  _header: string;
  outputData: { data: unknown }[];
}

/** Adds the header to a request of `http` or `https` that has just been created. */
export function addToHttp(request: ClientRequest, { name, value }: HeaderToAdd): void {
  if (!request.headersSent) {
    if (!request.hasHeader(name)) request.setHeader(name, value);
    return;
  }
  // Headers given as an array are a text by now, and those with `Expect` are queued as one.
  const internals = request as unknown as RequestText;
  const head = internals._header;
  if (hasLine(head, name)) return;
  const longer = `${head.slice(0, -'\r\n'.length)}${name}: ${value}\r\n\r\n`;
  internals._header = longer;
  for (const part of internals.outputData) if (part.data === head) part.data = longer;
}

/** Adds the header to a request of `fetch` or undici that has just been created. */
export function addToUndici(request: UndiciHeaders, { name, value }: HeaderToAdd): void {
  const { headers } = request;
  const isSet = typeof headers === 'string' ? hasLine(headers, name) : headers.some((each, i) => i % 2 === 0 && String(each).toLowerCase() === name.toLowerCase());
  if (!isSet) request.addHeader(name, value);
}

function hasLine(head: string, name: string): boolean {
  return head.split('\r\n').some((line) => line.slice(0, line.indexOf(':')).trim().toLowerCase() === name.toLowerCase());
}
