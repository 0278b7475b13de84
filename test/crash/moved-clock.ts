/** Loaded into a process of Usher before its code: whoever started it can move its clock, as a bad time server does. */
const RealDate = Date;
let offsetMs = 0;

process.on('message', (message: { moveClockMs?: number }) => {
  if (typeof message.moveClockMs !== 'number') return;
  offsetMs = message.moveClockMs;
  process.send?.({ shows: new Date().toISOString() });
});
// Listening alone must not keep the process alive.
process.channel?.unref();

function now(): number {
  return RealDate.now() + offsetMs;
}

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as Date,
  get: (target, name, receiver) => (name === 'now' ? now : (Reflect.get(target, name, receiver) as unknown)),
});
