import { type Client, isGrpcServiceError, NamespaceNotFoundError } from '@temporalio/client';

const NOT_FOUND = 5;

type Described = Awaited<ReturnType<Client['workflowService']['describeNamespace']>>;

/** What Temporal says of the client's namespace. @throws {NamespaceNotFoundError} when there is none of its name. */
export async function describeNamespace(client: Client): Promise<Described> {
  const { namespace } = client.options;
  try {
    return await client.workflowService.describeNamespace({ namespace });
  } catch (error) {
    const code: number | null = isGrpcServiceError(error) ? error.code : null;
    throw code === NOT_FOUND ? new NamespaceNotFoundError(namespace) : error;
  }
}
