import type { RequestHandler } from 'express';
import multer, { MulterError } from 'multer';
import { managementError } from '../domain/api-error.ts';
import { unsafeText } from '../domain/unsafe-text.ts';
import type { Endpoint } from './endpoint.ts';
import { unreadable } from './error-handler.ts';

/** Texts of a form beside its file. */
const MAX_FIELDS = 20;
const MAX_FIELD_BYTES = 1024;

/**
 * Reads a form with one file. Its texts and the file's become the body.
 *
 * Answers 413 for a file that is too large, 400 for a form that is not as it should be.
 */
export function readForm({ field, maxBytes }: NonNullable<Endpoint['file']>): RequestHandler {
  const read = multer({ limits: { files: 1, fileSize: maxBytes, fields: MAX_FIELDS, fieldSize: MAX_FIELD_BYTES } }).single(field);
  return (req, res, next) => {
    read(req, res, (error: unknown) => {
      if (error !== undefined) return next(asApiError(error, maxBytes));
      const { file } = req;
      // What is no form at all was left alone.
      const texts = req.is('multipart/form-data') ? { ...(req.body as object) } : {};
      const problem = unsafeText(texts);
      if (problem !== null) return next(unreadable(req, 400, `The form ${problem}.`));
      req.body = { ...texts, ...(file === undefined ? {} : { [field]: file.buffer.toString() }) };
      next();
    });
  };
}

function asApiError(error: unknown, maxBytes: number): unknown {
  if (error instanceof MulterError) {
    if (error.code === 'LIMIT_FILE_SIZE') return managementError(413, `Payload content length greater than maximum allowed: ${maxBytes}`);
    return managementError(400, `Payload validation error: the form is not as it should be (${error.message}).`, 'invalid_body');
  }
  // Of its parser, about a form that is cut or malformed.
  if (error instanceof Error && !('code' in error)) return managementError(400, 'Payload validation error: the form cannot be read.', 'invalid_body');
  return error;
}
