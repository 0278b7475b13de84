import { escapeHtml } from '../../domain/html.ts';

const STYLE = `
  :root { color-scheme: light dark } body { overflow-wrap: anywhere }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem; color: #1c2330; background: #fff }
  label { display: block; margin: 1rem 0 } input { display: block; font: inherit; padding: .4rem; width: 18rem }
  button { font: inherit; padding: .4rem 1rem } pre { white-space: pre-wrap; background: #f4f6f9; padding: .8rem; border-radius: 6px }
  article { border: 1px solid #d5dae2; border-radius: 6px; margin: 1rem 0; padding: .4rem .8rem } .quiet { color: #5a6577 }
  @media (prefers-color-scheme: dark) { body { background: #12161d; color: #e4e8ee } pre { background: #1c222c } .quiet { color: #9aa5b5 } }`;

/** A page for people, without scripts. @param body HTML; what comes from outside is escaped in it. */
export function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title>
<style>${STYLE}</style><h1>${escapeHtml(title)}</h1>${body}</html>`;
}

/** The address of an application's page, told how it went in Auth0's words. */
export function resultLocation(resultUrl: string, { message }: { message: string }): string {
  const url = new URL(resultUrl);
  for (const [name, value] of Object.entries({ success: 'true', code: 'success', message })) url.searchParams.set(name, value);
  return url.href;
}
