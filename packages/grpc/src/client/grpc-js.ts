import type { ClientOptions } from '@grpc/grpc-js';

/** grpc-js's interface of a channel; what it exports under that name is its class. */
export type ChannelLike = NonNullable<ClientOptions['channelOverride']>;

/** The same of a call. */
export type CallLike = ReturnType<ChannelLike['createCall']>;
