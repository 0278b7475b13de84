import { z } from 'zod';
import { VERSION } from '../domain/version.ts';
import { type Route, route } from './endpoint.ts';
import { createApiDocument } from './openapi.ts';
import { documentPage } from './openapi-page.ts';

/** The OpenAPI document of `routes` and of itself, and the same as a page for people. */
export function documentRoutes(routes: readonly Route[]): Route[] {
  const own: Route[] = [
    route(
      {
        operationId: 'get_openapi',
        method: 'get',
        path: '/openapi.json',
        summary: 'This document',
        tag: 'operations',
        scopes: null,
        returns: z.looseObject({ openapi: z.string() }),
        ours: true,
      },
      () => Promise.resolve(make().document as { openapi: string }),
    ),
    route(
      {
        operationId: 'get_openapi_page',
        method: 'get',
        path: '/openapi',
        summary: 'This document, for people',
        tag: 'operations',
        scopes: null,
        returns: z.string(),
        returnsType: 'text/html',
        ours: true,
      },
      () => Promise.resolve(make().page),
    ),
  ];
  let made: { document: object; page: string } | undefined;
  // Not at every start: most processes are never asked.
  function make(): { document: object; page: string } {
    if (made === undefined) {
      const document = createApiDocument([...routes, ...own].map(({ endpoint }) => endpoint), VERSION);
      made = { document, page: documentPage(document) };
    }
    return made;
  }
  return own;
}
