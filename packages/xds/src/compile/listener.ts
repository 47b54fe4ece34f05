import { type Listener, listenerSchema } from '../proto/envoy/listener.ts';
import { decode } from '../proto/schema.ts';
import { ResourceError } from '../resources.ts';
import type { Steps } from '../turns.ts';
import { type InboundListener, inboundListener, isInbound } from './inbound-listener.ts';
import { type OutboundListener, outboundListenerOf } from './outbound-listener.ts';
import { type StepReader, stepReaderOf } from './reader.ts';

/** A listener that can be used: for what this process serves, for what it calls, or for either. */
export interface ReadListener {
  readonly name: string;
  readonly inbound?: InboundListener;
  readonly outbound?: OutboundListener;
  /** It does not say which of both it is for; who asked for it knows. */
  readonly either?: {
    /** Why it cannot be for what is served. */
    readonly notInbound?: unknown;
  };
}

/** Reads a listener. @throws ResourceError for one that cannot be used */
export const readListener: StepReader<ReadListener> = stepReaderOf(
  'listeners',
  function* ({ value = new Uint8Array() }, note): Steps<ReadListener> {
    const message = decode(listenerSchema, value, note);
    yield;
    const { name } = message;
    const inbound = isInbound(message);
    if (inbound === undefined) return yield* readEither(message);
    if (!inbound) return { name, outbound: outboundListenerOf(message) };
    try {
      return { name, inbound: yield* inboundListener(message, { path: '', note }) };
    } catch (error) {
      if (error instanceof ResourceError) error.forCallers = true;
      throw error;
    }
  },
);

function* readEither(message: Listener): Steps<ReadListener> {
  const { name } = message;
  let inbound: InboundListener;
  try {
    inbound = yield* inboundListener(message, { path: '', note: () => {} });
  } catch (error) {
    return { name, outbound: outboundListenerOf(message), either: { notInbound: error } };
  }
  try {
    return { name, inbound, outbound: outboundListenerOf(message), either: {} };
  } catch {
    // What demands something of callers is none for calls.
    return { name, inbound, either: {} };
  }
}
