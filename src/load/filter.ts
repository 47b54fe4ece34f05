import { loadFormatHeader, loadReportHeader } from '../lib/load-report.ts';
import type { Filter } from '../pipeline/filter.ts';
import { removeRequestHeader } from '../pipeline/request-headers.ts';
import { headerHints, type ServerCall } from '../pipeline/server-call.ts';
import type { LoadSampler } from './sampler.ts';

/** To whom the load is reported. */
export type LoadReporting = 'asked' | 'always';

/** Writes the load of this process into responses, for callers who ask for it or for all. */
export function loadFilter(sampler: LoadSampler, to: LoadReporting): Filter<ServerCall, void> {
  return (call, next) => {
    let asked: unknown;
    if ((call.hints & headerHints.load) !== 0) {
      asked = call.request.headers[loadFormatHeader];
      // The question was for this process: an application that hands headers on must not ask others for it.
      removeRequestHeader(call.request, loadFormatHeader);
    }
    const format = asked === 'TEXT' || asked === 'JSON' ? asked : to === 'always' ? 'TEXT' : undefined;
    if (format !== undefined) {
      const report = sampler.report(format);
      if (report !== undefined) call.response.setHeader(loadReportHeader, report);
    }
    if (sampler.running) {
      const { response } = call;
      response.on('close', () => sampler.ended(response.writableFinished ? response.statusCode : 0));
    }
    return next(call);
  };
}
