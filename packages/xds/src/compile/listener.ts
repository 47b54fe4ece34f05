import type { Any } from '../proto/any.ts';
import { listenerSchema } from '../proto/envoy/listener.ts';
import { type InboundListener, inboundListener, isInbound } from './inbound-listener.ts';
import { type OutboundListener, outboundListenerOf } from './outbound-listener.ts';
import { type Read, readerOf } from './reader.ts';

/** A listener that can be used: for what this process serves, or for what it calls. */
export interface ReadListener {
  readonly name: string;
  readonly inbound?: InboundListener;
  readonly outbound?: OutboundListener;
}

/** Reads a listener. @throws ResourceError for one that cannot be used */
export const readListener: (any: Any) => Read<ReadListener> = readerOf(
  'listeners',
  listenerSchema,
  (message, note) => ({
    name: message.name,
    ...(isInbound(message)
      ? { inbound: inboundListener(message, { path: '', note }) }
      : { outbound: outboundListenerOf(message) }),
  }),
);
