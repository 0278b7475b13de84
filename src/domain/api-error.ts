/**
 * An answer that is an error, in the shape of the API that was called. Thrown anywhere below a route, also by the store,
 * where a transaction sees the reason of a refusal; only the error handler turns it into a response.
 */
export class ApiError extends Error {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly headers: Record<string, string>;

  constructor(status: number, body: Record<string, unknown>, headers: Record<string, string> = {}) {
    super(typeof body['message'] === 'string' ? body['message'] : `HTTP ${status}`);
    this.name = 'ApiError';
    this.status = status;
    this.body = body;
    this.headers = headers;
  }
}

const REASONS: Record<number, string> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  412: 'Precondition Failed',
  413: 'Payload Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** An error of the Management API: `{statusCode, error, message, errorCode?}` (contract §4.4). */
export function managementError(statusCode: number, message: string, errorCode?: string): ApiError {
  const error = REASONS[statusCode] ?? 'Error';
  return new ApiError(statusCode, { statusCode, error, message, ...(errorCode === undefined ? {} : { errorCode }) });
}

/** An error of sign-up: `{name, code, description, statusCode}`, always 400 (contract §5.1). */
export function signUpError(code: string, description: string, name = 'BadRequestError'): ApiError {
  return new ApiError(400, { name, code, description, statusCode: 400 });
}

/** An error of the token endpoint: `{error, error_description}` (contract §5.3). */
export function oauthError(status: number, error: string, description: string): ApiError {
  return new ApiError(status, { error, error_description: description });
}
