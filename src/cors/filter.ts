import { changeRaw, changeRecord } from '../lib/header-edit.ts';
import { headerValue } from '../lib/header-list.ts';
import type { ClientCall, Reply } from '../pipeline/client-call.ts';
import { editResponse } from '../pipeline/edit-response.ts';
import type { Filter } from '../pipeline/filter.ts';
import { LocalReply } from '../pipeline/local-answer.ts';
import type { CorsDecider } from './decide.ts';

/** Answers preflights, and marks the responses to other requests, whoever gives them. */
export function corsFilter(decide: CorsDecider): Filter<ClientCall, Reply> {
  return (call, next) => {
    const { headers, method } = call.request;
    const decision = decide(method, (name) => headerValue(headers, name));
    if (decision.kind === 'preflight') return Promise.resolve(new LocalReply(decision.answer));
    if (decision.kind === 'allow') {
      const { response } = decision;
      editResponse(call, (_call, _status, received) => {
        changeRecord(received, response);
        if (call.rawHeaders !== null)
          call.rawHeaders = changeRaw<string | Buffer>(call.rawHeaders, response) as Buffer[];
      });
    }
    return next(call);
  };
}
