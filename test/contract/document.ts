import { send, type TestApp } from '../http/test-app.ts';

/** One operation of the OpenAPI document. */
export interface Operation {
  operationId: string;
  method: string;
  /** With its parameters in braces. */
  path: string;
  tag: string;
  /** Each one alone is enough; empty: no token is asked for. */
  scopes: string[];
  isOurs: boolean;
  responses: string[];
}

interface Document {
  openapi: string;
  paths: Record<string, Record<string, { operationId: string; tags: [string]; security?: { token?: string[] }[]; responses: object; 'x-usher'?: boolean }>>;
}

/** Reads the document that the app serves. */
export async function readDocument(app: TestApp): Promise<Document> {
  return (await send(`${app.url}/openapi.json`)).body as Document;
}

export function operationsOf({ paths }: Document): Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      operationId: operation.operationId,
      method,
      path,
      tag: operation.tags[0],
      scopes: (operation.security ?? []).flatMap(({ token = [] }) => token),
      isOurs: operation['x-usher'] === true,
      responses: Object.keys(operation.responses),
    })),
  );
}

/** The URL of an operation on something that is not there. */
export function urlOf(app: TestApp, { path }: Operation): string {
  return app.url + path.replaceAll(/\{\w+\}/g, 'nothing-of-this-name');
}
