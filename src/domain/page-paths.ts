/** Our own pages, to which mails lead. */
export const VERIFY_EMAIL_PATH = '/usher/verify-email';
export const CHANGE_PASSWORD_PATH = '/usher/change-password';
