import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import { type AccessLog, type AccessLogSettings, createAccessLog, type LineWriter } from './telemetry/access-log.ts';
import { isNamedIn } from './telemetry/inside-folder.ts';
import { createLineWriter } from './telemetry/line-writer.ts';

/** The access logs of a mesh; nothing where the application wants none, whatever the configuration says. */
export function createMeshAccessLog(
  option: AccessLogSettings | false | undefined,
  folder: string | undefined,
  clock: Clock,
  logger: Logger,
): AccessLog | undefined {
  if (option === false) return undefined;
  const log = createAccessLog(clock, writers(option === undefined, folder, logger), (to, operators) =>
    logger.warn(
      { to: String(to), operators: operators.join(' ') },
      'the format of an access log has operators that are not known here: they are - in every line',
    ),
  );
  log.use(option);
  return log;
}

/**
 * Opens access logs. Where the configuration says which there are, it does not choose files of this machine: those in
 * `folder` alone, if there is one, and none to which a symbolic link leads.
 */
function writers(
  byConfiguration: boolean,
  folder: string | undefined,
  logger: Logger,
): (to: AccessLogSettings['to'], clock: Clock) => LineWriter | undefined {
  return (to, clock) => {
    const isFile = typeof to === 'string' && to !== 'stdout' && to !== 'stderr';
    const confined = byConfiguration && isFile;
    if (confined && (folder === undefined || !isNamedIn(folder, to))) {
      logger.warn(
        { file: to, accessLogFolder: folder },
        'no access log is written: its file is not in accessLogFolder',
      );
      return undefined;
    }
    return createLineWriter(to, clock, logger, confined ? folder : undefined);
  };
}
