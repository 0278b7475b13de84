import type { Logger } from '../logger.ts';
import type { MessageStore } from '../store/messages.ts';
import { createSender, type Sender } from './sender.ts';
import { createSmsGateway } from './sms-gateway.ts';
import { createSmtpTransport } from './smtp.ts';

/** Where messages go; null: they are kept and shown. */
export interface MessageTransports {
  smtp: { url: string; from: string } | null;
  smsGateway: { url: string; authorization: string | null } | null;
}

/** The senders of both channels as one: a slow server of one does not hold up the other. */
export function createSenders({ smtp, smsGateway, ...deps }: MessageTransports & { messages: MessageStore; alone: boolean; logger: Logger }): Sender {
  const senders = [
    createSender({ channel: 'email', transport: smtp === null ? null : createSmtpTransport(smtp), ...deps }),
    createSender({ channel: 'sms', transport: smsGateway === null ? null : createSmsGateway(smsGateway), ...deps }),
  ];
  return {
    async start() {
      for (const sender of senders) await sender.start();
    },
    wake() {
      for (const sender of senders) sender.wake();
    },
    async stop() {
      await Promise.all(senders.map((sender) => sender.stop()));
    },
  };
}
