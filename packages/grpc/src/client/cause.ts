/** The inbound call that causes an outbound one (`options.parent` of grpc-js), as far as it is looked at. */
export interface ParentCall {
  readonly cancelled: boolean;
  getDeadline(): Date | number;
  on(event: 'cancelled', listener: () => void): unknown;
  removeListener(event: 'cancelled', listener: () => void): unknown;
}

/** What a call ends with: the one that causes it, named by the caller or served by the mesh. */
export type Cause = ParentCall | AbortSignal;

/** From now on `ended` is called when it ends. Has it ended already? */
export function followCause(cause: Cause | undefined, ended: () => void): boolean {
  if (cause instanceof AbortSignal) {
    cause.addEventListener('abort', ended);
    return cause.aborted;
  }
  cause?.on('cancelled', ended);
  return cause?.cancelled === true;
}

export function leaveCause(cause: Cause | undefined, ended: () => void): void {
  if (cause instanceof AbortSignal) cause.removeEventListener('abort', ended);
  else cause?.removeListener('cancelled', ended);
}
