/** The command line is wrong. The message is for people; the exit code is 2. */
export class UsageError extends Error {
  /** Command whose help would tell, for example `ca token`; '' for `inmesh` itself. */
  readonly command: string;

  constructor(message: string, command: string) {
    super(message);
    this.name = 'UsageError';
    this.command = command;
  }
}
