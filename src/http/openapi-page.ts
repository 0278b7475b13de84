import { escapeHtml as text } from '../domain/html.ts';

/** The parts of an OpenAPI document that the page shows. */
interface Shown {
  info: { title: string; version: string; description?: string };
  paths?: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, object> };
}

interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  security?: Record<string, string[]>[];
  parameters?: { name: string; in: string; required?: boolean; description?: string; schema?: object }[];
  requestBody?: { content: Record<string, { schema: object }> };
  responses?: Record<string, { description?: string; content?: Record<string, { schema: object }> }>;
  'x-usher'?: boolean;
}

const STYLE = `
  :root { color-scheme: light dark } body { overflow-wrap: anywhere }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c2330; background: #fff }
  h2 { margin-top: 2.5rem; border-bottom: 1px solid #d5dae2; text-transform: capitalize }
  details { border: 1px solid #d5dae2; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem }
  summary { cursor: pointer } code, pre { font: 14px/1.45 ui-monospace, monospace }
  pre { background: #f4f6f9; padding: .8rem; overflow-x: auto; border-radius: 6px }
  .method { display: inline-block; min-width: 4.5rem; font-weight: 700; text-transform: uppercase }
  .ours { background: #fde68a; border-radius: 4px; padding: 0 .4rem; font-size: .8rem } .quiet { color: #5a6577 }
  td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top }
  @media (prefers-color-scheme: dark) { body { background: #12161d; color: #e4e8ee } pre { background: #1c222c }
    details, h2 { border-color: #343c49 } .ours { color: #1c2330 } .quiet { color: #9aa5b5 } }`;

/** The document as one page of HTML without scripts. */
export function documentPage(document: object): string {
  const { info, paths = {}, components } = document as Shown;
  const operations = Object.entries(paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  const tags = [...new Set(operations.map(({ operation }) => operation.tags?.[0] ?? 'other'))].toSorted();
  const sections = tags.map((tag) => {
    const own = operations.filter(({ operation }) => operation.tags?.[0] === tag);
    return `<h2 id="${text(tag)}">${text(tag)}</h2>${own.map(operationHtml).join('')}`;
  });
  const schemas = Object.entries(components?.schemas ?? {}).map(([name, schema]) => `<details><summary><code>${text(name)}</code></summary><div id="schema-${text(name)}">${json(schema)}</div></details>`);
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${text(info.title)} API</title>
<style>${STYLE}</style><h1>${text(info.title)} API ${text(info.version)}</h1><p>${text(info.description ?? '')}</p>
<p><a href="/openapi.json">openapi.json</a> · ${tags.map((tag) => `<a href="#${text(tag)}">${text(tag)}</a>`).join(' · ')} · <a href="#schemas">schemas</a></p>
${sections.join('\n')}<h2 id="schemas">schemas</h2>${schemas.join('')}</html>`;
}

function operationHtml({ path, method, operation }: { path: string; method: string; operation: Operation }): string {
  const scopes = operation.security?.flatMap((each) => Object.values(each).flat()) ?? [];
  const parameters = (operation.parameters ?? []).map(({ name, in: place, required, description = '', schema }) =>
    `<tr><td><code>${text(name)}</code>${required ? ' *' : ''}<td class="quiet">${text(place)}<td>${text(description)} <code>${text(JSON.stringify(schema))}</code>`);
  const body = Object.entries(operation.requestBody?.content ?? {})[0];
  const answers = Object.entries(operation.responses ?? {}).map(([status, { description = '', content }]) => {
    const schema = Object.values(content ?? {})[0]?.schema;
    return `<h4>${text(status)} <span class="quiet">${text(description)}</span></h4>${schema === undefined ? '' : json(schema)}`;
  });
  return `<details><summary><span class="method">${text(method)}</span> <code>${text(path)}</code> ${text(operation.summary ?? '')}
${operation['x-usher'] ? '<span class="ours">Usher</span>' : ''}</summary>
<p>${text(operation.description ?? '')}</p><p class="quiet">${scopes.length === 0 ? 'No token.' : `Scope: ${scopes.map((scope) => `<code>${text(scope)}</code>`).join(' or ')}`}</p>
${parameters.length === 0 ? '' : `<table>${parameters.join('')}</table>`}${body === undefined ? '' : `<h4>Body <span class="quiet">${text(body[0])}</span></h4>${json(body[1].schema)}`}
${answers.join('')}</details>`;
}

function json(schema: object): string {
  const { $ref } = schema as { $ref?: string };
  const name = $ref?.split('/').at(-1);
  return name === undefined ? `<pre>${text(JSON.stringify(schema, null, 2))}</pre>` : `<p><a href="#schema-${text(name)}"><code>${text(name)}</code></a></p>`;
}
