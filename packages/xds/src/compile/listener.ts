import type { Any } from '../proto/any.ts';
import { listenerSchema } from '../proto/envoy/listener.ts';
import { isInbound, type OutboundListener, outboundListenerOf } from './outbound-listener.ts';
import { type Read, readerOf } from './reader.ts';

/** A listener that can be used. */
export interface ReadListener {
  readonly name: string;
  /** Where it is for what this process calls. */
  readonly outbound?: OutboundListener;
}

/** Reads a listener. @throws ResourceError for one that cannot be used */
export const readListener: (any: Any) => Read<ReadListener> = readerOf('listeners', listenerSchema, (message) => ({
  name: message.name,
  ...(isInbound(message) ? {} : { outbound: outboundListenerOf(message) }),
}));
