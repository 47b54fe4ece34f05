/**
 * Where messages for people go. Any object with these four methods serves: `console`, pino and
 * Fastify's `app.log` fit as they are (pino's order, fields first, is what inmesh uses).
 */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const nothing = (): void => {};

/** Swallows everything: the default for libraries that should be quiet. */
export const silentLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };
