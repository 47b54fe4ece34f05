/**
 * Response header: the service that answers has made retries of its own for this request, and will
 * make no more of them. Whoever asks again makes it begin again, and a failure far away is
 * multiplied at every hop.
 */
export const retriesSpentHeader = 'x-inmesh-retries-spent';
