/** A mail that is to be sent. */
export interface Email {
  channel: 'email';
  /** Null: nobody gets it. It is written where a missing write would tell by its time that there is no such account. */
  to: string | null;
  subject: string;
  text: string;
  html: string;
  /** Milliseconds since the epoch: after this it is not sent any more. */
  usefulUntil: number;
}

/** A text message that is to be sent. */
export interface TextMessage {
  channel: 'sms';
  /** As with a mail. In the form `+4912345678`. */
  to: string | null;
  /** The sender that the connection names. */
  from?: string;
  text: string;
  usefulUntil: number;
}

export type Message = Email | TextMessage;
export type Channel = Message['channel'];
